"""Which cells of the eval matrix an address asks for, in which order. Pure: the page and its download agree by it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from costgov.queries.evals import EvalMatrix, Judged, JudgedClass, MatrixModel

SERVES: Final = "serves"  # in place of a model: whichever serves each class now
VERDICTS: Final = ("falls_short", "not_enough_evidence", "no_evidence", "clears")
STALE: Final = "stale"
SORTS: Final = (
    ("class", "Class, A to Z"),
    ("verdict", "Worst verdict first"),
    ("rate", "Lowest pass rate first"),
    ("cases", "Fewest cases first"),
    ("age", "Oldest evidence first"),
)


@dataclass(frozen=True, slots=True)
class MatrixQuestion:
    """`model`: '' = all, SERVES, or a model's id. `verdict`: '' = any, one of VERDICTS, or STALE."""

    words: str = ""
    model: str = ""
    verdict: str = ""
    sort: str = "class"

    @property
    def is_narrowed(self) -> bool:
        return bool(self.words or self.model or self.verdict)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A class with its cells in the order of the columns shown; None = the model never ran a case of it.

    `place`: that of the class in the whole matrix, from 0.
    """

    place: int
    row: JudgedClass
    cells: tuple[Judged | None, ...]


@dataclass(frozen=True, slots=True)
class MatrixSelection:
    """`places`: those of the columns in the whole matrix, from 0."""

    columns: tuple[MatrixModel, ...]
    places: tuple[int, ...]
    rows: tuple[MatrixRow, ...]


def select(view: EvalMatrix, question: MatrixQuestion) -> MatrixSelection:
    """The rows and columns that answer a question; ties and unknown values by title."""
    places = [
        place
        for place, column in enumerate(view.models)
        if question.model in ("", SERVES) or column.model == question.model
    ]
    rows = [
        MatrixRow(number, row, tuple(cells[place] for place in places))
        for number, (row, cells) in enumerate(zip(view.rows, view.cells, strict=True))
        if _holds(row, question.words) and _has_verdict(row, question)
    ]
    rows.sort(key=lambda found: (_order(_subject(found.row, question.model), question.sort), found.row.title.lower()))
    return MatrixSelection(tuple(view.models[place] for place in places), tuple(places), tuple(rows))


def verdict_counts(view: EvalMatrix) -> Mapping[str, int]:
    """How many cells of the whole matrix have each verdict, and how many rest on stale evidence."""
    counts = Counter(judged.shown_status for row in view.rows for judged in row.models)
    counts[STALE] = sum(judged.stale for row in view.rows for judged in row.models)
    return counts


def _holds(row: JudgedClass, words: str) -> bool:
    text = f"{row.title} {row.slug} {row.quality_owner}".lower()
    return all(word in text for word in words.lower().split())


def _has_verdict(row: JudgedClass, question: MatrixQuestion) -> bool:
    if not question.verdict:
        return True
    asked = row.models if not question.model else (_subject(row, question.model),)
    return any(_is(judged, question.verdict) for judged in asked)


def _is(judged: Judged | None, verdict: str) -> bool:
    """A model without any case has no evidence, whether or not it is planned."""
    if judged is None:
        return verdict == "no_evidence"
    return judged.stale if verdict == STALE else judged.shown_status == verdict


def _subject(row: JudgedClass, model: str) -> Judged | None:
    """What a class is sorted by: the model asked for, else the one that serves."""
    return row.of(row.incumbent or "" if model in ("", SERVES) else model)


def _order(judged: Judged | None, sort: str) -> tuple[int, float]:
    """Smaller comes first; what is not known comes last."""
    if sort == "class":
        return (0, 0.0)
    if sort == "verdict":
        return (VERDICTS.index(judged.shown_status if judged is not None else "no_evidence"), 0.0)
    if judged is None or (sort == "rate" and judged.pass_rate is None):
        return (1, 0.0)
    if sort == "rate":
        return (0, judged.pass_rate or 0.0)
    if sort == "cases":
        return (0, float(judged.cases))
    return (0, judged.newest_case_at.timestamp()) if judged.newest_case_at is not None else (1, 0.0)


def shortened(names: Sequence[str], most: int = 5) -> str:
    """Titles in a sentence; beyond a handful the number says more than the names."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
