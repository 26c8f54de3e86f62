"""Zones are known where the system has no database of them, as in slim containers."""

import os
import subprocess
import sys


def test_zones_come_with_us() -> None:
    ask = (
        "import zoneinfo; from datetime import datetime; assert not zoneinfo.TZPATH; "
        "print(datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset(), "
        "len(zoneinfo.available_timezones()) > 400)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, "PYTHONTZPATH": ""}, capture_output=True, text=True, check=False
    )
    assert (answer.stdout.strip(), answer.returncode) == ("2:00:00 True", 0), answer.stderr
