"""Find a Chromium for the browser tests, or install one: `python -m tests.browser.chromium` prints its path.

Order: COSTGOV_CHROMIUM, one on the PATH, Playwright's own earlier download, Debian's package (as root), Playwright's
download. A browser test never skips for want of one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = (
    "Browser tests need Chromium. Install it (Debian: apt-get install chromium), or set COSTGOV_CHROMIUM to its path; "
    "make test-fast leaves browser tests out."
)


def find() -> str | None:
    """Path of an installed Chromium, if any. Raises FileNotFoundError when COSTGOV_CHROMIUM names none."""
    named = os.environ.get("COSTGOV_CHROMIUM")
    if named:
        if not os.access(named, os.X_OK):
            raise FileNotFoundError(f"COSTGOV_CHROMIUM={named} is not a program. {REMEDY}")
        return named
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or _of_playwright()


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = driver.chromium.executable_path
    return path if Path(path).exists() else None


def _install() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
            subprocess.run(words, env=environment, stdout=sys.stderr, check=False)
        if find():
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stdout=sys.stderr, check=False)


def main() -> None:
    try:
        path = find()
        if path is None:
            print("No Chromium found: installing one …", file=sys.stderr)  # noqa: T201 - a command
            _install()
            path = find()
    except FileNotFoundError as error:
        sys.exit(str(error))
    if path is None:
        sys.exit(REMEDY)
    print(path)  # noqa: T201 - a command


if __name__ == "__main__":
    main()
