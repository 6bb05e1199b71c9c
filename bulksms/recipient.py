"""Recipient: the identifier of a user or contact as it was given, and its key for comparing.

Pure: no clock, no file, no network.
Law: two spellings of one identifier have the same key; the identifier itself is sent exactly as it was given.
"""

import contextlib
import re
import unicodedata
from enum import StrEnum
from typing import NamedTuple

EXPORT_GUIDS = (
    "Get-ADUser -Filter \"Department -eq 'Sales'\" | Select-Object @{n='guid';e={$_.ObjectGUID}}, Name"
    " | Export-Csv people.csv -NoTypeInformation -Encoding UTF8"
)
"""The PowerShell line that gives people's GUIDs (module ActiveDirectory, `Get-ADUser`)."""


class Kind(StrEnum):
    """What the Adaxes REST API takes as the identifier of a directory object (page "Send SMS")."""

    DN = "DN"
    GUID = "GUID"
    SID = "SID"
    NAME = "name"
    """None of the API's: a mail address or user name, about which the directory has to be asked first."""


class Recipient(NamedTuple):
    """An identifier as it was given (without the blanks around it), its kind, and its key for comparing."""

    given: str
    kind: Kind
    key: str


class BadRecipient(ValueError):
    """The value identifies nobody: `str()` is the problem in words, `hint` what would be right."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
# An attribute type, then a value of characters that RFC 4514 never escapes, with no blank at either end.
# A DN of nothing else needs no parser: its key is the DN itself, folded.
_PLAIN = rf'[A-Za-z][A-Za-z0-9-]*+=(?! )[^{_CONTROL}"#+,;<=>\\]++(?<! )'
_PLAIN_DN = re.compile(rf"{_PLAIN}(?:,{_PLAIN})*+").fullmatch

_GUID = re.compile(r"(\{)?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})(?(1)\})", re.ASCII).fullmatch
# MS-DTYP 2.4.2.1: revision 1, an authority of 48 bits (in hex from 2^32 on), 1 to 15 sub-authorities of 32 bits.
_SID = re.compile(
    r"S-1-(?:0|[1-9][0-9]{0,9}|0x[0-9A-F]{1,12})((?:-(?:0|[1-9][0-9]{0,9})){1,15})", re.ASCII | re.IGNORECASE
).fullmatch

_TYPE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)", re.ASCII).fullmatch
_SHORT_NAMES = {
    "2.5.4.3": "cn",
    "2.5.4.6": "c",
    "2.5.4.7": "l",
    "2.5.4.8": "st",
    "2.5.4.9": "street",
    "2.5.4.10": "o",
    "2.5.4.11": "ou",
    "0.9.2342.19200300.100.1.1": "uid",
    "0.9.2342.19200300.100.1.25": "dc",
}
"""RFC 4514 section 3: the attribute types that have a short name."""

# One piece of a value: an escaped character, pairs of hex digits (the bytes of UTF-8), or plain characters.
_PIECE = re.compile(
    rf'\\(?:([ "#+,;<=>\\])|([0-9A-Fa-f]{{2}}(?:\\[0-9A-Fa-f]{{2}})*+))|([^{_CONTROL}"+,;<>\\]++)'
).match
_HEX_STRING = re.compile(r"#((?:[0-9A-Fa-f]{2})++) *+(?=[,+]|\Z)").match
_STRING_TAGS = frozenset({0x04, 0x0C, 0x13, 0x16})
"""BER tags whose content is text as it stands: octet string, UTF8String, PrintableString, IA5String."""


def parse_recipient(value: str) -> Recipient:
    """Read a DN (RFC 4514), GUID or SID.

    DNs are compared case-insensitively and without optional blanks, whatever way their characters are escaped and
    whatever the order of the parts of a multi-valued RDN; GUIDs without braces and case; SIDs without case.

    Raises:
        BadRecipient: the value is none of them.

    """
    given = value.strip()
    if _PLAIN_DN(given):
        folded = given.casefold()
        if folded.isascii() or unicodedata.is_normalized("NFC", folded):
            return Recipient(given, Kind.DN, "dn:" + folded)
    elif match := _GUID(given):
        return Recipient(given, Kind.GUID, "guid:" + match[2].lower())
    elif (match := _SID(given)) and all(int(part) < 1 << 32 for part in match[1].split("-")[1:]):
        return Recipient(given, Kind.SID, "sid:" + given.lower())
    elif "=" not in given:
        raise _no_identifier(given)
    elif given.endswith("\\") and (len(given) - len(given.rstrip("\\"))) % 2 and value.endswith(" "):
        given += " "  # an escape makes the last blank part of the name
    return Recipient(given, Kind.DN, _dn_key(given))


def named_recipient(value: str) -> Recipient:
    """Take a name by which the directory knows a person, such as a mail address; compared without case.

    Raises:
        BadRecipient: there is none.

    """
    given = value.strip()
    if not given:
        raise BadRecipient("there is no recipient", "give the name by which the directory knows the person")
    return Recipient(given, Kind.NAME, "name:" + unicodedata.normalize("NFC", given.casefold()))


def _no_identifier(given: str) -> BadRecipient:
    """Say what somebody who gave no DN, GUID or SID has probably given instead."""
    export = f"export the GUIDs: {EXPORT_GUIDS}"
    if not given:
        return BadRecipient("there is no recipient", "give a DN, GUID or SID")
    if re.fullmatch(r"[^@\s]+@[^@\s]+", given):
        match = f"--match mail or --match userPrincipalName looks people up by it; or {export}"
        return BadRecipient("an e-mail address or user principal name; needs a DN, GUID or SID", match)
    if given[:2].upper() == "S-":
        return BadRecipient("not a SID", "a SID looks like S-1-5-21-3635565734-1729062999-1822655016-1627")
    if re.fullmatch(r"[{(]?(?:[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{3,}|[0-9A-Fa-f]{32})[)}]?", given):
        return BadRecipient("not a GUID", "a GUID looks like 7a4267ce-d354-44e7-8bd6-c681f1284a41")
    if re.fullmatch(r"\+?[0-9][0-9 ()/.-]{5,}", given):
        return BadRecipient(
            "a telephone number; needs a DN, GUID or SID",
            f"Adaxes takes the number from the person's directory object; {export}",
        )
    match = f"--match sAMAccountName looks people up by it; or {export}"
    return BadRecipient("looks like a user name; needs a DN, GUID or SID", match)


def _dn_key(given: str) -> str:
    """Make the key of a DN: each RDN's parts sorted, types by their short names, values folded and escaped anew."""
    relative_names: list[str] = []
    parts: list[str] = []
    position = 0
    while True:
        part, position = _attribute(given, position)
        parts.append(part)
        separator = given[position : position + 1]
        if separator != "+":
            relative_names.append("+".join(sorted(parts)))
            parts = []
        if not separator:
            return "dn:" + ",".join(relative_names)
        position += 1


