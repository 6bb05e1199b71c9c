"""Identifiers: which values are one, and which spellings are the same person."""

import random
import re
import unicodedata
import uuid
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.model.recipient import BadRecipient, IdentifierKind, _dn_key, parse_recipient

with warnings.catch_warnings():
    # ldap3 imports names that pyasn1 has renamed.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ldap3.utils.dn import parse_dn

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
SID = "S-1-5-21-3635565734-1729062999-1822655016-1627"

SAME = [
    ("CN=John Smith,CN=Users,DC=example,DC=com", "cn=john smith,cn=USERS,dc=EXAMPLE,dc=Com"),
    ("CN=John Smith,DC=example", "CN = John Smith , DC = example"),
    (r"CN=Smith\, John,DC=x", r"CN=Smith\2C John,DC=x"),
    (r"CN=Smith\, John,DC=x", r"CN=Smith\2c\20John,DC=x"),
    ("CN=Jürgen,DC=x", r"CN=J\C3\BCrgen,DC=x"),
    ("CN=JÜRGEN,DC=x", "CN=jürgen,DC=x"),
    ("CN=J\u00fcrgen,DC=x", "CN=Ju\u0308rgen,DC=x"),
    ("CN=John+UID=js,DC=x", "uid=JS + cn=john,DC=x"),
    ("CN=John,DC=x", "2.5.4.3=John,0.9.2342.19200300.100.1.25=x"),
    ("CN=John,DC=x", "CN=#0C044A6F686E,DC=x"),
    ("CN=John,DC=x", "CN=#04044a6f686e ,DC=x"),
    (r"CN=a\\b,DC=x", r"CN=a\5Cb,DC=x"),
    ("CN=a=b,DC=x", r"CN=a\=b,DC=x"),
    (r"CN=\#1,DC=x", r"CN=\231,DC=x"),
    (r"CN=a\ ,DC=x", r"CN=a\20,DC=x"),
    ("CN=#0402C328,DC=x", "CN=#0402c328,DC=x"),
    (GUID, "{" + GUID.upper() + "}"),
    (SID, SID.lower()),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_spellings_of_one_identifier_have_one_key(one: str, other: str) -> None:
    assert parse_recipient(one).key == parse_recipient(other).key


DIFFERENT = [
    ("CN=John,DC=x", "CN=John,DC=y"),
    ("CN=John Smith,DC=x", "CN=John  Smith,DC=x"),
    (r"CN=a\,CN\=b,DC=x", "CN=a,CN=b,DC=x"),
    (r"CN=a\+b,DC=x", "CN=a+CN=b,DC=x"),
    ("CN=a,CN=b", "CN=b,CN=a"),
    (r"CN=\#04,DC=x", "CN=#04,DC=x"),
    (r"CN=a\ ,DC=x", "CN=a,DC=x"),
    (r"CN=a\ ", "CN=a"),
    (r"CN=a\5C,DC=x", r"CN=a,DC=x"),
    ("CN=#0500,DC=x", "CN=#050000,DC=x"),
    ("CN=#0401FE,DC=x", "CN=#0401FF,DC=x"),
    ("CN=" + GUID, GUID),
    ("CN=" + SID, SID),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_identifiers_have_two_keys(one: str, other: str) -> None:
    assert parse_recipient(one).key != parse_recipient(other).key


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("CN=John Smith,CN=Users,DC=example,DC=com", IdentifierKind.DN),
        (r"CN=Smith\, John,DC=x", IdentifierKind.DN),
        (r"CN=DEL\0ADEL:1,DC=x", IdentifierKind.DN),
        (GUID, IdentifierKind.GUID),
        ("{" + GUID.upper() + "}", IdentifierKind.GUID),
        (SID, IdentifierKind.SID),
        ("S-1-0x123456789ABC-1", IdentifierKind.SID),
        ("S-1-5-4294967295", IdentifierKind.SID),
    ],
)
def test_an_identifier_is_sent_as_given(value: str, kind: IdentifierKind) -> None:
    recipient = parse_recipient(f"  {value}\t")
    assert (recipient.given, recipient.kind) == (value, kind)


