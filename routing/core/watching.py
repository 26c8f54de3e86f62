"""What a changed verdict asks of somebody: when to write it down, and which work items open and resolve.

Drift is a verdict once decided that new results change (methods.md §3.5). A first decision is progress and no drift,
and a verdict that moves because its bar was changed is a decision of the class's owner: both are recorded, neither
opens an item. What becomes true of a class (served below its bar, stale) opens one that resolves when it is over.
"""

from dataclasses import dataclass
from typing import Literal

from billing.core.words import percent, signed
from routing.core.verdicts import STATUS_TEXT, Verdict

ItemKind = Literal["verdict_changed", "went_stale", "below_bar", "monitor_alarm"]
DECIDED: frozenset[str] = frozenset({"clears", "falls_short"})


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict as it was written down. `lower` None before 30 cases.

    `difference`: to what served the class then, on the same cases, with its bounds; None where none was asked for, or
    no case was run on both.
    """

    status: str
    stale: bool
    serves: bool
    epoch: str
    bar_version: int
    passes: float
    cases: int
    line: float
    lower: float | None
    upper: float
    difference: float | None = None
    difference_lower: float | None = None
    difference_upper: float | None = None

    @property
    def text(self) -> str:
        """'Clears the bar (98%, 490 of 500 cases)'."""
        words = STATUS_TEXT.get(self.status, self.status)  # type: ignore[call-overload]  # as kept, any text
        if not self.cases:
            return str(words)
        passed = f"{self.passes:,.0f}" if self.passes == int(self.passes) else f"{self.passes:,.1f}"
        compared = "" if self.difference is None else f"; {_points(self.difference)} to what serves"
        return f"{words} ({percent(self.passes / self.cases)}, {passed} of {self.cases:,} cases{compared})"


def _points(difference: float) -> str:
    """−0.013 as "−1.3 points"."""
    return signed(100 * difference, 1, suffix=" points", plus=True)


@dataclass(frozen=True, slots=True)
class Item:
    """A work item that should be open now."""

    kind: ItemKind
    text: str
    remedy: str


def seen(verdict: Verdict, *, serves: bool, bar_version: int) -> Seen:
    """A verdict as it would be written down now."""
    compared = verdict.paired if verdict.paired is not None and verdict.paired.difference is not None else None
    return Seen(
        status=verdict.status,
        stale=verdict.stale,
        serves=serves,
        epoch=verdict.epoch,
        bar_version=bar_version,
        passes=verdict.passes,
        cases=verdict.cases,
        line=verdict.line,
        lower=verdict.lower,
        upper=verdict.upper,
        difference=None if compared is None else compared.difference,
        difference_lower=None if compared is None else compared.lower,
        difference_upper=None if compared is None else compared.upper,
    )


def is_worth_recording(before: Seen | None, now: Seen) -> bool:
    """New, or another verdict: its status, staleness, epoch or bar differ. More cases alone are not.

    A model that never had a case is written down only once it has lost a verdict.
    """
    if before is None:
        return now.status != "no_evidence"
    return (before.status, before.stale, before.epoch, before.bar_version, before.serves) != (
        now.status,
        now.stale,
        now.epoch,
        now.bar_version,
        now.serves,
    )


def is_drift(before: Seen | None, now: Seen) -> bool:
    """Whether new results changed a verdict that was decided, under the same bar."""
    return (
        before is not None
        and before.status in DECIDED
        and before.status != now.status
        and before.bar_version == now.bar_version
    )


def drift_item(name: str, before: Seen, now: Seen) -> Item:
    """The item of a verdict that changed; `name` is the model's as people write it."""
    if before.status == "clears":
        remedy = "Look at the failing cases of the newest run. " + (
            "It serves this class: propose another model if they hold."
            if now.serves
            else "Set the run aside if it is broken; else do not move traffic to it."
        )
    else:
        remedy = "Look at what changed (prompt, suite, snapshot) before relying on it."
    if now.status == "no_evidence":
        remedy = "None of its cases counts here any more: see which run was set aside, moved or deleted, and why."
    elif before.epoch != now.epoch and now.status not in DECIDED:
        remedy = "A new epoch began, in which earlier cases do not count: run its cases again."
    text = f"{name}: {before.text} became {now.text}."
    if now.cases and now.status not in DECIDED and _is_same_evidence(before, now):
        text += " Its cases are as they were: more models compete now, and share the chance of a wrong verdict."
        remedy = (
            "Run more of its cases, or name the models that compete in the class's bar (evaluation plan). A run that "
            "brought a model nobody means to use can be set aside."
        )
    return Item("verdict_changed", text, remedy)


def _is_same_evidence(before: Seen, now: Seen) -> bool:
    """Whether a verdict moved though its own cases and what they are held to did not."""
    return (before.passes, before.cases, before.line, before.difference, before.epoch, before.serves) == (
        now.passes,
        now.cases,
        now.line,
        now.difference,
        now.epoch,
        now.serves,
    )


def standing_items(name: str, now: Seen, stale_text: str = "") -> tuple[Item, ...]:
    """Items that are open as long as this verdict stands."""
    found = []
    if now.serves and now.status == "falls_short":
        text = f"{name} serves this class and is shown to be below its bar: {now.text}."
        found.append(Item("below_bar", text, "Move the class to a model that clears, or have its owner lower the bar."))
    if now.stale and (now.serves or now.status == "clears"):
        because = f": {stale_text}" if stale_text else ""
        text = f"The evidence on {name} went stale{because}."
        found.append(Item("went_stale", text, "Run its cases again: no new move may start on it until then."))
    return tuple(found)
