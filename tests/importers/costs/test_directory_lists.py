"""Lists of API keys and workspaces: names and cost centres for ids."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing.importers.base import ImportRefused
from billing.importers.directory_lists import NamedKey, NamedWorkspace, directory_kind, read_directory
from tests.importers.costs.reading import SAMPLES


def written(tmp_path: Path, *items: dict[str, Any], **page: Any) -> Path:
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"data": list(items), "has_more": False, **page}))
    return path


def test_keys_of_the_sample() -> None:
    name = "api_keys_list_legacy.json"
    read = read_directory(SAMPLES / name, file_name=name)
    assert read.keys == (
        NamedKey("apikey_01SAMPLEsupportAAAAAAAAA", "support-bot-prod", "wrkspc_01SAMPLEsupportAAAAAAAAA", "active"),
        NamedKey("apikey_01SAMPLEplatCCCCCCCCCCCC", "platform-eng", "(default)", "archived"),
    )
    assert read.key_names()["apikey_01SAMPLEplatCCCCCCCCCCCC"] == "platform-eng"


def test_workspaces_of_the_sample_carry_cost_centres() -> None:
    name = "workspaces_list_legacy.json"
    assert directory_kind(SAMPLES / name, name) == "workspaces"
    assert read_directory(SAMPLES / name, file_name=name).workspaces == (
        NamedWorkspace(
            "wrkspc_01SAMPLEsupportAAAAAAAAA",
            "Support Production",
            tags={"env": "prod", "cost_center": "CC-4100"},
        ),
        NamedWorkspace(
            "wrkspc_01SAMPLEdocsBBBBBBBBBBBB",
            "Document Pipeline",
            tags={"env": "prod", "cost_center": "CC-5200"},
        ),
    )


@pytest.mark.parametrize(
    ("scope", "workspace"),
    [
        ({"type": "workspace", "workspace_id": "wrkspc_1"}, "wrkspc_1"),
        ({"type": "organization", "workspace_id": None}, "(none)"),
    ],
)
def test_the_newer_shape_of_keys(tmp_path: Path, scope: dict[str, Any], workspace: str) -> None:
    path = written(tmp_path, {"id": "apikey_1", "type": "api_key", "name": "k", "scope": scope})
    assert read_directory(path, file_name="list.json").keys == (NamedKey("apikey_1", "k", workspace),)


def test_a_name_used_twice_names_both(tmp_path: Path) -> None:
    keys = [{"id": f"apikey_{number}", "type": "api_key", "name": "research"} for number in (1, 2)]
    path = written(tmp_path, *keys, has_more=True)
    read = read_directory(path, file_name="list.json")
    assert read.ids_named("research") == ("apikey_1", "apikey_2")
    assert read.findings == ("The last page says has_more: further pages exist, and their names are missing.",)


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"type": "workspace", "name": "x"}, r"data\[0\].id: missing"),
        ({"type": "workspace", "id": "w", "name": 5}, r"data\[0\].name = 5: not text"),
        ({"type": "workspace", "id": "w", "name": "x", "tags": {"a": 1}}, "not texts by name"),
        ({"type": "workspace", "id": "w", "name": "x", "tags": ["a"]}, "not texts by name"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, item: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImportRefused, match=sentence):
        read_directory(written(tmp_path, item), file_name="list.json")


def test_a_report_is_no_list() -> None:
    name = "cost_report_ungrouped.json"
    with pytest.raises(ImportRefused, match="neither a list of API keys nor of workspaces"):
        read_directory(SAMPLES / name, file_name=name)
