"""Words of Anthropic's exports for people, as the identifiers its APIs use."""

import re
from typing import Final

from billing.core.usage import DEFAULT_WORKSPACE, UNKNOWN

_DISPLAY: Final = re.compile(r"claude (?:(?P<family>[a-z]+) )?(?P<major>[0-9]+)(?:\.(?P<minor>[0-9]+))?", re.ASCII)
_BAND: Final = {"200k": "0-200k", "100k": "0-100k"}
_ABOVE: Final = {"200k": "200k-1M", "100k": "100k-1M"}


def model_id(display_name: str) -> str:
    """The undated API id of a display name; an id stays as it is.

    >>> model_id("Claude Haiku 4.5"), model_id("Claude Sonnet 3.5"), model_id("claude-opus-4-8")
    ('claude-haiku-4-5', 'claude-3-5-sonnet', 'claude-opus-4-8')
    """
    name = " ".join(display_name.lower().split())
    match = _DISPLAY.fullmatch(name)
    if match is None or match["family"] is None:
        return re.sub(r"[ .]", "-", name)
    version = "-".join(part for part in (match["major"], match["minor"]) if part)
    # Up to the third generation the version stood before the family.
    return f"claude-{version}-{match['family']}" if int(match["major"]) <= 3 else f"claude-{match['family']}-{version}"


def prompt_band(label: str) -> str:
    """The prompt-length band of a label like `≤ 200k` or `0-200k`; a label nobody has described stays as it is.

    >>> prompt_band("≤ 200k"), prompt_band("> 200k"), prompt_band("200k-1M"), prompt_band("")
    ('0-200k', '200k-1M', '200k-1M', '')
    """
    text = label.strip()
    compact = text.replace(" ", "").lower()
    for signs, bands in ((("≤", "<=", "<"), _BAND), ((">", "≥", ">="), _ABOVE)):
        for sign in signs:
            if compact.startswith(sign) and compact.removeprefix(sign) in bands:
                return bands[compact.removeprefix(sign)]
    return text[:255]


def workspace_name(name: str) -> str:
    """`Default` is the default workspace, as the APIs' null is."""
    text = name.strip()
    return DEFAULT_WORKSPACE if text.casefold() == "default" else (text[:255] or UNKNOWN)
