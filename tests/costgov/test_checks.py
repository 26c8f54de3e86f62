"""System checks: each says what is wrong, with an id and a hint."""

from datetime import UTC, datetime

import pytest

from costgov import checks


def test_local_hosts_without_https_are_fine(settings):
    settings.ALLOWED_HOSTS, settings.HTTPS = ["localhost", "127.0.0.1"], False
    assert checks.reached_from_elsewhere_over_https(None) == []


@pytest.mark.parametrize(("https", "ids"), [(False, ["costgov.W001"]), (True, [])])
def test_a_host_reached_from_elsewhere_wants_https(settings, https, ids):
    settings.ALLOWED_HOSTS, settings.HTTPS = ["bill.example"], https
    found = checks.reached_from_elsewhere_over_https(None)
    assert [message.id for message in found] == ids
    assert all("bill.example" in message.msg and message.hint for message in found)


def test_a_frozen_clock_is_said(settings):
    settings.COSTGOV_AS_OF = datetime(2026, 11, 22, tzinfo=UTC)
    assert [message.id for message in checks.clock_runs(None)] == ["costgov.W002"]
    settings.COSTGOV_AS_OF = None
    assert checks.clock_runs(None) == []


def test_a_folder_of_somebody_else_is_an_error(settings, tmp_path, monkeypatch):
    settings.COSTGOV_VAR = tmp_path
    assert checks.var_is_ours(None) == []
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert [message.id for message in checks.var_is_ours(None)] == ["costgov.E001"]
