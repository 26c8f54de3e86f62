"""Spend, showback, cost centres and downloads: pages, files, API and commands say the same."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
import python_calamine
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.core.money import round_usd
from billing.models import BillingPeriod, CostCentre, CostCentreMapping
from billing.operations.cost_centres import CostCentreRefused, map_costs, save_cost_centre, unmap_costs
from costgov.downloads import TABLES
from costgov.queries.showback import showback
from costgov.queries.spend import spend
from costgov.queries.spend_change import spend_change
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import logged_in, token
from tests.costgov.small_world import AS_OF, HAIKU, OPUS, SONNET, TODAY

pytestmark = pytest.mark.django_db
D = Decimal
START = TODAY - timedelta(days=28)


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = AS_OF


@pytest.fixture
def people():
    return policy_world.estate()


@pytest.fixture
def buyer(people) -> Client:
    return logged_in(people["priya"])


def text(answer) -> str:
    return " ".join(answer.content.decode().split())


def body(answer) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def centre(code="4711", **mapping):
    save_cost_centre(actor=None, code=code, name=f"Centre {code}", team="Research", as_of=AS_OF)
    if mapping:
        map_costs(actor=None, code=code, as_of=AS_OF, **mapping)


class TestExplorer:
    def test_the_answer_the_rows_and_the_total(self, buyer):
        page = text(buyer.get("/spend/?by=class&and=model"))
        # 28 days × 100 requests of opus: 200,000 in at 5 and 30,000 out at 25 usd per million
        assert "$49.00" in page and "Ticket triage" in page and "Reply drafting" in page
        assert "Spend by day" in page and "The same as the period before" in page
        report = spend(start=START, end=TODAY, by=("class", "model"))
        assert f"${round_usd(report.total.cost_usd)}" in page

    def test_what_has_no_price_costs_no_zero(self, buyer, capsys):
        """In the table, in the figures under the picture and in the command: unknown, beside its tokens."""
        world.use(TODAY - timedelta(days=1), "lab-model-2", "triage", 1, (1000, 10))
        cache.clear()
        page = buyer.get("/spend/?by=model&days=28").content.decode()
        rows = re.findall(r"<tr>(.*?)</tr>", page[page.index("Show the figures by time") :], re.DOTALL)
        columns = [unescape(cell) for cell in re.findall(r"<th[^>]*>([^<]*)</th>", rows[0])]
        lab = columns.index("lab-model-2")
        days = [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", row) for row in rows[1:29]]
        assert {row[lab] for row in days} == {"–"}
        assert all(row[-1].startswith("$") for row in days)
        call_command("spend", "--by", "model")
        line = next(line for line in capsys.readouterr().out.splitlines() if "lab-model-2" in line)
        assert line.split() == ["lab-model-2", "unknown", "+", "1,010", "tokens", "unpriced"]

    def test_a_selection_without_any_price_is_unknown(self, buyer):
        world.use(TODAY - timedelta(days=1), "lab-model-2", "triage", 1, (1000, 10))
        cache.clear()
        page = buyer.get("/spend/?by=class&model=lab-model-2&days=28").content.decode()
        answer = " ".join(page[page.index("This selection") :].split())[:80]
        assert answer.startswith("This selection costs an <strong>unknown</strong> amount"), answer

    def test_a_click_on_a_name_filters_and_asks_the_next_question(self, buyer):
        page = buyer.get("/spend/?by=class&days=28").content.decode()
        assert 'href="?days=28&amp;class=triage&amp;by=model"' in page
        filtered = text(buyer.get("/spend/?by=model&class=triage"))
        assert "Class: Ticket triage" in filtered and "Reply drafting" not in filtered
        assert "$49.00" in filtered

    def test_nothing_named_is_a_value_too(self, buyer):
        world.use(TODAY - timedelta(days=2), OPUS, "", 1, (1_000_000, 0))
        page = buyer.get("/spend/?by=class").content.decode()
        assert "Unclassified" in page and "class=%28none%29" in page
        assert "$5.00" in text(buyer.get("/spend/?by=model&class=(none)"))

    @pytest.mark.parametrize("by", ["day", "week", "month", "tier", "workspace", "team", "cost_centre", "api_key",
                                    "token_kind", "service_tier", "channel", "geo", "origin"])  # fmt: skip
    def test_every_grouping_shows_the_whole(self, buyer, by):
        answer = buyer.get(f"/spend/?by={by}&and=class")
        assert answer.status_code == 200
        report = spend(start=START, end=TODAY, by=(by, "class"))
        assert sum(row.cost_usd for row in report.rows) == report.total.cost_usd
        assert f"${round_usd(report.total.cost_usd):,}" in text(answer)

    def test_the_cost_of_each_token_type(self, buyer):
        page = text(buyer.get("/spend/?by=token_kind&class=triage"))
        assert "Input" in page and "$28.00" in page  # 5.6 M × 5
        assert "Output" in page and "$21.00" in page  # 0.84 M × 25

    @pytest.mark.parametrize(
        "query", ["by=colour", "and=colour", "days=5", "from=yesterday", "colour=red", "basis=free"]
    )
    def test_what_cannot_be_read_is_refused_in_words(self, buyer, query):
        assert buyer.get(f"/spend/?{query}").status_code == 400

    def test_no_usage(self, buyer):
        assert "Nothing in this selection" in text(buyer.get("/spend/?model=nothing"))

    def test_more_rows_than_shown_are_summed_and_downloaded(self, buyer):
        for number in range(250):
            world.use(TODAY - timedelta(days=1), SONNET, "", 1, (1_000_000, 0), api_key=f"k{number}")
        page = text(buyer.get("/spend/?by=api_key"))
        assert "The first 200 of 251" in page and "51 more rows" in page
        rows = list(csv.reader(io.StringIO(body(buyer.get("/download/spend.csv?by=api_key")).decode())))
        assert len(rows) == 252


class TestWhyItChanged:
    def move(self):
        """The last 28 days: triage moves to haiku, and drafting doubles."""
        from billing.models import DailyUsage

        DailyUsage.objects.filter(request_class="triage", date__gte=START).update(model=HAIKU)
        DailyUsage.objects.filter(request_class="drafting", date__gte=START).update(
            uncached_input_tok=100_000, output_tok=80_000
        )

    def split(self, **changes):
        return spend_change(
            start=START, end=TODAY, before_start=START - timedelta(days=28), before_end=START, **changes
        )

    def test_the_parts_sum_and_name_the_reason(self, buyer, people):
        self.move()
        found = self.split(by=("class",))
        total = found.total
        assert total.volume_usd + total.mix_usd + total.price_usd == total.change_usd
        assert total.change_usd == sum(row.change_usd for row in found.rows)
        assert total.price_usd == 0 and total.volume_usd > 0 and total.mix_usd < 0
        triage = next(row for row in found.rows if row.group["class"] == "triage")
        assert (triage.before_usd, triage.after_usd) == (49, D("9.8"))
        page = text(buyer.get("/spend/?by=class"))
        assert "Why it changed" in page and "from more tokens" in page and "from a cheaper mix" in page

    def test_the_command_and_the_api_say_the_same(self, people, capsys):
        self.move()
        call_command("spend_change", "--from", f"{START}", "--to", f"{TODAY}", "--json")
        said = json.loads(capsys.readouterr().out)
        headers = token(people["vic"], "read")[1]
        answer = Client().get(f"/api/v1/spend/change?from={START}&to={TODAY}", headers=headers)
        assert answer.json() == said
        assert D(said["total"]["change_usd"]) == self.split(by=("class",)).total.change_usd
        call_command("spend_change", "--from", f"{START}", "--to", f"{TODAY}")
        assert "total" in capsys.readouterr().out

    def test_a_month_is_compared_with_the_month_before(self, people):
        headers = token(people["vic"], "read")[1]
        found = Client().get("/api/v1/spend/change?from=2026-11-01&to=2026-12-01", headers=headers).json()
        assert (found["before_start"], found["before_end"]) == ("2026-10-01", "2026-11-01")

    @pytest.mark.parametrize(
        "query", ["to=2026-11-01", "from=2026-11-02&to=2026-11-01", "from=2026-10-01&to=2026-11-01&by=day"]
    )
    def test_refusals(self, people, query):
        headers = token(people["vic"], "read")[1]
        assert Client().get(f"/api/v1/spend/change?{query}", headers=headers).status_code == 400


class TestShowback:
    MONTH = date(2026, 10, 1)

    def test_statements_add_up_and_what_nobody_carries_is_shown(self, buyer):
        centre("4711", request_class="triage")
        found = showback(month=self.MONTH, as_of=TODAY)
        assert [(one.code, one.cost_usd) for one in found.statements] == [("4711", D("54.25")), ("", D("23.25"))]
        assert sum(one.cost_usd for one in found.statements) == found.total.cost_usd == D("77.5")
        page = text(buyer.get("/spend/showback/?month=2026-10"))
        assert "1 cost centre carries October 2026’s" in page
        assert "$23.25</strong> (30.0%) is carried by nobody" in page
        assert "Centre 4711" in page and "Ticket triage" in page

    def test_without_cost_centres_everything_is_unallocated(self, buyer):
        page = text(buyer.get("/spend/showback/?month=2026-10"))
        assert "No cost centre carries anything yet" in page and "Unallocated" in page

    def test_a_running_month_is_compared_with_as_many_days(self, buyer):
        found = showback(month=date(2026, 11, 1), as_of=TODAY)
        assert not found.is_whole and found.end == TODAY
        assert found.before_usd == found.total.cost_usd  # 22 days of the same usage

    def test_a_closed_month_says_what_came_after_its_closing(self, buyer):
        BillingPeriod.objects.create(
            month=self.MONTH, state="closed", closed_at=AS_OF, prices_known_at=AS_OF, frozen={"computed_usd": "77.5"}
        )
        assert showback(month=self.MONTH, as_of=TODAY).since_closed_usd is None
        BillingPeriod.objects.update(frozen={"computed_usd": "70.25"})
        assert showback(month=self.MONTH, as_of=TODAY).since_closed_usd == D("7.25")
        page = text(buyer.get("/spend/showback/?month=2026-10"))
        assert "October was closed with $70.25; +$7.25 came later" in page and "/invoices/2026-10/" in page

    def test_spend_of_a_closed_month_says_so_too(self, buyer):
        BillingPeriod.objects.create(
            month=self.MONTH, state="closed", closed_at=AS_OF, prices_known_at=AS_OF, frozen={"computed_usd": "70.25"}
        )
        page = text(buyer.get("/spend/?from=2026-10-01&to=2026-10-31"))
        assert "October was closed with $70.25; +$7.25 came later" in page and "/invoices/2026-10/" in page
        assert "came later" not in text(buyer.get("/spend/?from=2026-10-01&to=2026-10-30"))
        out = io.StringIO()
        call_command("spend", "--from", "2026-10-01", "--to", "2026-11-01", stdout=out)
        assert "October 2026 was closed with 70.25 usd; +7.25 usd came later and is its adjustment." in out.getvalue()
        whole = spend(start=self.MONTH, end=date(2026, 11, 1), by=("model",))
        assert (whole.closed_usd, whole.since_closed_usd) == (D("70.25"), D("7.25"))
        others: tuple[dict[str, Any], ...] = (
            {"where": {"class": "triage"}}, {"basis": "contracted"}, {"end": date(2026, 11, 2)},
        )  # fmt: skip
        for changes in others:
            asked: dict[str, Any] = {"start": self.MONTH, "end": date(2026, 11, 1), **changes}
            assert spend(**asked).closed_usd is None
        BillingPeriod.objects.update(frozen={"computed_usd": "77.5"})
        assert spend(start=self.MONTH, end=date(2026, 11, 1)).since_closed_usd is None

    def test_a_dated_mapping_splits_a_month(self, people):
        centre("4711", request_class="triage", valid_to=date(2026, 10, 11))
        centre("4712", request_class="triage", valid_from=date(2026, 10, 11))
        found = {one.code: one.cost_usd for one in showback(month=self.MONTH, as_of=TODAY).statements}
        assert found == {"4711": D("17.5"), "4712": D("36.75"), "": D("23.25")}

    def test_the_download_holds_every_line(self, buyer):
        centre("=1+1", request_class="triage")
        rows = list(csv.DictReader(io.StringIO(body(buyer.get("/download/showback.csv?month=2026-10")).decode())))
        assert [(row["cost_centre"], row["class"], row["cost_usd"]) for row in rows] == [
            ("'=1+1", "triage", "54.25"), ("(unallocated)", "drafting", "23.25"),
        ]  # fmt: skip

    @pytest.mark.parametrize("month", ["2027-01", "soon", "2026-13"])
    def test_no_such_month(self, buyer, month):
        assert buyer.get(f"/spend/showback/?month={month}").status_code == 400

    def test_requests_stand_only_where_every_line_counts_them(self, buyer):
        page = text(buyer.get("/spend/showback/?month=2026-10"))
        assert '<th scope="col" class="num">Requests</th>' in page and "counts tokens only" not in page
        view = showback(month=self.MONTH, as_of=TODAY)
        whole = view.statements[0]
        assert whole.counts_requests and view.counts_requests
        silent = replace(whole, lines=(*whole.lines, replace(whole.lines[0], requests=None)))
        assert not silent.counts_requests
        assert not replace(view, statements=(*view.statements, silent)).counts_requests


class TestCostCentres:
    def test_a_mapping_says_its_last_day(self, buyer):
        centre("4711", request_class="triage", valid_from=date(2026, 8, 1), valid_to=date(2026, 9, 1))
        page = text(buyer.get("/spend/cost-centres/"))
        assert "from 1 Aug 2026 until 31 Aug 2026" in page

    def test_its_fields_suggest_what_there_is(self, buyer):
        centre("4711", channel="anthropic")
        page = text(buyer.get("/spend/cost-centres/?edit=4711"))
        assert 'list="seen-request_class"' in page and '<option value="triage" label="Ticket triage"></option>' in page
        assert '<option value="bedrock">Amazon Bedrock</option>' in page
        assert '<datalist id="held-team"><option value="Research"></option></datalist>' in page
        # A changed code would be another cost centre.
        assert "readonly" in page and "Keep the change" in page
        assert "readonly" not in text(buyer.get("/spend/cost-centres/"))
        asked = {"cost_centre": "4711", "channel": "smoke signals", "step": "save"}
        answer = buyer.post("/spend/cost-centres/map/", asked)
        assert answer.status_code == 422 and 'aria-invalid="true"' in text(answer)

    def test_a_mapping_says_what_it_moves_before_it_is_saved(self, buyer):
        centre("4711")
        asked = {"cost_centre": "4711", "request_class": "triage", "workspace": "", "api_key": "", "channel": "",
                 "valid_from": "", "valid_to": ""}  # fmt: skip
        page = text(buyer.post("/spend/cost-centres/map/", {**asked, "step": "preview"}))
        assert "This mapping moves <strong>$52.50</strong>" in page  # 30 days × 1.75
        assert not CostCentreMapping.objects.exists()
        answer = buyer.post("/spend/cost-centres/map/", {**asked, "step": "save"}, follow=True)
        assert "4711 carries class triage" in text(answer)
        assert AuditEntry.objects.filter(action="cost_centre.mapped").count() == 1
        moved = text(buyer.post("/spend/cost-centres/map/", {**asked, "step": "preview"}))
        assert "This mapping moves nothing" in moved

    def test_a_second_cost_centre_for_the_same_usage_is_refused(self, buyer):
        centre("4711", request_class="triage")
        centre("4712")
        asked = {"cost_centre": "4712", "request_class": "triage", "valid_from": "2026-11-01", "step": "save"}
        answer = buyer.post("/spend/cost-centres/map/", asked)
        assert answer.status_code == 422
        assert "4711 carries class triage from the start until further notice: end that mapping first" in text(answer)
        unmap_costs(actor=None, mapping_id=CostCentreMapping.objects.get().pk, as_of=AS_OF, on=date(2026, 11, 1))
        assert buyer.post("/spend/cost-centres/map/", asked).status_code == 302

    def test_register_change_and_remove(self, buyer):
        buyer.post("/spend/cost-centres/save/", {"code": "4711", "name": "Research", "team": "R", "owner": ""})
        buyer.post("/spend/cost-centres/save/", {"code": "4711", "name": "Research 2", "team": "R", "owner": "Mei"})
        assert CostCentre.objects.get().name == "Research 2"
        map_costs(actor=None, code="4711", workspace="w", as_of=AS_OF)
        page = text(buyer.get("/spend/cost-centres/?edit=4711"))
        assert "Change 4711" in page and 'value="Research 2"' in page and "Workspace w" in page
        remove = f"/spend/cost-centres/unmap/{CostCentreMapping.objects.get().pk}/"
        assert remove in page
        asked = text(buyer.get(remove))
        assert "Workspace w would no longer go to 4711" in asked and "Remove this mapping" in asked
        assert CostCentreMapping.objects.exists()  # looking at it changes nothing
        buyer.post(remove)
        assert not CostCentreMapping.objects.exists()
        assert buyer.get(remove).url == "/spend/cost-centres/"
        actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))[-4:]
        assert actions == [
            "cost_centre.registered",
            "cost_centre.changed",
            "cost_centre.mapped",
            "cost_centre.unmapped",
        ]

    def test_engineers_and_viewers_may_not(self, people):
        centre("4711")
        for name in ("lena", "vic"):
            client = logged_in(people[name])
            assert client.get("/spend/cost-centres/").status_code == 200
            assert "Give usage to a cost centre" not in text(client.get("/spend/cost-centres/"))
            for address in ("save", "map", "import", "unmap/1"):
                assert client.post(f"/spend/cost-centres/{address}/").status_code == 403
            with pytest.raises(Forbidden):
                save_cost_centre(actor=people[name], code="4712", as_of=AS_OF)

    def test_a_file_is_imported_once_and_the_download_is_such_a_file(self, buyer, tmp_path, capsys):
        data = (
            "code,name,team,owner,channel,workspace,api_key,class,from,to\n"
            "4711,Research,R&D,Mei,,w1,,,,\n4711,,,,,,,triage,2026-01-01,\n4712,Rest,,,,*,,,,\n4713,Idle,,,,,,,,\n"
        )
        answer = buyer.post("/spend/cost-centres/import/", {"file": upload(data)}, follow=True)
        assert "3 cost centres new, 0 changed; 3 mappings new, 0 changed" in text(answer)
        held = list(CostCentreMapping.objects.order_by("pk").values_list())
        again = body(buyer.get("/download/cost-centres.csv"))
        path = tmp_path / "again.csv"
        path.write_bytes(again)
        call_command("import_cost_centres", str(path))
        assert "0 cost centres new, 0 changed; 0 mappings new, 0 changed; 4 lines unchanged" in capsys.readouterr().out
        assert list(CostCentreMapping.objects.order_by("pk").values_list()) == held

    def test_a_broken_file_changes_nothing(self, buyer, tmp_path):
        answer = buyer.post("/spend/cost-centres/import/", {"file": upload("code\n\n,\n")}, follow=True)
        assert "Nothing was changed" in text(answer)
        path = tmp_path / "broken.csv"
        path.write_text("code,from\nx,soon\n")
        with pytest.raises(SystemExit) as stopped:
            call_command("import_cost_centres", str(path))
        assert stopped.value.code == 2 and not CostCentre.objects.exists()

    def test_refusals_of_the_operation(self, people):
        with pytest.raises(CostCentreRefused, match="no cost centre 'x': register it first"):
            map_costs(actor=None, code="x", workspace="w", as_of=AS_OF)
        with pytest.raises(CostCentreRefused, match="code"):
            save_cost_centre(actor=None, code=" ", as_of=AS_OF)
        with pytest.raises(CostCentreRefused, match=r"no mapping number 9 \(any more\)"):
            unmap_costs(actor=None, mapping_id=9, as_of=AS_OF)


def upload(data: str):
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("centres.csv", data.encode())


class TestFiles:
    def test_the_file_is_what_the_page_shows(self, buyer):
        answer = buyer.get("/download/spend.csv?by=class&and=model")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert answer["Content-Disposition"] == 'attachment; filename="spend-2026-10-26-2026-11-22.csv"'
        rows = list(csv.DictReader(io.StringIO(body(answer).decode())))
        report = spend(start=START, end=TODAY, by=("class", "model"))
        assert [(row["class"], row["model"], D(row["cost_usd"])) for row in rows] == [
            (row.group["class"], row.group["model"], row.cost_usd) for row in report.rows
        ]
        assert rows[0]["class_name"] == "Ticket triage"

    def test_the_workbook_too(self, buyer):
        data = body(buyer.get("/download/spend.xlsx?by=class"))
        found = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()
        assert found[1][0] == "triage" and found[1][2] == 49.0

    def test_the_api_hands_out_the_same(self, people, buyer):
        headers = token(people["vic"], "read")[1]
        query = f"by=class&from={START}&to={TODAY}"
        answer = Client().get(f"/api/v1/spend?{query}&format=csv", headers=headers)
        assert body(answer) == body(buyer.get("/download/spend.csv?by=class"))
        assert body(Client().get(f"/api/v1/spend?{query}&format=xlsx", headers=headers))[:2] == b"PK"
        focus = body(Client().get(f"/api/v1/spend?{query}&format=focus", headers=headers)).decode()
        rows = list(csv.DictReader(io.StringIO(focus)))
        assert sum(D(row["BilledCost"]) for row in rows) == spend(start=START, end=TODAY).total.cost_usd
        assert body(buyer.get("/spend/focus.csv?days=28")).decode() == focus
        assert Client().get(f"/api/v1/spend?{query}&format=pdf", headers=headers).status_code == 400
        assert Client().get("/api/v1/spend?format=focus&class=triage", headers=headers).status_code == 400

    def test_rows_beyond_the_limit_are_summed(self, people):
        headers = token(people["vic"], "read")[1]
        found = Client().get(f"/api/v1/spend?by=day&from={START}&to={TODAY}&limit=3", headers=headers).json()
        assert len(found["rows"]) == 3 and found["row_count"] == 28
        parts = sum(D(row["cost_usd"]) for row in found["rows"]) + D(found["rest"]["cost_usd"])
        assert parts == D(found["total"]["cost_usd"])

    def test_filters_of_the_api(self, people):
        headers = token(people["vic"], "read")[1]
        found = Client().get("/api/v1/spend?by=token_kind&class=triage&token_kind=output", headers=headers).json()
        assert found["where"] == {"class": "triage", "token_kind": "output"}
        assert [row["group"] for row in found["rows"]] == [{"token_kind": "output"}]
        assert Client().get("/api/v1/spend?token_kind=input", headers=headers).status_code == 400

    def test_every_registered_table_downloads(self, buyer):
        for name in TABLES:
            for ending in ("csv", "xlsx"):
                answer = buyer.get(f"/download/{name}.{ending}")
                if name == "eval-cases":  # of one class or run, which has to be named
                    assert answer.status_code == 400 and b"class" in answer.content
                    continue
                assert answer.status_code == 200, (name, ending)
                assert body(answer)

    def test_no_such_table(self, buyer):
        assert buyer.get("/download/secrets.csv").status_code == 404
        assert buyer.get("/download/spend.pdf").status_code == 404
        assert Client().get("/download/spend.csv").status_code == 302  # log in first


@pytest.mark.parametrize(
    ("path", "current"),
    [("/spend/", "Explorer"), ("/spend/showback/?month=2026-10", "Showback"), ("/spend/cost-centres/", "Cost centres")],
)
def test_the_parts_of_spend_lead_to_each_other_and_say_which_is_shown(buyer, path, current):
    page = text(buyer.get(path))
    tabs = page.split('<nav class="seg mb-3" aria-label="Spend">')[1].split("</nav>")[0]
    assert [one.split("</a>")[0].split(">")[-1] for one in tabs.split("<a ")[1:]] == [
        "Explorer",
        "Showback",
        "Cost centres",
    ]
    assert tabs.count("aria-current") == 1 and f'aria-current="page">{current}</a>' in tabs