def test_an_escaped_blank_at_the_end_belongs_to_the_name() -> None:
    assert parse_recipient("CN=a\\ ").given == "CN=a\\ "
    assert parse_recipient("CN=a\\\\  ").given == "CN=a\\\\"


BAD = [
    ("", "no recipient"),
    ("   ", "no recipient"),
    ("jsmith", "user name"),
    ("EXAMPLE\\jsmith", "user name"),
    ("john.smith@example.com", "e-mail"),
    ("+49 30 901820", "telephone"),
    ("{" + GUID, "not a GUID"),
    (GUID + "}", "not a GUID"),
    (GUID.replace("-", ""), "not a GUID"),
    (GUID[:-1], "not a GUID"),
    ("S-1-5", "not a SID"),
    ("S-2-5-21", "not a SID"),
    ("S-1-5-4294967296", "not a SID"),
    ("S-1-5-007", "not a SID"),
    ("s-1" + "-1" * 20, "not a SID"),
    ("CN=Smith, John,DC=x", "name of an attribute"),
    ("CN=a,,DC=x", "name of an attribute"),
    ("CN=a,", "missing"),
    ("=a", "missing"),
    ("1CN=a", "name of an attribute"),
    ("C N=a", "name of an attribute"),
    ("2.05=a", "name of an attribute"),
    ("CN=", "no value"),
    ("CN= ,DC=x", "no value"),
    ("CN=a;DC=x", "must be escaped"),
    ("CN=<a>,DC=x", "must be escaped"),
    ('CN="a, b",DC=x', "must be escaped"),
    ("CN=a\\", "backslash"),
    ("CN=a\\x", "backslash"),
    ("CN=a\\4", "backslash"),
    ("CN=\\FF,DC=x", "UTF-8"),
    ("CN=#,DC=x", "hex"),
    ("CN=#123,DC=x", "hex"),
    ("CN=#04 04,DC=x", "hex"),
    ("CN=a\nb,DC=x", "control character"),
    ("CN=a\x00", "control character"),
    ("CN=a\ud800", "control character"),
]


@pytest.mark.parametrize(("value", "problem"), BAD)
def test_a_value_that_is_no_identifier_is_explained(value: str, problem: str) -> None:
    with pytest.raises(BadRecipient, match=problem):
        parse_recipient(value)


@pytest.mark.parametrize("value", ["jsmith", "john.smith@example.com", "EXAMPLE\\jsmith", "+49 30 901820"])
def test_who_gives_names_is_shown_how_to_export_guids(value: str) -> None:
    with pytest.raises(BadRecipient, match="needs a DN, GUID or SID") as refusal:
        parse_recipient(value)
    assert "Get-ADUser" in (refusal.value.hint or "")
    assert "Export-Csv" in (refusal.value.hint or "")


letters = st.sampled_from("abcXYZ019 -_.'()/@:&!?äÉßİǅΣñ中😀\u0308")
special = st.sampled_from(' "#+,;<=>\\')
types = st.sampled_from(["CN", "ou", "Dc", "uid", "L", "2.5.4.10", "x-9"])


@given(st.lists(st.tuples(types, st.text(letters, min_size=1)), min_size=1, max_size=5))
def test_the_fast_way_gives_the_key_of_the_parser(parts: list[tuple[str, str]]) -> None:
    name = ",".join(f"{kind}={value}" for kind, value in parts).strip()
    try:
        expected = _dn_key(name)
    except BadRecipient:
        expected = None
    try:
        got = parse_recipient(name).key
    except BadRecipient:
        got = None
    assert got == expected


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """A value, and one of the ways to write it in a DN."""
    value = draw(st.text(letters | special, min_size=1, max_size=8))
    ways: list[str] = []
    for place, character in enumerate(value):
        at_end = place in (0, len(value) - 1)
        must = character in '"+,;<>\\' or (character == " " and at_end) or (character in "#=" and at_end)
        way = draw(st.integers(0, 3))
        if way == 0 or (must and character not in ' "#+,;<=>\\'):
            ways.append("".join(f"\\{byte:02x}" for byte in character.encode()))
        elif must or (way == 1 and character in ' "#+,;<=>\\'):
            ways.append("\\" + character)
        else:
            ways.append(character)
    return value, "".join(ways)


