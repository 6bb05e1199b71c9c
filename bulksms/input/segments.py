"""Segments: how a text is cut into short messages, and what a character outside GSM-7 costs.

Pure. Invariant: no two-septet character and no surrogate pair lies across the border of two segments
(3GPP TS 23.038 section 6.2.1 for the alphabet, TS 23.040 section 9.2.3.24.1 for the lengths).
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Encoding = Literal["GSM-7", "UCS-2"]

GSM_7_SINGLE, GSM_7_PART = 160, 153
"""Septets in a message of one segment, and in each of several."""
UCS_2_SINGLE, UCS_2_PART = 70, 67
"""16-bit units in a message of one segment, and in each of several."""
MOST_SEGMENTS = 255
"""A concatenated message counts its parts in one octet (3GPP TS 23.040 section 9.2.3.24.1)."""

DEFAULT_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""3GPP TS 23.038 section 6.2.1, in the order of the codes; 0x1B, the escape, is left out."""
EXTENSION_TABLE = "\f^{}\\[~]|€"
"""3GPP TS 23.038 section 6.2.1.1: each costs two septets."""

_BASIC_ASCII = "".join(filter(str.isascii, DEFAULT_ALPHABET)).encode("ascii")
_FIRST_UCS_2 = re.compile(f"[^{re.escape(DEFAULT_ALPHABET + EXTENSION_TABLE)}]").search
_TWO_SEPTETS = re.compile(f"[{re.escape(EXTENSION_TABLE)}]").finditer
_TWO_UNITS = re.compile("[\U00010000-\U0010ffff]").finditer

TYPOGRAPHIC = {
    character: plain
    for plain, characters in (
        ("'", "\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4`"),
        ('"', "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"),
        ("-", "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"),
        ("...", "\u2026"),
        (" ", "\t\u00a0\u2007\u2009\u202f"),
        ("", "\u00ad\u200b\u2060\ufeff"),
    )
    for character in characters
}
"""The characters that word processors insert, and their equivalents in GSM-7."""
_IN_WORDS = {"œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "\u0131": "i", "•": "-", "·": "."}
"""What a person may write instead; never replaced without being asked."""
_TYPOGRAPHIC = re.compile(f"[{re.escape(''.join(TYPOGRAPHIC))}]")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A character that GSM-7 does not have, and its place in the text."""

    index: int
    character: str

    @property
    def code_point(self) -> str:
        """Its number and name, as in `U+2019 RIGHT SINGLE QUOTATION MARK`."""
        return f"U+{ord(self.character):04X} {unicodedata.name(self.character, '')}".rstrip()

    @property
    def replacement(self) -> str | None:
        """What is customarily written instead: from the tables, else the letter without its accent."""
        known = TYPOGRAPHIC.get(self.character, _IN_WORDS.get(self.character))
        if known is not None:
            return known
        letter = unicodedata.normalize("NFD", self.character)[0]
        return letter if letter.isascii() and letter.isalpha() else None


class Size(NamedTuple):
    """What a text costs; `first_ucs2` is the first character that GSM-7 does not have."""

    encoding: Encoding
    segments: int
    first_ucs2: Foreign | None = None


def measure(text: str) -> Size:
    """Count the segments of a text exactly. A text of nothing is one segment."""
    if text.isascii() and not text.encode("ascii").translate(None, _BASIC_ASCII):
        septets = len(text)
        return Size("GSM-7", 1 if septets <= GSM_7_SINGLE else -(-septets // GSM_7_PART))
    found = _FIRST_UCS_2(text)
    if found is None:
        return Size("GSM-7", len(_gsm_7_borders(text)) + 1)
    return Size("UCS-2", len(_ucs_2_borders(text)) + 1, Foreign(found.start(), found[0]))


def borders(text: str) -> Sequence[int]:
    """Give the places in the text at which a new segment begins (none if it fits into one)."""
    return _gsm_7_borders(text) if _FIRST_UCS_2(text) is None else _ucs_2_borders(text)


def _gsm_7_borders(text: str) -> Sequence[int]:
    return _cut(text, GSM_7_SINGLE, GSM_7_PART, [match.start() for match in _TWO_SEPTETS(text)])


def _ucs_2_borders(text: str) -> Sequence[int]:
    return _cut(text, UCS_2_SINGLE, UCS_2_PART, [match.start() for match in _TWO_UNITS(text)])


def _cut(text: str, single: int, part: int, wide: list[int]) -> Sequence[int]:
    """Fill one segment after the other; the characters at the places `wide` take two units, all others one."""
    if len(text) + len(wide) <= single:
        return ()
    if not wide:
        return range(part, len(text), part)
    starts: list[int] = []
    begin, doubled = 0, 0  # where this segment begins, and how many wide characters it has so far
    for index in wide:
        while index - begin + doubled + 2 > part:
            begin = min(index, begin + part - doubled)
            starts.append(begin)
            doubled = 0
        doubled += 1
    while len(text) - begin + doubled > part:
        begin += part - doubled
        starts.append(begin)
        doubled = 0
    return starts


def replace_typographic(text: str) -> tuple[str, int]:
    """Write typographic quotes, dashes, the ellipsis and unusual blanks in GSM-7; give the text and how many."""
    return _TYPOGRAPHIC.subn(lambda match: TYPOGRAPHIC[match[0]], text)


def place_before(text: str, index: int) -> int:
    """The place in the original text of the character at `index` after `replace_typographic`."""
    end = 0
    for place, character in enumerate(text):
        end += len(TYPOGRAPHIC.get(character, character))
        if index < end:
            return place
    return len(text)
