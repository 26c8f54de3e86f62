"""The invoice form: it reads what was typed, keeps it when something is wrong, and says where."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, TypeVar

from django.http import QueryDict

from billing.core.money import MoneyError, parse_usd
from billing.core.periods import PeriodError, parse_day, parse_instant
from billing.core.settlement import KIND_WORDS
from billing.core.words import CHANNELS as CHANNEL_NAMES
from billing.models import Invoice, InvoiceLine
from billing.operations.invoices import LINE_KINDS, InvoiceEntry, LineEntry
from costgov.queries.reconciliation import parse_month
from costgov.typed_amounts import plain_amount

T = TypeVar("T")
HEAD: Final = ("issuer", "number", "month", "issued_on", "due_on", "currency", "total_amount", "channel", "note")
LINE: Final = ("description", "category", "model", "token_kind", "amount")
CATEGORIES: Final = tuple(InvoiceLine.Category.choices)
KINDS: Final = (("", "not stated"), *((kind, KIND_WORDS[kind]) for kind in LINE_KINDS))
CHANNELS: Final = tuple(CHANNEL_NAMES.items())
EMPTY_LINES: Final = 8
MORE_LINES: Final = 10
MAX_ROWS: Final = 500


@dataclass
class InvoiceForm:
    """What stands in the form, as text. `errors` by field name; of line 3's amount: `line-3-amount`.

    `similar`: the invoice that may be the same one. `seen_at`: when the reading was entered that is being corrected.
    """

    values: dict[str, str]
    lines: list[dict[str, str]]
    errors: dict[str, str] = field(default_factory=dict)
    similar: Invoice | None = None
    seen_at: datetime | None = None

    @classmethod
    def empty(cls, *, month: date | None) -> "InvoiceForm":
        values = dict.fromkeys(HEAD, "") | {
            "issuer": "Anthropic",
            "currency": "USD",
            "channel": "anthropic",
            "month": f"{month:%Y-%m}" if month is not None else "",
        }
        return cls(values, _padded([]))

    @classmethod
    def of(cls, row: Invoice) -> "InvoiceForm":
        """A kept invoice, to be corrected."""
        values = {
            "issuer": row.issuer,
            "number": row.number,
            "month": f"{row.month:%Y-%m}",
            "issued_on": row.issued_on.isoformat(),
            "due_on": row.due_on.isoformat() if row.due_on else "",
            "currency": row.currency,
            "total_amount": f"{row.total_amount:f}",
            "channel": row.channel,
            "note": row.note,
        }
        lines = [
            {
                "description": line.description,
                "category": line.category,
                "model": line.model,
                "token_kind": line.token_kind,
                "amount": f"{line.amount:f}",
            }
            for line in row.lines.all()
        ]
        return cls(values, _padded(lines), seen_at=row.entered_at)

    @classmethod
    def read(cls, data: QueryDict) -> "InvoiceForm":
        columns = {name: data.getlist(name)[:MAX_ROWS] for name in LINE}
        count = max((len(values) for values in columns.values()), default=0)
        lines = [
            {name: (columns[name][row] if row < len(columns[name]) else "").strip() for name in LINE}
            for row in range(count)
        ]
        filled = [line for line in lines if any(line[name] for name in ("description", "model", "amount"))]
        head = {name: data.get(name, "").strip() for name in HEAD}
        return cls(head, _padded(filled), seen_at=_instant(data.get("seen", "")))

    @property
    def filled(self) -> list[dict[str, str]]:
        return [line for line in self.lines if any(line[name] for name in ("description", "model", "amount"))]

    @property
    def rows(self) -> list[tuple[int, dict[str, str], list[str]]]:
        """Number, values and problems of each line."""
        return [
            (number, line, [text for name, text in self.errors.items() if name.startswith(f"line-{number}-")])
            for number, line in enumerate(self.lines, 1)
        ]

    @property
    def lines_usd(self) -> Decimal | None:
        """Sum of the lines as typed; None while one of them is no amount."""
        try:
            return sum((parse_usd(plain_amount(line["amount"])) for line in self.filled), Decimal(0))
        except MoneyError:
            return None

    def add_lines(self) -> None:
        self.lines = [*self.filled, *(_blank() for _ in range(EMPTY_LINES + MORE_LINES))][:MAX_ROWS]

    def add_problems(self, problems: Mapping[str, str]) -> None:
        self.errors.update(problems)

    def entry(self) -> InvoiceEntry | None:
        """The invoice as typed; None with `errors` where something cannot be read."""
        for name in ("issuer", "number"):
            self._read(name, str, needed=True)
        month = self._read("month", parse_month, needed=True)
        issued = self._read("issued_on", parse_day, needed=True)
        due = self._read("due_on", parse_day)
        total = self._read("total_amount", lambda text: parse_usd(plain_amount(text)), needed=True)
        lines = [self._line(number, line) for number, line in enumerate(self.filled, 1)]
        if self.errors or month is None or issued is None or total is None:
            return None
        return InvoiceEntry(
            issuer=self.values["issuer"],
            number=self.values["number"],
            month=month,
            issued_on=issued,
            due_on=due,
            currency=self.values["currency"].upper(),
            total_amount=total,
            channel=self.values["channel"] or "anthropic",
            note=self.values["note"],
            lines=[line for line in lines if line is not None],
        )

    def _line(self, number: int, line: Mapping[str, str]) -> LineEntry | None:
        try:
            amount = parse_usd(plain_amount(line["amount"]))
        except MoneyError as error:
            self.errors[f"line-{number}-amount"] = f"Line {number}: {error}."
            return None
        return LineEntry(line["description"], amount, line["category"] or "usage", line["model"], line["token_kind"])

    def _read(self, name: str, parse: Callable[[str], T], *, needed: bool = False) -> T | None:
        text = self.values[name]
        if not text:
            if needed:
                self.errors[name] = "Take it from the invoice: it is needed."
            return None
        try:
            return parse(text)
        except (PeriodError, MoneyError, ValueError) as error:
            self.errors[name] = f"{error}."
            return None


def _instant(text: str) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except PeriodError:
        return datetime.min.replace(tzinfo=UTC)  # nothing was entered then: refused as outdated


def _padded(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [*lines, *(_blank() for _ in range(EMPTY_LINES))][:MAX_ROWS]


def _blank() -> dict[str, str]:
    return dict.fromkeys(LINE, "") | {"category": "usage"}
