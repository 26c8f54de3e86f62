"""Vendored files: the table of sums is true, and nothing needs what the content policy refuses."""

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "static" / "vendor"
SUMS = dict(re.findall(r"^\| `([^`]+/[^`]+)` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))
TEMPLATES = sorted(ROOT.glob("templates/**/*.html"))


def test_every_vendored_file_is_in_the_table_with_its_sum() -> None:
    files = {str(path.relative_to(VENDOR)): path for path in VENDOR.glob("*/*")}
    assert files.keys() == SUMS.keys()
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == SUMS[name], name


def test_every_folder_has_its_licence() -> None:
    folders = [folder for folder in VENDOR.iterdir() if folder.is_dir()]
    assert len(folders) == 5
    for folder in folders:
        assert (folder / "LICENSE").stat().st_size > 200, folder.name


@pytest.mark.parametrize("path", sorted((ROOT / "static").glob("**/*.[cj]s*")), ids=lambda path: path.name)
def test_no_source_maps(path: Path) -> None:
    assert "sourceMappingURL=" not in path.read_text()


def test_the_rules_of_plotly_are_complete() -> None:
    assert len((VENDOR / "plotly-4.1.1" / "plotly-4.1.1.css").read_text().splitlines()) == 66


def test_the_style_sheet_loads_only_our_own_files() -> None:
    css = (ROOT / "static" / "app.css").read_text()
    for url in re.findall(r'url\("?([^")]+)"?\)', css):
        assert (ROOT / "static" / url).is_file(), url


def test_the_base_template_links_plotlys_rules_before_its_script() -> None:
    base = (ROOT / "templates" / "base.html").read_text()
    link = base.index('<link rel="stylesheet" id="plotly.js-style-global" class="no-inline-styles"')
    assert link < base.index("plotly-cartesian.min.js")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_templates_keep_the_content_policy(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=", text), "style attributes are refused by the content policy"
    assert not re.search(r"\son[a-z]+\s*=", text), "inline handlers are refused by the content policy"
    assert "<style" not in text
    for script in re.findall(r"<script\b[^>]*>", text):
        assert " src=" in script or 'type="application/json"' in script, script
    assert not re.search(r"(?:src|href)=[\"']https?://", text), "pages load nothing from elsewhere"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_icon_named_in_a_template_is_in_the_sprite(path: Path) -> None:
    sprite = (VENDOR / "tabler-icons-3.52.0" / "sprite.svg").read_text()
    text = path.read_text()
    for name in re.findall(r'{% icon "([a-z0-9-]+)"', text) + re.findall(r'symbol="([a-z0-9-]+)"', text):
        assert f'id="{name}"' in sprite, name