def _attribute(given: str, position: int) -> tuple[str, int]:
    """Read one `type=value`; give it in its form for comparing, and the place of the separator after it."""
    equals = given.find("=", position)
    name = (given[position:equals] if equals >= 0 else given[position:]).strip(" ")
    if equals < 0 or not _TYPE(name):
        raise BadRecipient(
            f"not a DN: {name[:40]!r} is not the name of an attribute"
            if name
            else "not a DN: a part is missing before or after a comma",
            "a comma inside a name is written \\, as in CN=Smith\\, John,OU=Sales,DC=example,DC=com",
        )
    value, end = _value(given, equals + 1)
    if not value:
        raise BadRecipient(f"not a DN: {name} has no value")
    name = name.lower()
    return f"{_SHORT_NAMES.get(name, name)}={value}", end


def _value(given: str, position: int) -> tuple[str, int]:
    """Read a value up to the separator after it; a `#` at its beginning means BER in hex (RFC 4514 section 2.4)."""
    while given[position : position + 1] == " ":
        position += 1
    if given[position : position + 1] == "#":
        return _hex_value(given, position)
    pieces: list[str] = []
    blanks_at_end = 0
    while position < len(given) and given[position] not in ",+":
        match = _PIECE(given, position)
        if match is None:
            raise _bad_character(given, position)
        escaped, pairs, plain = match.groups()
        if pairs:
            escaped = _from_utf_8(bytes.fromhex(pairs.replace("\\", "")))
        pieces.append(escaped or plain)
        blanks_at_end = len(plain) - len(plain.rstrip(" ")) if plain else 0
        position = match.end()
    value = "".join(pieces)
    return _folded(value[: len(value) - blanks_at_end]), position


def _folded(value: str) -> str:
    """Give a value for comparing; what separates the parts of a key is escaped in it."""
    folded = unicodedata.normalize("NFC", value.casefold())
    for special in "\\,+=":
        folded = folded.replace(special, "\\" + special)
    return "\\" + folded if folded.startswith("#") else folded


def _from_utf_8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadRecipient("not a DN: its hex pairs are not UTF-8", "write the characters themselves") from None


def _hex_value(given: str, position: int) -> tuple[str, int]:
    match = _HEX_STRING(given, position)
    if match is None:
        raise BadRecipient(
            "not a DN: after # only pairs of hex digits may follow", "a # that begins a name is written \\#"
        )
    raw = bytes.fromhex(match[1])
    if raw[0] in _STRING_TAGS and len(raw) > 2 and raw[1] == len(raw) - 2 < 0x80:
        with contextlib.suppress(UnicodeDecodeError):
            return _folded(raw[2:].decode()), match.end()
    return "#" + match[1].lower(), match.end()


def _bad_character(given: str, position: int) -> BadRecipient:
    character = given[position]
    if character == "\\":
        return BadRecipient(
            "not a DN: a backslash stands before a character that needs none", "a backslash itself is written \\\\"
        )
    if character.isprintable():
        return BadRecipient(f"not a DN: {character} must be escaped", f"write \\{character}")
    return BadRecipient(f"not a DN: it has a control character (U+{ord(character):04X})", "remove it")
