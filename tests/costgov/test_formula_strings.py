"""Names that a spreadsheet would run, through every file an address hands out: none computes, numbers stay numbers.

Each file is opened as a spreadsheet would: CSV split at every separator some country uses, workbooks by the XML of
their cells. The list of files is compared with the resolver and the registered tables: a new one has to be opened here.
"""

import csv
import io
import re
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import get_resolver

from audit.operations import bump_data_version, record
from billing.models import (
    CommitmentSizing,
    CostCentre,
    CostCentreMapping,
    DailyUsage,
    Invoice,
    InvoiceLine,
    UsageSource,
)
from billing.operations.invoices import InvoiceEntry, LineEntry, save_invoice
from billing.operations.reconciliation import comment_month
from costgov.downloads import TABLES
from costgov.operations.commitments import size_offer
from routing.models import EvalCase, EvalImport, EvalRun, RequestClass, WorkItem
from tests.costgov import sizing_world
from tests.costgov import small_world as world
from tests.costgov.test_every_address import addresses

pytestmark = pytest.mark.django_db
PAYLOADS = (
    "=1+1", "+1+1", "-1+1", "@SUM(1+1)", "\t=1+1", "\r=1+1", " =1+1", '"=1+1', "'=1+1", "＝1+1", "a;=1+1", "a,=1+1",
    "a|=1+1", "a\n=1+1", "=cmd|'/c calc'!A1", '=DDE("cmd";"/c calc";"x")', '=HYPERLINK("http://x","y")',
    "-2+3+cmd|' /C calc'!A0", "=1+1\";=1+1",
)  # fmt: skip
TRIGGERS = set("=+-@＝＋－＠")
SPREADSHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
# What we compute ourselves, and nothing else: sums and differences of cells, and the sheet that checks a year.
OURS = re.compile(r"[-+*/()$!,:'A-Z0-9 ]+|MAX\(0,.*\)|SUM\(B\d+:B\d+\)")
QUERIES = {"eval-cases": "?class=triage&outcome=all", "spend": "?by=model&and=workspace", "work-items": "?state=all"}


NO_FIGURES = {f"/download/{name}.{ending}" for name in ("cost-centres", "imports") for ending in ("csv", "xlsx")}


def payload(n: int) -> str:
    return PAYLOADS[n % len(PAYLOADS)]


@pytest.fixture
def ada(client: Client, settings: Any, tmp_path: Any) -> Client:
    """An estate in which everything somebody may name is called by a payload; and amounts below zero."""
    settings.COSTGOV_AS_OF = world.AS_OF
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    cache.clear()
    people = sizing_world.build()
    size_offer(actor=people["priya"], as_of=world.AS_OF, terms=sizing_world.TERMS, name=payload(0), paths=200)
    source = UsageSource.objects.get(name="by hand")
    for n, text in enumerate(PAYLOADS):
        centre = CostCentre.objects.create(code=text, name=payload(n + 1), team=payload(n + 2), owner=payload(n + 3))
        CostCentreMapping.objects.create(cost_centre=centre, workspace=text, created_at=world.AS_OF)
        for model in (text, world.HAIKU):
            DailyUsage.objects.create(
                date=world.TODAY - timedelta(days=1 + n), source=source, origin="log", channel="anthropic", model=model,
                service_tier="standard", prompt_length_band="0-200k", geo="global", speed="standard",
                request_class="triage", workspace=text, api_key=payload(n + 1), organisation=payload(n + 2),
                policy_version=0, arm="", requests=3, uncached_input_tok=1000 + n, output_tok=7,
            )  # fmt: skip
        comment_month(actor=people["priya"], month=date(2026, 11, 1), text=text, as_of=world.AS_OF)
        record(
            actor=people["ada"], action="class.edited", object_type="class", object_id=text, object_label=text,
            before={"note": text}, after={text: -1}, note=text, as_of=world.AS_OF,
        )  # fmt: skip
        lines = (LineEntry(text, Decimal("12.50")), LineEntry(payload(n + 1), Decimal("-2.25"), "credit"))
        save_invoice(
            actor=None,
            entry=InvoiceEntry(
                f"issuer {n}", f"number {n}", date(2026, 11, 1), date(2026, 11, 2), Decimal("10.25"), lines
            ),
            as_of=world.AS_OF,
        )
    for n, row in enumerate(Invoice.objects.order_by("pk")):
        Invoice.objects.filter(pk=row.pk).update(issuer=payload(n), number=f"{payload(n + 1)}{n}", note=payload(n + 2))
    Invoice.objects.filter(issuer=PAYLOADS[0]).update(total_amount=Decimal("-10.25"))
    InvoiceLine.objects.filter(category="usage").update(model=PAYLOADS[0])
    UsageSource.objects.update(name=PAYLOADS[1])
    RequestClass.objects.filter(slug="triage").update(title=PAYLOADS[0], quality_owner=PAYLOADS[1], note=PAYLOADS[2])
    EvalRun.objects.update(suite=PAYLOADS[0], suite_version=PAYLOADS[1])
    EvalImport.objects.update(file_name=PAYLOADS[2])
    for n, case in enumerate(EvalCase.objects.filter(run__request_class__slug="triage")[: len(PAYLOADS)]):
        EvalCase.objects.filter(pk=case.pk).update(sample_id=payload(n) + f" {n}", model_raw=payload(n))
    WorkItem.objects.create(
        request_class=RequestClass.objects.get(slug="triage"), kind="below_bar", model=PAYLOADS[0], text=PAYLOADS[1],
        remedy=PAYLOADS[2], concerns=PAYLOADS[3], opened_at=world.AS_OF,
    )  # fmt: skip
    bump_data_version()
    cache.clear()
    client.force_login(people["ada"])
    return client