@given(st.lists(st.tuples(types, written()), min_size=1, max_size=4), st.sampled_from(["", " ", "  "]), st.data())
def test_all_ways_to_write_a_dn_are_the_same_person(
    parts: list[tuple[str, tuple[str, str]]], blank: str, data: st.DataObject
) -> None:
    plainly = ",".join(kind + "=" + "".join(f"\\{byte:02X}" for byte in v.encode()) for kind, (v, _) in parts)
    name = f"{blank},{blank}".join(f"{kind}{blank}={blank}{way}" for kind, (_, way) in parts)
    if data.draw(st.booleans()):
        name = name.replace("CN", "cn").replace("uid", "UID")
    assert parse_recipient(name).key == parse_recipient(plainly).key


@given(st.lists(st.tuples(types, written()), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_within_a_multi_valued_name_does_not_count(
    parts: list[tuple[str, tuple[str, str]]], chance: random.Random
) -> None:
    pieces = [f"{kind}={way}" for kind, (_, way) in parts]
    shuffled = pieces.copy()
    chance.shuffle(shuffled)
    one, other = (parse_recipient(f"{'+'.join(order)},DC=x").key for order in (pieces, shuffled))
    assert one == other


def unescaped(value: str) -> str:
    pairs = re.sub(rb"\\([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), value.encode())
    return re.sub(r"\\(.)", r"\1", pairs.decode())


ldap_value = st.text(st.sampled_from("abcXYZ019 -_.'()/@:&!?äÉñ中😀"), min_size=1, max_size=8).map(
    lambda value: value.strip() or "a"
)
ldap_escape = st.sampled_from(["", "\\,", "\\+", "\\;", "\\<", "\\2C", "\\2b"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CN", "ou", "Dc", "uid"]), ldap_value, ldap_escape, ldap_value, st.sampled_from(",,+")
        ),
        min_size=1,
        max_size=5,
    )
)
def test_ldap3_reads_the_same_names(parts: list[tuple[str, str, str, str, str]]) -> None:
    name = "".join(f"{kind}={a}{escape}{b}{end}" for kind, a, escape, b, end in parts)[:-1]
    groups: list[list[str]] = [[]]
    for kind, value, separator in parse_dn(name):
        folded = unicodedata.normalize("NFC", unescaped(value).casefold())
        for character in "\\,+=":
            folded = folded.replace(character, "\\" + character)
        groups[-1].append(f"{kind.lower()}={folded}")
        if separator == ",":
            groups.append([])
    assert parse_recipient(name).key == "dn:" + ",".join("+".join(sorted(group)) for group in groups)


@given(st.uuids(), st.booleans(), st.booleans())
def test_a_guid_is_what_uuid_reads(value: uuid.UUID, braces: bool, upper: bool) -> None:
    text = str(value).upper() if upper else str(value)
    recipient = parse_recipient("{" + text + "}" if braces else text)
    assert (recipient.kind, recipient.key) == (IdentifierKind.GUID, f"guid:{uuid.UUID(text)}")


@settings(max_examples=300)
@given(st.text() | st.text(st.sampled_from('CN=DOU,+\\"#;<> ab0-{}1S')))
def test_any_text_is_an_identifier_or_a_bad_recipient(value: str) -> None:
    try:
        recipient = parse_recipient(value)
    except BadRecipient as problem:
        assert str(problem).isprintable()  # noqa: PT017 - either way is right, in its own way
    else:
        assert parse_recipient(recipient.given) == recipient
