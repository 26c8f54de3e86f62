"""Suite rules: what each decides, a preview before it is saved, and that the import agrees with the preview."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

from audit.models import AuditEntry
from costgov.queries.suite_rules import rule_preview, suite_rules_view
from routing.core.evidence import rule_matches
from routing.models import EvalRun, EvalSuiteRule
from routing.operations.evals import import_evals
from routing.operations.suite_rules import set_suite_rule
from tests.costgov import small_world as world
from tests.costgov.page_checks import problems

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    cache.clear()  # a rolled back test leaves figures of a data version that the next one reaches again


@pytest.fixture
def people():
    made = world.whole()
    for name in ("triage-nightly", "triage[eu]", "other"):
        world.evals("triage", world.HAIKU, 5, 5, world.AS_OF - timedelta(days=3), suite=name)
    return made


def rule(pattern: str, slug: str, position: int | None = None) -> None:
    set_suite_rule(actor=None, pattern=pattern, slug=slug, position=position, as_of=world.AS_OF)


def get(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize(
    ("pattern", "suite", "expected"),
    [
        ("triage*", "triage-nightly", True),
        ("triage[eu]", "triage[eu]", True),
        ("triage[eu]", "triagee", False),
        ("tri?ge", "triage", True),
        ("tri?ge", "triiage", False),
        ("Triage", "triage", False),
    ],
)
def test_only_star_and_question_mark_stand_for_something(pattern: str, suite: str, expected: bool) -> None:
    assert rule_matches(pattern, suite) is expected


def test_each_rule_with_the_suites_it_decides(people) -> None:
    rule("triage*", "triage")
    rule("*", "drafting")
    view = suite_rules_view()
    assert [(line.rule.pattern, [suite.suite for suite in line.takes], line.shadowed) for line in view.lines] == [
        ("triage*", ["triage-nightly", "triage[eu]"], ()),
        ("*", ["other", "suite"], ("triage-nightly", "triage[eu]")),
    ]
    assert view.without_rule == ()
    suite = view.lines[1].takes[1]
    assert (suite.classes, suite.results) == (("Reply drafting", "Ticket triage"), 700)


def test_a_preview_says_what_an_earlier_rule_keeps(people) -> None:
    rule("triage*", "triage", 5)
    last = rule_preview(pattern="*")
    assert [suite.suite for suite in last.takes] == ["other", "suite"]
    assert last.kept_by == (("triage-nightly", "Ticket triage"), ("triage[eu]", "Ticket triage"))
    assert len(rule_preview(pattern="*", position=0).takes) == 4
    assert rule_preview(pattern="triage*").kept_by == (), "the rule itself is replaced"


def test_the_import_does_what_the_preview_said(people, tmp_path: Path) -> None:
    rule("new-*", "drafting")
    file = tmp_path / "new.csv"
    file.write_text("suite,sample_id,model,passed,run_at\nnew-suite,1,claude-haiku-4-5,true,2026-11-09T10:00:00Z\n")
    import_evals(actor=None, path=file, as_of=world.AS_OF)
    assert EvalRun.objects.get(suite="new-suite").request_class.slug == "drafting"
    assert [suite.suite for suite in rule_preview(pattern="new-*").takes] == ["new-suite"]


def test_the_page_adds_previews_and_removes(client: Client, people) -> None:
    client.force_login(people["eva"])
    html = get(client, "/evals/rules/")
    assert problems(html) == []
    assert "No rule yet" in html and "4 suites seen so far without a rule" in html
    shown = client.post("/evals/rules/", {"pattern": "triage*", "class": "triage", "preview": "1"}).content.decode()
    assert "would decide 2 suites seen so far" in " ".join(shown.split()) and not EvalSuiteRule.objects.exists()
    assert "would decide 2 suites" in get(client, "/evals/rules/?pattern=triage*")
    done = client.post("/evals/rules/", {"pattern": "triage*", "class": "triage", "position": "0"})
    assert (done.status_code, done["Location"]) == (302, "/evals/rules/")
    html = get(client, "/evals/rules/")
    assert problems(html) == []
    made = EvalSuiteRule.objects.get()
    assert "triage-nightly" in html and f"/evals/rules/{made.pk}/remove/" in html
    assert client.post(f"/evals/rules/{made.pk}/remove/").status_code == 302
    assert not EvalSuiteRule.objects.exists()
    assert "There is no rule number" in " ".join(
        client.post(f"/evals/rules/{made.pk}/remove/", follow=True).content.decode().split()
    )
    actions = AuditEntry.objects.filter(object_type="eval_suite_rule").values_list("action", flat=True)
    assert set(actions) == {"evals.suite_rule_set", "evals.suite_rule_removed"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"pattern": "", "class": "triage"}, "The pattern is empty"),
        ({"pattern": "triage@2", "class": "triage"}, "leave out the version"),
        ({"pattern": "x", "class": "nope"}, "No class &#x27;nope&#x27; is registered"),
        ({"pattern": "x", "class": "triage", "position": "-1"}, "give a whole number"),
        ({"pattern": "x", "class": "triage", "position": "9" * 50}, "give a whole number"),
    ],
)
def test_what_is_refused_is_said(client: Client, people, said: dict[str, str], words: str) -> None:
    client.force_login(people["eva"])
    answer = client.post("/evals/rules/", said)
    assert answer.status_code == 400 and words in " ".join(answer.content.decode().split())
    assert not EvalSuiteRule.objects.exists()


@pytest.mark.parametrize("who", ["priya", "vic", "xen"])
def test_who_may_not_edit_reads_only(client: Client, people, who: str) -> None:
    rule("triage*", "triage")
    client.force_login(people[who])
    html = get(client, "/evals/rules/")
    assert "triage*" in html and "Add or change a rule" not in html and "Remove" not in html.partition("<main")[2]
    assert client.post("/evals/rules/", {"pattern": "x", "class": "triage"}).status_code == 403
    assert client.post(f"/evals/rules/{EvalSuiteRule.objects.get().pk}/remove/").status_code == 403
    assert EvalSuiteRule.objects.count() == 1