def files() -> dict[str, str]:
    """Every address that hands out a CSV or a workbook, by its route."""
    days = f"from={world.TODAY - timedelta(days=28)}&to={world.TODAY - timedelta(days=1)}"
    found = {f"/download/{name}.{ending}": f"/download/{name}.{ending}{QUERIES.get(name, '')}"
             for name in TABLES for ending in ("csv", "xlsx")}  # fmt: skip
    found["/spend/focus.csv"] = f"/spend/focus.csv?{days}"
    for ending in ("csv", "xlsx", "focus"):
        found[f"/api/v1/spend {ending}"] = f"/api/v1/spend?by=class,model,workspace,api_key,source,team&format={ending}"
    for ending in ("csv", "xlsx"):
        found[f"/invoices/nothing/reconciliation.{ending}"] = f"/invoices/2026-11/reconciliation.{ending}"
    found["/commitments/999999/sizing.xlsx"] = "/commitments/{sizing}/sizing.xlsx"
    return found


def test_every_file_is_opened_here() -> None:
    known = {
        path for path in addresses(get_resolver(site.ROOT_URLCONF).url_patterns) if path.endswith((".csv", ".xlsx"))
    }
    assert known <= set(files()), "a new file: add it to files()"
    assert len(TABLES) >= 14


def body(answer: HttpResponseBase) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]


def is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def test_nothing_in_a_csv_computes(ada: Client) -> None:
    """However it is split: each cell, and in files with other separators each line of a cell, is text or a number."""
    computed, without_figures = [], []
    for name in files():
        if "xlsx" in name:
            continue
        data = fetched(ada, name).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(data, newline="")))
        assert len({len(row) for row in rows}) == 1, f"{name}: every row has every column"
        for separator in (",", ";", "\t", "|"):
            for row in csv.reader(io.StringIO(data, newline=""), delimiter=separator):
                computed += [(name, separator, cell) for cell in row if computes(cell, separator)]
        if name not in NO_FIGURES and not any(is_number(cell) for row in rows[1:] for cell in row):
            without_figures.append(name)
    assert computed == []
    assert without_figures == []


def computes(cell: str, separator: str) -> bool:
    lines = [cell] if separator == "," else re.split(r"[\r\n]", cell)
    starts = [line.lstrip(' "') for line in lines]
    return cell[:1] in ("\t", "\r", "\n") or any(
        text[:1] in TRIGGERS and not is_number(text.rstrip('"')) for text in starts if text
    )


def test_nothing_in_a_workbook_computes(ada: Client) -> None:
    computed, as_text, without_numbers = [], [], []
    for name in files():
        if "xlsx" not in name:
            continue
        numbers = 0
        for cell in cells(fetched(ada, name)):
            formula = cell.findtext(f"{SPREADSHEET}f")
            if formula is not None:
                attacked = any(attack.lstrip("=") in formula for attack in PAYLOADS)
                computed += [(name, formula)] if attacked or not OURS.fullmatch(formula) else []
            elif cell.get("t") in ("inlineStr", "s", "str"):
                text = "".join(part.text or "" for part in cell.iter(f"{SPREADSHEET}t"))
                as_text += [(name, text)] if is_number(text) and "." in text else []
            else:
                numbers += 1
        if not numbers and name not in NO_FIGURES:
            without_numbers.append(name)
    assert (computed, as_text, without_numbers) == ([], [], [])


def fetched(ada: Client, name: str) -> bytes:
    address = files()[name].format(sizing=CommitmentSizing.objects.get().pk)
    answer = ada.get(address)
    assert answer.status_code == 200, (address, body(answer)[:500])
    data = body(answer)
    assert data, address
    return data


def cells(data: bytes) -> list[Element]:
    found: list[Element] = []
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        assert not [part for part in parts.namelist() if "externalLink" in part or "connections" in part]
        for part in parts.namelist():
            if part.startswith("xl/worksheets/sheet"):
                found += fromstring(parts.read(part)).iter(f"{SPREADSHEET}c")
    return found


def test_amounts_below_zero_are_numbers_everywhere(ada: Client) -> None:
    rows = list(csv.DictReader(io.StringIO(fetched(ada, "/download/invoices.csv").decode())))
    assert "-10.25" in {row["total_amount"] for row in rows}
    sheet = [cell.findtext(f"{SPREADSHEET}v") for cell in cells(fetched(ada, "/download/invoices.xlsx"))]
    assert "-10.25" in sheet
    month = fetched(ada, "/invoices/nothing/reconciliation.csv").decode("utf-8-sig")
    below = [
        row["difference_usd"] for row in csv.DictReader(io.StringIO(month)) if row["difference_usd"].startswith("-")
    ]
    assert below and all(Decimal(text) < 0 for text in below)


def test_the_payloads_are_in_the_files(ada: Client) -> None:
    """Else nothing was tried. Workbooks hold them as they are, CSV with an apostrophe before what would compute."""
    where = {
        "/download/spend.csv": ["=1+1", "@SUM(1+1)"], "/download/showback.csv": ["=1+1"],
        "/download/cost-centres.csv": ["=DDE", "=cmd|"], "/download/invoices.csv": ["+1+1"],
        "/download/audit.csv": ["=HYPERLINK"], "/download/classes.csv": ["=1+1"], "/download/evals.csv": ["=1+1"],
        "/spend/focus.csv": ["=1+1"], "/api/v1/spend csv": ["=1+1"], "/download/cost-lines.csv": ["claude"],
        "/download/eval-runs.csv": ["=1+1"], "/invoices/nothing/reconciliation.csv": ["1+1"],
    }  # fmt: skip
    for name, texts in where.items():
        data = fetched(ada, name).decode()
        assert [text for text in texts if text.replace('"', '""') not in data] == [], name
