"""Names of issuers and numbers of invoices as they compare: one company is spelled in several ways."""

import re
import unicodedata
from typing import Final

_LEGAL: Final = frozenset(
    {"inc", "incorporated", "llc", "ltd", "limited", "pbc", "corp", "corporation", "co", "company", "plc", "pty"}
    | {"gmbh", "ag", "kg", "se", "sa", "sas", "sarl", "srl", "spa", "bv", "nv", "oy", "ab", "as", "aps"}
)
_NO_WORD: Final = re.compile(r"[^\w]+|_+")


def issuer_key(name: str) -> str:
    """Case, spaces, punctuation and the legal form at the end do not tell companies apart.

    >>> issuer_key("Anthropic, P.B.C."), issuer_key("ANTHROPIC"), issuer_key("Amazon Web Services Inc")
    ('anthropic', 'anthropic', 'amazonwebservices')
    """
    plain = unicodedata.normalize("NFKC", name).casefold().replace(".", "")
    words = [word for word in _NO_WORD.split(plain) if word]
    kept = list(words)
    while len(kept) > 1 and kept[-1] in _LEGAL:
        kept.pop()
    return "".join(kept)


def number_key(number: str) -> str:
    """Case and spaces do not tell invoices apart; punctuation does: 10-1 is not 101.

    >>> number_key("inv-10 a"), number_key("INV-10A")
    ('inv-10a', 'inv-10a')
    """
    return "".join(unicodedata.normalize("NFKC", number).casefold().split())
