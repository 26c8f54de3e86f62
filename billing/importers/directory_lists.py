"""Anthropic's lists of API keys and workspaces: the names and tags behind the ids of usage and cost reports.

They bring no usage and no cost. Names are not unique and change, so they label ids and are never keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from billing.core.usage import DEFAULT_WORKSPACE, NOT_APPLICABLE
from billing.importers.anthropic_pages import check_texts, items_of, kind_of, pages_of
from billing.importers.base import MAX_TEXT, PROBLEMS_SHOWN, ImportRefused, Problem, read_head, shown

_KEY_TEXTS: Final = ("id", "name", "workspace_id", "status")
_WORKSPACE_TEXTS: Final = ("id", "name", "archived_at")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An API key. `workspace`: its workspace's id, `(default)`, or `(none)` for a key of the whole organisation."""

    id: str
    name: str
    workspace: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class NamedWorkspace:
    """A workspace. Its tags are where cost-centre codes are kept; the default workspace is on no list."""

    id: str
    name: str
    is_archived: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DirectoryList:
    """A read list, of keys or of workspaces; `findings` remarks about the file."""

    keys: tuple[NamedKey, ...] = ()
    workspaces: tuple[NamedWorkspace, ...] = ()
    findings: tuple[str, ...] = ()

    def key_names(self) -> dict[str, str]:
        return {key.id: key.name for key in self.keys}

    def workspace_names(self) -> dict[str, str]:
        return {workspace.id: workspace.name for workspace in self.workspaces}

    def ids_named(self, name: str) -> tuple[str, ...]:
        """Ids of every key or workspace of that name: more than one where a name is used twice."""
        keys = [key.id for key in self.keys if key.name == name]
        return (*keys, *(workspace.id for workspace in self.workspaces if workspace.name == name))


def directory_kind(path: Path, file_name: str) -> Literal["api_keys", "workspaces"] | None:
    """Which list a file holds, None for neither. Raises ImportRefused for an empty or damaged file."""
    kind = kind_of(read_head(path, file_name))
    return kind if kind in ("api_keys", "workspaces") else None


def read_directory(path: Path, *, file_name: str) -> DirectoryList:
    """Read either list, one page or several. Raises ImportRefused."""
    kind = directory_kind(path, file_name)
    if kind is None:
        raise ImportRefused.because(
            file_name,
            "neither a list of API keys nor of workspaces",
            "Save the answer of GET /v1/organizations/api_keys or /v1/organizations/workspaces",
        )
    pages = list(pages_of(path, file_name, "a list"))
    problems: list[Problem] = []
    keys: dict[str, NamedKey] = {}
    workspaces: dict[str, NamedWorkspace] = {}
    for number, page in enumerate(pages, start=1):
        for item, place in items_of(page, number, len(pages), problems):
            wrong = check_texts(item, _KEY_TEXTS if kind == "api_keys" else _WORKSPACE_TEXTS, place)
            if not item.get("id"):
                wrong.append(Problem(None, f"{place}.id", "", "missing", "Take the page as the API returns it"))
            problems += wrong
            if wrong:
                continue
            if kind == "api_keys":
                key = _key(item)
                keys[key.id] = key
            else:
                workspace = _workspace(item, place, problems)
                workspaces[workspace.id] = workspace
    if problems:
        raise ImportRefused(file_name, problems[:PROBLEMS_SHOWN], len(problems))
    findings: tuple[str, ...] = ()
    if pages[-1].get("has_more"):
        findings = ("The last page says has_more: further pages exist, and their names are missing.",)
    return DirectoryList(tuple(keys.values()), tuple(workspaces.values()), findings)


def _key(item: Mapping[str, Any]) -> NamedKey:
    """The older shape names the workspace (null = the default one); the newer one has a scope with its real id."""
    scope = item.get("scope")
    if isinstance(scope, dict):
        inside = scope.get("type") == "workspace"
        workspace = str(scope.get("workspace_id") or DEFAULT_WORKSPACE) if inside else NOT_APPLICABLE
    else:
        workspace = str(item.get("workspace_id") or DEFAULT_WORKSPACE)
    return NamedKey(
        str(item["id"])[:MAX_TEXT], str(item.get("name") or "")[:MAX_TEXT], workspace[:MAX_TEXT],
        str(item.get("status") or "")[:MAX_TEXT],
    )  # fmt: skip


def _workspace(item: Mapping[str, Any], place: str, problems: list[Problem]) -> NamedWorkspace:
    tags = item.get("tags")
    if tags is not None and not (isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())):
        problems.append(
            Problem(None, f"{place}.tags", shown(tags), "not texts by name", "Take the page as the API returns it")
        )
        tags = {}
    return NamedWorkspace(
        str(item["id"])[:MAX_TEXT],
        str(item.get("name") or "")[:MAX_TEXT],
        item.get("archived_at") is not None,
        {str(name)[:MAX_TEXT]: value[:MAX_TEXT] for name, value in (tags or {}).items()},
    )
