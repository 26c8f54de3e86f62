"""The default workspace by two names: what a log and a report both tell of it counts twice."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from billing.core.default_workspace import LikelyDefault
from billing.core.health import Finding
from billing.core.money import sum_usd
from billing.core.usage import UNTOLD
from billing.queries.usage_sums import usage_sums
from costgov.queries.health.words import link, some


def workspace_findings(likely: Sequence[LikelyDefault]) -> list[Finding]:
    """One per channel and organisation: of several workspaces that fit one at most can be the default one."""
    groups: dict[tuple[str, str], list[LikelyDefault]] = {}
    for one in likely:
        groups.setdefault((one.channel, one.organisation), []).append(one)
    return [_finding(found) for _, found in sorted(groups.items())]


def _finding(found: Sequence[LikelyDefault]) -> Finding:
    costs = {one.workspace: _cost(one) for one in found}
    likely = max(found, key=lambda one: (costs[one.workspace], one.tokens, one.workspace))
    others = [one.workspace for one in found if one is not likely]
    days = sorted({day for day, _ in likely.cells})
    whose = "" if likely.organisation in UNTOLD else f" of {likely.organisation}"
    count = f"{len(days)} {'day' if len(days) == 1 else 'days'}"
    also = f" So do {some(others)}; one of them at most can be it." if len(others) > 1 else ""
    also = f" So does {others[0]}; one of them at most can be it." if len(others) == 1 else also
    return Finding(
        level="warning",
        topic="sources",
        key=f"default_workspace:{likely.channel}:{likely.organisation}",
        title=f"Workspace {likely.workspace}{whose} may count twice on {count}",
        text="Logs name it, no report does, and on these days a report tells at least as much of each model for the "
        "default workspace, which it calls by no name. If they are one workspace, what both tell is in spend twice: "
        f"the money here.{also}",
        remedy="Look in the Console for the id of the default workspace. If it is this one, enter it once (Imports, "
        "Sources, Id of the default workspace): every day is counted anew. If it is another, enter that one.",
        usd=costs[likely.workspace],
        is_estimate=True,
        tokens=likely.tokens,
        first=days[0],
        last=days[-1],
        link=f"{address}#sources" if (address := link("imports")) else "",
        action="Open Sources",
    )


def _cost(one: LikelyDefault) -> Decimal:
    """What logs tell of it where a report tells as much, at list prices."""
    days = [day for day, _ in one.cells]
    sums = usage_sums(
        start=min(days),
        end=max(days) + timedelta(days=1),
        by=("day", "model"),
        where={"workspace": one.workspace, "channel": one.channel},
    )
    cells = {(f"{day}", model) for day, model in one.cells}
    return sum_usd(sums.cost_usd(n) for n in range(len(sums)) if tuple(sums.values(n)) in cells)
