"""The step of docs/guide/eval-ci.md, run as it stands there with curl against a live server."""

import json
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group

from audit.roles import Role
from costgov.models import User
from costgov.operations import evals as bringing
from costgov.tasks import import_eval_file
from costgov.tokens import create_token
from routing.models import EvalCase, EvalImport
from routing.operations.classes import save_class
from routing.operations.suite_rules import set_suite_rule

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
SAMPLES = Path(__file__).parents[1] / "importers" / "evals" / "samples"
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "eval-ci.md"
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)


def steps() -> list[str]:
    """The curl line of the shell block and that of the workflow."""
    return re.findall(r"^\s*(curl .*api/v1/evals\")$", GUIDE.read_text(), re.MULTILINE)


def waiting_step() -> str:
    """The step that waits for a large file, looking every tenth of a second."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "while " in block]
    assert "sleep 5\n" in found
    return found.replace("sleep 5\n", "sleep 0.1\n")


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


JUNIT_TESTS = """
import pytest

@pytest.mark.parametrize("ticket", range(40))
def test_triage(ticket, record_property):
    record_property("model", "claude-haiku-4-5")
    record_property("input_tokens", 500)
    record_property("output_tokens", 9)
    assert ticket != 7
"""


def test_what_pytest_wrote_just_now_is_brought_in(live_server, settings, tmp_path):
    settings.COSTGOV_AS_OF = datetime.now(UTC) + timedelta(minutes=5)  # it writes the time of the clock
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    (tmp_path / "test_triage.py").write_text(JUNIT_TESTS)
    words = ["-q", "-p", "no:cacheprovider", "--junitxml=results.xml", "-o", "junit_suite_name=triage"]
    # In an environment of its own: ours names settings that are not there.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "1 failed, 39 passed" in ran.stdout, "one case fails: a result, not a broken job"
    line = steps()[0].replace("file=@results.json", "file=@results.xml -F request_class=triage")
    token = secret()
    code, told, _ = send(line, tmp_path, live_server.url, token)
    assert code == 0, told
    assert (told["format"], told["cases"], told["left_out"]) == ("junit", 40, 0)
    assert EvalCase.objects.filter(score=0).count() == 1
    code, told, _ = send(line, tmp_path, live_server.url, token)
    assert (code, told["is_repeat"], EvalCase.objects.count()) == (0, True, 40)


def test_a_packed_file_of_promptfoo_and_a_class_nobody_knows(live_server, tmp_path):
    for slug in ("classify", "extract"):
        save_class(actor=None, slug=slug, facts={"title": slug}, as_of=AS_OF)
    shutil.copy(SAMPLES / "promptfoo_results.json", tmp_path / "results.json")
    subprocess.run(["gzip", "results.json"], cwd=tmp_path, check=True)
    token = secret()
    line = steps()[0].replace("results.json", "results.json.gz")
    code, told, _ = send(line, tmp_path, live_server.url, token)
    assert (code, told["format"], told["cases"], told["classes"]) == (0, "promptfoo", 8, ["classify", "extract"])
    results(tmp_path)
    code, told, _ = send(
        steps()[0].replace("-F file", "-F request_class=nobody -F file"), tmp_path, live_server.url, token
    )
    assert code == 22 and "request_class = 'nobody': no class of this id is registered" in told["error"]["message"]
    (tmp_path / "results.json").unlink()
    code, told, _ = send(steps()[0], tmp_path, live_server.url, token)
    assert (code, told) == (26, {})


def test_a_file_beyond_what_an_upload_takes(live_server, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bringing, "MAX_UPLOAD_BYTES", 1 << 20)
    results(tmp_path, count=30_000)
    code, told, _ = send(steps()[0], tmp_path, live_server.url, secret())
    assert code == 22 and told["error"]["message"] == (
        "results.json: has 2 MB; an upload takes 1 MB. Import it in a shell: manage.py import_evals."
    )
    assert not EvalImport.objects.exists()


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize(("passed", "code"), [("true", 0), ("perhaps", 1)])
def test_the_step_that_waits_ends_as_the_import_does(live_server, settings, tmp_path, passed: str, code: int):
    settings.COSTGOV_VAR = str(tmp_path / "var")
    save_class(actor=None, slug="triage", facts={"title": "Triage"}, as_of=AS_OF)
    set_suite_rule(actor=None, pattern="triage*", slug="triage", as_of=AS_OF)
    results(tmp_path, count=150_000, passed="true")
    if passed != "true":
        with (tmp_path / "results.json").open("a") as file:
            file.write(f"triage-hard,T-x,claude-haiku-4-5,2026-11-09T10:00:00Z,{passed}\n")
    env = {"PATH": "/usr/bin:/bin", "COSTGOV_URL": live_server.url, "COSTGOV_TOKEN": secret("read", "evals:write")}
    step = subprocess.Popen(
        ["/bin/sh", "-ec", waiting_step()], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    waited = time.monotonic() + 60
    while not (row := EvalImport.objects.first()) and time.monotonic() < waited:
        time.sleep(0.1)
    assert row is not None and step.poll() is None, "it waits"
    assert import_eval_file(import_id=row.pk) == ("done" if code == 0 else "failed")
    said, _ = step.communicate(timeout=60)
    assert step.returncode == code
    assert (f"line 150002: passed = '{passed}'" in said) == (code == 1)
