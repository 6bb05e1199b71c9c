"""Invariants of segments: the count is exact, and nothing that belongs together is cut apart."""

import itertools
import random
import unicodedata

import gsm0338
import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from bulksms.input.segments import (
    DEFAULT_ALPHABET,
    EXTENSION_TABLE,
    MOST_SEGMENTS,
    TYPOGRAPHIC,
    borders,
    measure,
    place_before,
    replace_typographic,
)

KINDS = (
    "abcdefghij klmnopqrstuvwxyz",
    DEFAULT_ALPHABET,
    DEFAULT_ALPHABET[:20] + EXTENSION_TABLE,
    EXTENSION_TABLE,
    "абвгд ежз",
    "ab\u4e2d\U0001f600\U0001f692\u200d",
    "abc^{}\u201c\U0001f600\ud800",
)


def greedy(text: str) -> tuple[str, int]:
    """Count segments in the plainest way: take as many whole characters as fit, again and again."""
    seven = all(character in DEFAULT_ALPHABET or character in EXTENSION_TABLE for character in text)
    double = EXTENSION_TABLE if seven else ()
    cost = [2 if character in double or (not seven and character > "\uffff") else 1 for character in text]
    if sum(cost) <= (160 if seven else 70):
        return ("GSM-7" if seven else "UCS-2"), 1
    segments, room = 1, 153 if seven else 67
    for units in cost:
        if units > room:
            segments, room = segments + 1, 153 if seven else 67
        room -= units
    return ("GSM-7" if seven else "UCS-2"), segments


@pytest.mark.parametrize("seed", range(4))
def test_25_000_random_texts_have_the_segments_of_a_plain_count(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same texts each time, nothing secret
    for _ in range(25_000):
        length = chance.choice((chance.randrange(0, 100), chance.randrange(60, 175), chance.randrange(130, 330)))
        text = "".join(chance.choices(chance.choice(KINDS), k=length))
        size = measure(text)
        assert (size.encoding, size.segments) == greedy(text), ascii(text)


@given(st.sampled_from(KINDS[:-1]).flatmap(lambda kind: st.text(st.sampled_from(kind), min_size=1, max_size=400)))
def test_smsutil_cuts_the_same(text: str) -> None:
    parts = [part.content for part in smsutil.split(text).parts]
    assert measure(text).segments == len(parts)
    ends = [0, *borders(text), len(text)]
    assert [text[begin:end] for begin, end in itertools.pairwise(ends)] == parts


def test_the_alphabet_is_that_of_gsm0338() -> None:
    codec = gsm0338.Codec()
    for number in range(0x110000):
        character = chr(number)
        if character == "\x1b" or unicodedata.category(character) in {"Cn", "Cs", "Co"}:
            continue
        try:
            septets = len(codec.encode(character)[0])
        except UnicodeError:
            septets = 0
        assert septets == (1 if character in DEFAULT_ALPHABET else 2 if character in EXTENSION_TABLE else 0)


def test_the_alphabet_has_no_character_twice() -> None:
    assert len(set(DEFAULT_ALPHABET)) == len(DEFAULT_ALPHABET) == 127
    assert not set(DEFAULT_ALPHABET) & set(EXTENSION_TABLE)


@pytest.mark.parametrize(
    ("text", "encoding", "segments"),
    [
        ("", "GSM-7", 1),
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("ä" * 161, "GSM-7", 2),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        ("€" * 152, "GSM-7", 2),  # 76 in each: the 153rd septet stays empty
        ("€" * 153, "GSM-7", 3),
        ("a" * 152 + "€" + "a" * 151, "GSM-7", 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3),
        ("ж" * 70, "UCS-2", 1),
        ("ж" * 71, "UCS-2", 2),
        ("ж" * 134, "UCS-2", 2),
        ("ж" * 135, "UCS-2", 3),
        ("😀" * 35, "UCS-2", 1),
        ("😀" * 36, "UCS-2", 2),
        ("😀" * 66, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),
        ("ж" * 66 + "😀" + "ж" * 65, "UCS-2", 2),
        ("ж" * 66 + "😀" + "ж" * 66, "UCS-2", 3),
        ("a\tb", "UCS-2", 1),
        ("a`b", "UCS-2", 1),
        ("a\r\nb", "GSM-7", 1),
        ("a" * 153 * MOST_SEGMENTS, "GSM-7", MOST_SEGMENTS),
    ],
)
def test_lengths_at_the_borders(text: str, encoding: str, segments: int) -> None:
    size = measure(text)
    assert (size.encoding, size.segments) == (encoding, segments)


def test_the_first_character_outside_gsm_7_is_reported() -> None:
    foreign = measure("It is “ready” go").first_ucs2
    assert foreign is not None
    assert (foreign.index, foreign.character, foreign.replacement) == (6, "“", '"')
    assert foreign.code_point == "U+201C LEFT DOUBLE QUOTATION MARK"
    assert measure("plain [text] €").first_ucs2 is None


@pytest.mark.parametrize(
    ("character", "replacement"),
    [
        ("\u2019", "'"),
        ("…", "..."),
        ("ê", "e"),
        ("Ž", "Z"),
        ("œ", "oe"),
        ("\u00a0", " "),
        ("ж", None),
        ("中", None),
        ("😀", None),
    ],
)
def test_a_replacement_is_named_where_one_is_customary(character: str, replacement: str | None) -> None:
    foreign = measure(character).first_ucs2
    assert foreign is not None
    assert foreign.replacement == replacement


def test_typographic_characters_are_replaced_and_counted() -> None:
    assert replace_typographic("“One…”\u00a0\u2013 it\u2019s\u200b") == ('"One..." - it\'s', 7)
    assert replace_typographic("ж “") == ('ж "', 1)


def test_what_replaces_is_in_gsm_7_and_what_is_replaced_is_not() -> None:
    for character, plain in TYPOGRAPHIC.items():
        assert measure(character).encoding == "UCS-2"
        assert measure(plain).encoding == "GSM-7"


@given(st.text(st.sampled_from("ab…\u200b“ ж"), max_size=20))
def test_a_place_in_the_replaced_text_leads_back(text: str) -> None:
    replaced, _ = replace_typographic(text)
    for index, character in enumerate(replaced):
        origin = text[place_before(text, index)]
        assert character in TYPOGRAPHIC.get(origin, origin)
    assert place_before(text, len(replaced)) == len(text)
