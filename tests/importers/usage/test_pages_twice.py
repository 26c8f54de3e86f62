"""A page that stands twice in one file is refused: its amounts would count twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing.importers.anthropic_admin_cost import AnthropicAdminCost
from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.anthropic_enterprise_cost import AnthropicEnterpriseCost
from billing.importers.base import ImportRefused
from tests.importers.usage.envelopes import report, result

DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
USAGE = report((*DAY, [result()]))
COST = {"data": [{"starting_at": DAY[0], "ending_at": DAY[1], "results": [
    {"amount": "412.5", "currency": "USD", "workspace_id": None, "description": "Claude", "cost_type": "tokens"}
]}], "has_more": False}  # fmt: skip
ENTERPRISE = {"data": [{"starting_at": DAY[0], "ending_at": DAY[1], "results": [
    {"amount": "412.5", "list_amount": "458.3", "currency": "USD", "product": "chat", "requests": 9}
]}], "data_refreshed_at": "2026-11-10T04:00:00Z", "organization_id": "org_1"}  # fmt: skip


@pytest.mark.parametrize(
    ("reader", "page"),
    [(AnthropicAdminUsage(), USAGE), (AnthropicAdminCost(), COST), (AnthropicEnterpriseCost(), ENTERPRISE)],
)
def test_a_page_twice_is_refused_and_once_is_read(reader: Any, page: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(page) + "\n")
    assert reader.read(path, file_name=path.name, canonical=str)
    path.write_text(json.dumps(page) + "\n" + json.dumps(page) + "\n")
    with pytest.raises(ImportRefused) as refused:
        reader.read(path, file_name=path.name, canonical=str)
    assert refused.value.problems[0].field == "page 2, data[0].results[0]"
    assert refused.value.problems[0].message == "page 1, data[0] states the same bucket and group"


def test_other_groups_of_one_bucket_may_stand_on_two_pages(tmp_path: Path) -> None:
    pages = [report((*DAY, [result(workspace_id=name, uncached_input_tokens=7)])) for name in ("wrkspc_a", "wrkspc_b")]
    path = tmp_path / "report.json"
    path.write_text("\n".join(map(json.dumps, pages)))
    read = AnthropicAdminUsage().read(path, file_name=path.name, canonical=str)
    assert sorted(bucket.key.workspace for bucket in read.buckets) == ["wrkspc_a", "wrkspc_b"]
