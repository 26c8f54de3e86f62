"""Small estates brought in by the real importers (usage logs, eval tables, prices) and asked as people ask them.

Days end at AS_OF (midnight, 23 November 2026); every request lies in the 28 days before. Prices are the shipped list
prices, in usd per million tokens: Opus 4.5 costs 5 in, 0.5 read, 6.25 and 10 written, 25 out; Haiku 4.5 a fifth of
that, Sonnet 4.6 three fifths; batch is half. A month is 30.4375 days.
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client

from audit.operations import bump_data_version
from billing.operations.price_changes import import_prices
from billing.operations.prices import seed_list_prices
from billing.queries.series import model_name, model_names
from costgov.models import User
from costgov.operations.setup import save_organisation
from routing.operations.classes import save_class
from routing.operations.evals import import_evals
from tests.importers.usage.envelopes import envelope, write_lines

AS_OF = datetime(2026, 11, 23, tzinfo=UTC)
DAYS = 28
OPUS, SONNET, HAIKU = "claude-opus-4-5", "claude-sonnet-4-6", "claude-haiku-4-5"
MANY = 1_400  # requests: enough to be measured, 50 a day
EVAL_HEAD = (
    "suite,request_class,sample_id,model,run_at,passed,input_tokens,cache_write_5m_tokens,cache_write_1h_tokens,"
    "cache_read_tokens,output_tokens"
)


@dataclass(frozen=True)
class Told:
    """One class as everybody is told: `row` of API and command (they are equal), the page's text, the command's lines.

    Models are by their ids in all three.
    """

    row: dict[str, Any]
    page: str
    lines: list[str]

    def lever(self, name: str) -> str:
        """What the page says beside a lever, from its name to the next heading's words."""
        return self.page.split(f" {name} ", 1)[1]


class Estate:
    """An installation with prices and a baseline; classes, requests and cases are added by the tests."""

    def __init__(self, folder: Path, *, baseline: str = OPUS) -> None:
        self.folder = folder
        self.number = 0
        self.log: list[dict[str, Any]] = []
        seed_list_prices(as_of=AS_OF - timedelta(days=300))
        save_organisation(actor=None, name="Northwind", baseline_model=baseline, as_of=AS_OF)
        viewer = User.objects.create_user("vic")
        viewer.groups.add(Group.objects.get(name="viewer"))
        self.client = Client()
        self.client.force_login(viewer)
        named = model_names()
        self.names = {model_name(named, model).name: model for model in (OPUS, SONNET, HAIKU)}

    def register(self, slug: str, **facts: Any) -> None:
        save_class(actor=None, slug=slug, facts={"title": slug.title(), **facts}, as_of=AS_OF - timedelta(days=60))

    def requests(self, slug: str, model: str, count: int = MANY, **usage: Any) -> None:
        """`count` requests for the log, spread over the window. `usage` as the Messages API states it."""
        for n in range(count):
            self.number += 1
            at = AS_OF - timedelta(days=1 + n % DAYS, seconds=n % 3_600 + 1) + timedelta(hours=12)
            tokens = dict(usage)
            if "w5" in usage or "w1" in usage:
                w5, w1 = tokens.pop("w5", 0), tokens.pop("w1", 0)
                tokens["cache_creation_input_tokens"] = w5 + w1
                tokens["cache_creation"] = {"ephemeral_5m_input_tokens": w5, "ephemeral_1h_input_tokens": w1}
            self.log.append(
                envelope(
                    self.number,
                    at.isoformat().replace("+00:00", "Z"),
                    model=model,
                    tags={"request_class": slug},
                    usage=tokens,
                )
            )

    def import_log(self) -> None:
        """Bring in the requests that are not yet, as one log."""
        if self.log:
            path = write_lines(self.folder / f"log-{self.number}.jsonl", self.log)
            call_command("import_usage", str(path), stdout=StringIO(), stderr=StringIO())
            self.log = []
            bump_data_version()

    def evals(
        self,
        slug: str,
        model: str,
        passed: int,
        cases: int,
        tokens: tuple[int, int] = (1_000, 100),
        every_fourth: tuple[int, int] | None = None,
    ) -> None:
        """A table of results on one model, two days old: the first `passed` of `cases` pass, of `tokens` in and out."""
        at = (AS_OF - timedelta(days=2)).isoformat().replace("+00:00", "Z")
        rows = []
        for n in range(cases):
            into, out = every_fourth if every_fourth is not None and n % 4 == 0 else tokens
            rows.append(f"core,{slug},c-{n},{model},{at},{str(n < passed).lower()},{into},0,0,0,{out}")
        path = self.folder / f"{slug}-{model}.csv"
        path.write_text("\n".join([EVAL_HEAD, *rows, ""]))
        import_evals(actor=None, path=path, as_of=AS_OF)

    def prices(self, text: str) -> None:
        """A price file in the shipped form, approved."""
        path = self.folder / "prices.csv"
        path.write_text(text)
        import_prices(actor=None, paths=[path], as_of=AS_OF - timedelta(days=1), approve=True)

    def told(self, slug: str) -> Told:
        """Page, command and API of a class; fails where command and API are not the same document."""
        self.import_log()
        answer = self.client.get("/api/v1/recommendation")
        assert answer.status_code == 200, answer.content
        assert json.loads(command("recommend", "--json")) == answer.json()
        (row,) = [each for each in answer.json()["classes"] if each["request_class"] == slug]
        return Told(row, self.page(f"/classes/{slug}/"), command("recommend").splitlines())

    def page(self, address: str) -> str:
        """The words of a page, its models by their ids."""
        answer = self.client.get(address)
        assert answer.status_code == 200
        return by_id(text_of(answer.content.decode()), self.names)


def command(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def text_of(page: str) -> str:
    """What a page says, without its marks."""
    body = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", page)
    return " ".join(html.unescape(re.sub(r"(?s)<[^>]+>", " ", body)).split())


def by_id(text: str, names: Mapping[str, str]) -> str:
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return text


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
