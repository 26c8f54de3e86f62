"""The step of docs/guide/eval-ci.md, run as it stands there with curl against a live server."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group

from audit.roles import Role
from costgov.models import User
from costgov.tasks import import_eval_file
from costgov.tokens import create_token
from routing.models import EvalCase, EvalImport
from routing.operations.classes import save_class
from routing.operations.suite_rules import set_suite_rule

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "eval-ci.md"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def steps() -> list[str]:
    """The curl line of the shell block and that of the workflow."""
    return re.findall(r"^\s*(curl .*)$", GUIDE.read_text(), re.MULTILINE)


def secret(*scopes: str, role: Role = Role.ENGINEER) -> str:
    owner = User.objects.create_user(f"ci-{role}")
    owner.groups.add(Group.objects.get_or_create(name=role)[0])
    return create_token(actor=owner, name="ci", scopes=scopes or ["evals:write"], as_of=AS_OF)[1]


def results(folder: Path, count: int = 40, suite: str = "triage-hard", passed: str = "true") -> None:
    rows = [f"{suite},T-{n},claude-haiku-4-5,2026-11-09T10:00:00Z,{passed}" for n in range(count)]
    (folder / "results.json").write_text("\n".join(["suite,sample_id,model,run_at,passed", *rows]) + "\n")


def send(line: str, folder: Path, url: str, token: str) -> tuple[int, dict[str, Any], str]:
    """The line in a shell: its exit code, the document it printed, what it said beside it."""
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=folder, env={"PATH": "/usr/bin:/bin", "COSTGOV_URL": url, "COSTGOV_TOKEN": token},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_the_guide_has_one_line_and_the_workflow_the_same():
    assert len(steps()) == 2 and len(set(steps())) == 1


def test_the_line_brings_results_in_and_again_changes_nothing(live_server, tmp_path):
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    set_suite_rule(actor=None, pattern="triage*", slug="triage", as_of=AS_OF)
    results(tmp_path)
    token = secret()
    code, told, _ = send(steps()[0], tmp_path, live_server.url, token)
    assert (code, told["cases"], told["classes"], told["findings"], told["is_repeat"]) == (0, 40, ["triage"], [], False)
    code, told, _ = send(steps()[0], tmp_path, live_server.url, token)
    assert (code, told["is_repeat"], EvalCase.objects.count()) == (0, True, 40)


def test_a_refusal_ends_the_step_and_says_why(live_server, tmp_path):
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    token = secret()
    results(tmp_path, passed="perhaps")
    code, told, said = send(steps()[0], tmp_path, live_server.url, token)
    assert code == 22 and "400" in said
    assert told["error"]["message"].startswith("results.json, line 2: passed = 'perhaps'")
    problems = told["error"]["problems"]
    assert (told["error"]["count"], [each["line"] for each in problems]) == (40, list(range(2, 42)))
    assert problems[0] == {"file": "results.json", "line": 2, "where": "", "field": "passed", "value": "'perhaps'",
                           "problem": "is neither true nor false", "remedy": "Use true or false"}  # fmt: skip
    results(tmp_path, suite="unknown")
    code, told, _ = send(steps()[0], tmp_path, live_server.url, token)
    assert code == 22 and "suite unknown" in told["error"]["message"] and "rule" in told["error"]["message"]
    assert EvalImport.objects.count() == 0


def test_tokens_that_may_not_and_a_site_that_is_away(live_server, tmp_path):
    results(tmp_path)
    code, told, said = send(steps()[0], tmp_path, live_server.url, "cg_nobody")
    assert code == 22 and "401" in said and told["error"]["message"]
    code, told, said = send(steps()[0], tmp_path, live_server.url, secret("read"))
    assert code == 22 and "403" in said and "evals:write" in told["error"]["message"]
    code, told, _ = send(steps()[0], tmp_path, live_server.url, secret(role=Role.VIEWER))
    assert code == 22 and "may not import eval results" in told["error"]["message"]
    code, told, said = send(steps()[0], tmp_path, "http://127.0.0.1:9", "cg_nobody")
    assert code == 7 and told == {} and said


def test_a_large_file_is_queued_and_read_by_a_worker(live_server, settings, tmp_path):
    settings.COSTGOV_VAR = str(tmp_path)
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    set_suite_rule(actor=None, pattern="triage*", slug="triage", as_of=AS_OF)
    results(tmp_path, count=150_000)
    token = secret()
    code, told, said = send(steps()[0], tmp_path, live_server.url, token)
    assert (code, told["state"], told["cases"]) == (0, "queued", 0), said
    assert import_eval_file(import_id=told["import_id"]) == "done"
    assert EvalCase.objects.count() == 150_000 and list((tmp_path / "incoming-evals").iterdir()) == []
    code, told, _ = send(steps()[0], tmp_path, live_server.url, token)
    assert (code, told["is_repeat"], told["state"], told["cases"]) == (0, True, "done", 150_000)
