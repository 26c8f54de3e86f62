"""A whole site as a user starts it: `manage.py up` in a folder and on a port of its own, with real processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
START_SECONDS = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def environment(var: Path, port: int, **changes: str) -> dict[str, str]:
    """The environment of a user's shell: no addresses of the test run's services."""
    ours = ("DATABASE_URL", "REDIS_URL", "COSTGOV_AS_OF", "COSTGOV_STARTED_AT", "DJANGO_SETTINGS_MODULE", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "COSTGOV_VAR": str(var), "PORT": str(port), **changes}


def manage(around: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A management command in a shell with this environment."""
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=PROJECT, env=dict(around), capture_output=True, text=True, check=False)


class Site:
    """A running `manage.py up`. Its output is in `log`."""

    def __init__(self, var: Path, port: int, *, demo: bool = False, **changes: str) -> None:
        self.var, self.port, self.log = var, port, var.with_name(f"{var.name}-up.log")
        self.environment = environment(var, port, **changes)
        self.url = f"http://127.0.0.1:{port}"
        words = [sys.executable, "manage.py", "up", *(["--demo"] if demo else [])]
        with self.log.open("ab") as output:
            self._from = output.tell()
            self.process = subprocess.Popen(
                words, cwd=PROJECT, env=self.environment, stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        """What this start has said."""
        return self.log.read_bytes()[self._from :].decode()

    def wait_ready(self) -> "Site":
        end = time.monotonic() + START_SECONDS
        while "ready: " not in self.output:
            assert self.process.poll() is None, f"up ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"not ready after {START_SECONDS} s:\n{self.output}"
            time.sleep(0.1)
        return self

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A management command in another shell beside the running site."""
        return manage(self.environment, *words)

    def pids(self) -> dict[str, int]:
        return {path.name: int(path.read_text()) for path in (self.var / "pid").glob("*")}

    def stop(self, how: signal.Signals = signal.SIGINT, seconds: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def kill_everything(self) -> None:
        """kill -9 of the supervisor and of every child, whatever it is doing."""
        groups = self.pids()
        self.process.kill()
        for pid in groups.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self.process.wait()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        if Path("/proc/self").exists():
            return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that others may pass through, as the project's usually is: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="costgov-site-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def running(var: Path, *, demo: bool = False, **changes: str) -> Iterator[Site]:
    """A site that is stopped at the end, whatever happens."""
    site = Site(var, free_port(), demo=demo, **changes)
    try:
        yield site.wait_ready()
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            site.stop()
        site.kill_everything()
