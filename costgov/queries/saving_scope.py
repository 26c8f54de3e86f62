"""How much of the spend a recommendation speaks of: what it leaves out is named with its remedy, and is never a 0."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.core.words import percent, usd
from billing.queries.prices import price_book
from costgov.queries.recommendation import RecommendationView
from costgov.queries.spend import spend
from routing.models import RequestClass

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class SavingScope:
    """The list cost of days [start, end) by what a recommendation knows of it; the four parts sum to `spend_usd`.

    `covered_usd`: classes it has a figure for; `unsolved_usd`: registered classes without one; `unregistered_usd`:
    labels that are no registered class; `unclassified_usd`: usage of no class. Tokens without a price are in none.
    `is_known`: there is a class with a figure. `note`: what is left out and what to do about it, in words ('' =
    nothing is).
    """

    start: date
    end: date
    spend_usd: Decimal
    covered_usd: Decimal
    unsolved_usd: Decimal
    unregistered_usd: Decimal
    unclassified_usd: Decimal
    is_known: bool
    note: str

    @property
    def share(self) -> float | None:
        """The part of the spend the savings are of; None without spend."""
        return float(self.covered_usd / self.spend_usd) if self.spend_usd else None


def saving_scope(view: RecommendationView) -> SavingScope:
    """What of the spend in its window a recommendation is about."""
    solved = {row.request_class for row in view.classes}
    registered = set(RequestClass.objects.values_list("slug", flat=True))
    report = spend(start=view.start, end=view.end, book=price_book())
    parts = dict.fromkeys(("covered", "unsolved", "unregistered", "unclassified"), ZERO)
    for row in report.rows:
        name = row.group["class"]
        if not name:
            part = "unclassified"
        elif name in solved:
            part = "covered"
        else:
            part = "unsolved" if name in registered else "unregistered"
        parts[part] += row.cost_usd
    is_known = bool(view.classes)
    return SavingScope(
        start=view.start,
        end=view.end,
        spend_usd=report.total.cost_usd,
        covered_usd=parts["covered"],
        unsolved_usd=parts["unsolved"],
        unregistered_usd=parts["unregistered"],
        unclassified_usd=parts["unclassified"],
        is_known=is_known,
        note=_note(parts, report.total.cost_usd, is_known=is_known, has_classes=bool(registered)),
    )


def _note(parts: dict[str, Decimal], whole: Decimal, *, is_known: bool, has_classes: bool) -> str:
    left_out = [
        f"{usd(parts[part], 2)} {words}"
        for part, words in (
            ("unclassified", "is unclassified"),
            ("unregistered", "carries labels that are no registered class"),
            ("unsolved", "is of classes without a recommendation"),
        )
        if parts[part]
    ]
    if not is_known:
        lead = "What can be saved is not known: " + (
            "no registered class has usage with a figure in these 28 days" if has_classes else "no class is registered"
        )
        spent = f", and of {usd(whole, 2)} spent {_listed(left_out)}" if left_out else ""
        return " ".join([f"{lead}{spent}.", *_remedies(parts, is_empty=not left_out)])
    if not left_out:
        return ""
    share = percent(parts["covered"] / whole)
    lead = f"The savings are of {usd(parts['covered'], 2)}, {share} of the {usd(whole, 2)} spent in these 28 days"
    return " ".join([f"{lead}: {_listed(left_out)}.", *_remedies(parts, is_empty=False)])


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _remedies(parts: dict[str, Decimal], *, is_empty: bool) -> list[str]:
    found = []
    if is_empty:
        found.append("Register classes on the Classes page and import their usage.")
    if parts["unclassified"]:
        found.append("Map workspaces or API keys to classes on the Classes page, then classify again.")
    if parts["unregistered"]:
        found.append("Register the labels as classes on the Classes page.")
    if parts["unsolved"]:
        found.append("The pages of those classes say what is missing.")
    return found
