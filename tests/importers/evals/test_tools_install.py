"""A tool that cannot be installed fails in CI and is skipped elsewhere; an installed one is not installed again."""

import _pytest.outcomes
import pytest

from tests.importers.evals.tools import install


def missing():
    raise install.ToolMissing("Inspect AI could not be installed (exit 1): no registry")


@pytest.mark.parametrize(("ci", "outcome"), [("true", _pytest.outcomes.Failed), ("", _pytest.outcomes.Skipped)])
def test_a_missing_tool(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no registry It needs the registries of Python and npm; set COSTGOV_TEST_TOOLS"):
        install.or_skip(missing)


def test_a_folder_is_filled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTGOV_TEST_TOOLS", str(tmp_path))
    seen = []
    for pins in ("a", "a", "b"):
        with install._folder("tool", pins) as (folder, is_new):
            seen.append((folder.name, is_new))
    assert [is_new for _, is_new in seen] == [True, False, True] and len({name for name, _ in seen}) == 2


def test_a_failed_install_leaves_nothing_that_counts_as_done(tmp_path, monkeypatch):
    monkeypatch.setenv("COSTGOV_TEST_TOOLS", str(tmp_path))
    with (
        pytest.raises(install.ToolMissing, match=r"tool could not be installed \(exit 1\)"),
        install._folder("t", "a") as (folder, _),
    ):
        install._install(["false"], folder, "tool")
    with install._folder("t", "a") as (_, is_new):
        assert is_new


def test_a_program_that_is_not_there_is_a_missing_tool(tmp_path):
    with pytest.raises(install.ToolMissing, match="FileNotFoundError"):
        install._install([str(tmp_path / "nosuch")], tmp_path, "tool")
