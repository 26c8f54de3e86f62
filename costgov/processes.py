"""Child processes that end with their parent, and a file that only one process may hold."""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: not after a fork
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Child:
    """A process that leads its own session, so that Ctrl-C in the terminal reaches only the supervisor."""

    name: str
    popen: "subprocess.Popen[bytes]"
    stop_signal: signal.Signals
    grace_seconds: float
    log: Path
    pid_file: Path


class Children:
    """The children of one supervisor: started in order, stopped in reverse."""

    def __init__(self, folder: Path) -> None:
        self.log_folder = folder / "log"
        self.pid_folder = folder / "pid"
        self.running: list[Child] = []

    def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        marker: str,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_seconds: float = 15,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> Child:
        """Start a child; its output goes to log/NAME.log. Call it from the main thread.

        A child of the same name that an earlier, killed supervisor left behind is stopped first. `marker` is a text
        in its command line by which it is known. `identity` runs it as another user (Popen's user, group …).
        """
        for folder in (self.log_folder, self.pid_folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.log_folder.chmod(0o700)
        pid_file = self.pid_folder / name
        stop_leftover(pid_file, marker, stop_signal, grace_seconds)
        log = self.log_folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(stop_signal),
                cwd=cwd,
                env=env,
                **(identity or {}),
            )
        child = Child(name, popen, stop_signal, grace_seconds, log, pid_file)
        pid_file.write_text(f"{popen.pid}\n")
        self.running.append(child)
        return child

    def ended(self) -> Child | None:
        """A child that has ended by itself, if any."""
        return next((child for child in self.running if child.popen.poll() is not None), None)

    def stop(self) -> None:
        """Stop every child: its own signal, a grace time, then SIGKILL to whatever its session still holds."""
        while self.running:
            child = self.running[-1]
            if child.popen.poll() is None:
                child.popen.send_signal(child.stop_signal)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.popen.wait(child.grace_seconds)
            # Also after a clean end: a worker stopped while starting leaves processes behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.popen.pid, signal.SIGKILL)
            child.popen.wait()
            child.pid_file.unlink(missing_ok=True)
            self.running.pop()


def _end_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """On Linux: ask the kernel for the stop signal when the parent ends, however it ends."""
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:  # the parent ended before we asked
            os._exit(1)

    return ask


def command_line(pid: int) -> str:
    """The command line of a process, empty when there is none (any more)."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


def stop_leftover(pid_file: Path, marker: str, stop_signal: signal.Signals, grace_seconds: float) -> None:
    """Stop the process a pid file names (its first word), if it still runs and its command line has the marker."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    if marker in command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, stop_signal)
        end = time.monotonic() + grace_seconds
        while marker in command_line(pid) and time.monotonic() < end:
            time.sleep(0.02)
        if marker in command_line(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


class LockFile:
    """An advisory lock on a file. The kernel frees it when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, *, shared: bool = False, wait: bool = True) -> bool:
        """Take the lock; False when it is taken and we do not wait."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+")
        mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(file, mode)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, text: str) -> None:
        """Tell others something about the holder."""
        self.path.write_text(text)

    def read(self) -> str:
        """What the holder told."""
        try:
            return self.path.read_text().strip()
        except OSError:
            return ""
