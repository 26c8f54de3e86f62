"""Names of models: one canonical spelling for what providers, gateways and eval tools write in many ways."""

import re

# promptfoo writes `anthropic:messages:<model>`, `bedrock:<model>`, `vertex:<model>`. Only words that are known to be
# providers are removed, because a Bedrock version suffix (`-v1:0`) has a colon of its own.
_PROVIDER = re.compile(r"^(?:(?:anthropic|messages|completion|bedrock|converse|vertex|litellm|openrouter):)+")
_REGION = re.compile(r"^(?:(?:us|eu|global)\.)?anthropic\.")
_VERSION = re.compile(r"-v\d+:\d+$")
_BEDROCK_VERSION = re.compile(r"-v\d+$")  # Bedrock drops the `:0` on newer models; elsewhere `-v1` is part of a name
_SNAPSHOT = re.compile(r"[-@](20\d{6})$")


def canonical_model_name(raw: str) -> str:
    """Model id without provider prefix and version suffix, lower-case ASCII (policy-spec.md §2, last line).

    Prefixes: promptfoo's `provider:kind:`, everything up to the last `/`, `us.`/`eu.`/`global.` + `anthropic.`.
    Suffixes: `-v1:0`, `-YYYYMMDD`, `@YYYYMMDD`. A name that is something else entirely comes back unchanged.

    >>> canonical_model_name("anthropic:messages:claude-haiku-4-5-20251001")
    'claude-haiku-4-5'
    >>> canonical_model_name("bedrock/us.anthropic.claude-opus-4-5-20251101-v1:0")
    'claude-opus-4-5'
    """
    return _SNAPSHOT.sub("", _without_prefix_and_version(raw))


def model_snapshot(raw: str) -> str:
    """The date of the snapshot in a model id as `YYYYMMDD`, or '' where the id names none.

    >>> model_snapshot("claude-haiku-4-5@20251001"), model_snapshot("claude-haiku-4-5")
    ('20251001', '')
    """
    found = _SNAPSHOT.search(_without_prefix_and_version(raw))
    return found.group(1) if found else ""


def _without_prefix_and_version(raw: str) -> str:
    # ASCII letters only: the adapter lowers these and no others, and the two must agree (policy-spec.md §2).
    name = "".join(char.lower() if char.isascii() else char for char in raw.strip())
    name = _PROVIDER.sub("", name).rsplit("/", 1)[-1]
    name = _PROVIDER.sub("", name)
    bare = _REGION.sub("", name)
    return _VERSION.sub("", bare) if bare == name else _BEDROCK_VERSION.sub("", _VERSION.sub("", bare))
