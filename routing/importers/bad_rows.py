"""Bad rows of an eval file: kept up to a bound, counted beyond it, and the refusal that lists them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from routing.importers.base import EvalImportError

MOST_KEPT: Final = 200
_MOST_SAID: Final = 5
_PLACES_TOLD: Final = 12
_VALUES_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was not understood. `line` None = the format has none, `where` says which result it is instead.

    `field` and `value` are '' where it is about the row, or the file, as a whole.
    """

    file: str
    line: int | None
    where: str
    field: str
    value: str
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: EvalImportError, *, file: str) -> "BadRow":
        """`file`: as the person who imports it calls it."""
        return cls(file, error.line, error.where, error.field, error.value or "", error.problem, error.remedy)

    @classmethod
    def kept(cls, document: object) -> "BadRow":
        """A row as it lies in the database; earlier versions kept a sentence."""
        if isinstance(document, Mapping):
            return cls(**document)
        return cls("", None, "", "", "", str(document).rstrip("."), "")

    @property
    def place(self) -> str:
        """'line 12', 'line 12, case T-1 on haiku'; '' = the file as a whole."""
        return ", ".join(part for part in (f"line {self.line}" if self.line is not None else "", self.where) if part)

    def __str__(self) -> str:
        if not self.remedy:
            return f"{self.problem}."
        told = EvalImportError(self.problem, remedy=self.remedy, field=self.field)
        told.value = self.value or None
        return str(told.at(file=self.file, line=self.line, where=self.where))

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BadRowGroup:
    """Bad rows with the same fault: the first places and values, and in how many rows it is (of those listed)."""

    field: str
    problem: str
    remedy: str
    places: tuple[str, ...]
    values: tuple[str, ...]
    rows: int

    @property
    def more(self) -> int:
        return self.rows - len(self.places)


def grouped(rows: Iterable[BadRow]) -> tuple[BadRowGroup, ...]:
    """Rows with equal faults together, in the order in which they were met."""
    groups: dict[tuple[str, str, str], list[BadRow]] = {}
    for row in rows:
        groups.setdefault((row.field, row.problem, row.remedy), []).append(row)
    return tuple(
        BadRowGroup(
            *key,
            places=tuple(row.place or "the file" for row in found[:_PLACES_TOLD]),
            values=tuple(dict.fromkeys(row.value for row in found if row.value))[:_VALUES_TOLD],
            rows=len(found),
        )
        for key, found in groups.items()
    )


class EvalRowsRefused(EvalImportError):
    """A file with several bad rows. `rows` holds the first of them, `count` is of all."""

    def __init__(self, rows: tuple[BadRow, ...], count: int) -> None:
        first = rows[0]
        super().__init__(
            first.problem,
            remedy=first.remedy,
            file=first.file,
            line=first.line,
            where=first.where,
            field=first.field,
        )
        self.value = first.value or None
        self.rows = rows
        self.count = count

    def __str__(self) -> str:
        """The first few, a line each, and how many more there are."""
        said = [str(row) for row in self.rows[:_MOST_SAID]]
        more = self.count - len(said)
        if more:
            said.append(f"{self.file}: {more:,} more bad row{'s' if more > 1 else ''}; nothing was imported.")
        return "\n".join(said)


@dataclass(slots=True)
class BadRows:
    """Collects what is wrong with a file while it is read."""

    file: str
    count: int = 0
    rows: list[BadRow] = field(default_factory=list)

    def add(self, error: EvalImportError) -> None:
        self.count += 1
        if len(self.rows) < MOST_KEPT:
            self.rows.append(BadRow.of(error, file=self.file))

    @property
    def refusal(self) -> EvalRowsRefused:
        return EvalRowsRefused(tuple(self.rows), self.count)


def rows_of(error: EvalImportError, *, file: str = "") -> tuple[BadRow, ...]:
    """What a refusal is about, row by row; one of the whole file is one row."""
    return error.rows if isinstance(error, EvalRowsRefused) else (BadRow.of(error, file=error.file or file),)


def count_of(error: EvalImportError) -> int:
    return error.count if isinstance(error, EvalRowsRefused) else 1
