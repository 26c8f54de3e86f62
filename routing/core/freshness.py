"""What can make evidence old: its age, another snapshot, the end of a model, and prices or tokens that moved since.

A verdict is about answers. Age, another snapshot and a retired model put that in doubt, so no new move may start on
it. Another price or tokenizer leaves the answers as they were and changes what they cost: it is said, and blocks
nothing, because costs are computed from the prices in force.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Literal

from billing.core.words import percent

StaleKind = Literal["age", "snapshot", "retired", "price", "tokenizer"]
RECOUNT_CASES = 10
RECOUNT_CHANGE = Fraction(
    1, 20
)  # another generation counts about 1.3 times as much; prompts that are the same do not move


@dataclass(frozen=True, slots=True)
class StaleReason:
    """Why evidence is old, in a sentence. `blocks`: no new move may start on it (methods.md §3.5)."""

    kind: StaleKind
    text: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Recount:
    """Input tokens of the cases a model was run on again: `first` in the results that count, `latest` in the last."""

    cases: int = 0
    first_tok: int = 0
    latest_tok: int = 0

    @property
    def change(self) -> Fraction | None:
        """Relative change, None where too few cases tell both."""
        if self.cases < RECOUNT_CASES or not self.first_tok:
            return None
        return Fraction(self.latest_tok, self.first_tok) - 1


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """What happened to a model that evidence may be older than.

    `snapshots`: dated snapshots known by the as-of instant (YYYYMMDD, rising). `price_days`: days from which another
    list price holds, rising.
    """

    retires_on: date | None = None
    snapshots: tuple[str, ...] = ()
    price_days: tuple[date, ...] = ()


NO_CHANGES, NO_RECOUNT = ModelChanges(), Recount()


def stale_reasons(
    *,
    newest_case_at: datetime | None,
    snapshots: Collection[str],
    as_of: datetime,
    max_age_days: int,
    changes: ModelChanges = NO_CHANGES,
    recount: Recount = NO_RECOUNT,
) -> tuple[StaleReason, ...]:
    """Everything that makes evidence old, what blocks first. Without a case nothing is.

    `snapshots`: the dated snapshots the cases ran on, none where no name was dated.
    """
    if newest_case_at is None:
        return ()
    found = []
    if as_of - newest_case_at > timedelta(days=max_age_days):
        ran = _words(newest_case_at.date())
        found.append(StaleReason("age", f"its newest case ran on {ran}; the class allows {max_age_days:,} days", True))
    newer = _newer_snapshot(snapshots, changes.snapshots)
    if newer:
        found.append(
            StaleReason(
                "snapshot", f"the cases ran on snapshot {_day(max(snapshots))}; snapshot {_day(newer)} is newer", True
            )
        )
    if changes.retires_on is not None and changes.retires_on <= as_of.date():
        found.append(StaleReason("retired", f"the model retired on {_words(changes.retires_on)}", True))
    moved = [day for day in changes.price_days if newest_case_at.date() < day <= as_of.date()]
    if moved:
        last = f", last on {_words(moved[-1])}" if len(moved) > 1 else ""
        found.append(
            StaleReason(
                "price",
                f"its list price changed on {_words(moved[0])}{last}, after the newest case; costs here use today's",
                False,
            )
        )
    again = recount.change
    if again is not None and abs(again) > RECOUNT_CHANGE:
        moved_by = f"{percent(float(abs(again)), 0)} {'more' if again > 0 else 'fewer'}"
        found.append(
            StaleReason(
                "tokenizer",
                f"the same {recount.cases:,} cases take {moved_by} input tokens "
                "than when they first ran: it counts tokens otherwise now, so its cost per case has moved",
                False,
            )
        )
    return tuple(found)


def _newer_snapshot(own: Collection[str], known: Sequence[str]) -> str:
    """The newest known snapshot where the evidence's own are all older; '' = none, or the evidence names none."""
    newest = max(known, default="")
    return newest if own and newest > max(own) else ""


def _day(snapshot: str) -> str:
    return f"{snapshot[:4]}-{snapshot[4:6]}-{snapshot[6:]}"


def _words(day: date) -> str:
    return f"{day.day} {day:%b %Y}"
