"""Recipient: the identifier of a user or contact as it was given, and its key for comparing.

Invariant: two spellings of one identifier have the same key. A DN is sent exactly as it was given; a GUID or SID that
was exported in binary form, or has invisible characters in it, is sent in the form that the API takes.
"""

import base64
import contextlib
import re
import unicodedata
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

EXPORT_GUIDS = (
    "Get-ADUser -Filter \"Department -eq 'Sales'\" | Select-Object @{n='guid';e={$_.ObjectGUID}}, Name"
    " | Export-Csv people.csv -NoTypeInformation -Encoding UTF8"
)
"""The PowerShell line that gives people's GUIDs (module ActiveDirectory, `Get-ADUser`)."""


POWERSHELL_TYPE = re.compile(r"(?:System|Microsoft)\.[\w.]+(?:\[\])?(?:\[[\w., ]+\])?", re.ASCII)
"""What PowerShell writes in place of a value that it cannot turn into text: the name of its type."""


class IdentifierKind(StrEnum):
    """What the Adaxes REST API takes as the identifier of a directory object (page "Send SMS")."""

    DN = "DN"
    GUID = "GUID"
    SID = "SID"
    NAME = "name"
    """Not one of the API's: a mail address or user name, which the directory has to resolve first."""


class Recipient(NamedTuple):
    """An identifier as it was given (without surrounding blanks), its kind, and its key for comparing."""

    given: str
    kind: IdentifierKind
    key: str


class BadRecipient(ValueError):
    """The value is no identifier: `str()` says what is wrong, `hint` what would be right."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_NOTHING = (
    "\u00ad\u034f\u06dd\u070f\u1806\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u206a-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffc\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_BLANK = "\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
INVISIBLE = re.compile(f"[{_NOTHING}{_BLANK}]")
"""What RFC 4518, 2.2 maps to nothing or to a blank: characters that nobody sees in an identifier."""
_without_nothing = re.compile(f"[{_NOTHING}]").sub
_blanks_to_space = re.compile(f"[{_BLANK}]").sub


def prepared(value: str) -> str:
    """The value as a directory compares it (RFC 4518, 2.2): without invisible characters, every blank a space."""
    return value if value.isascii() else _blanks_to_space(" ", _without_nothing("", value))


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
"""BER tags whose content is plain text: octet string, UTF8String, PrintableString, IA5String."""


def parse_recipient(value: str) -> Recipient:
    """Read a DN (RFC 4514), GUID or SID.

    DNs are compared case-insensitively and without optional blanks, whatever way their characters are escaped and
    whatever the order of the parts of a multi-valued RDN; GUIDs without braces and case; SIDs without case. GUIDs and
    SIDs are also read in the binary forms of exports: base64 (`objectGUID::` of ldifde, Entra's ImmutableId) and the
    hex of csvde (`X'…'`).

    Raises:
        BadRecipient: the value is none of them.

    """
    given = value.strip()
    if _PLAIN_DN(given):
        folded = given.casefold()
        if folded.isascii():
            return Recipient(given, IdentifierKind.DN, "dn:" + folded)
        folded = prepared(folded)
        if unicodedata.is_normalized("NFC", folded) and _PLAIN_DN(folded):
            return Recipient(given, IdentifierKind.DN, "dn:" + folded)
    elif (found := _guid_or_sid(given)) is not None or (found := _guid_or_sid(_cleaned(given))) is not None:
        return found
    elif "=" not in given or POWERSHELL_TYPE.fullmatch(given):
        raise _no_identifier(given)
    elif given.endswith("\\") and (len(given) - len(given.rstrip("\\"))) % 2 and value.endswith(" "):
        given += " "  # an escape makes the last blank part of the name
    try:
        return Recipient(given, IdentifierKind.DN, _dn_key(given))
    except BadRecipient as problem:
        special = _other_form(given)
        raise special or BadRecipient(str(problem), _repaired_hint(given) or problem.hint) from None


def _guid_or_sid(given: str) -> Recipient | None:
    if match := _GUID(given):
        return Recipient(given, IdentifierKind.GUID, "guid:" + match[2].lower())
    if (match := _SID(given)) and all(int(part) < 1 << 32 for part in match[1].split("-")[1:]):
        return Recipient(given, IdentifierKind.SID, "sid:" + given.lower())
    return None


_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII).fullmatch
_HEX = re.compile(r"X'((?:[0-9A-Fa-f]{2})+)'", re.ASCII).fullmatch


def _cleaned(given: str) -> str:
    """The GUID or SID in the value, without invisible characters and decoded; the value itself if there is none."""
    given = prepared(given).strip()
    if match := _HEX(given):
        return _from_binary(bytes.fromhex(match[1])) or given
    if len(given) >= 16 and _BASE64(given):
        return _from_binary(base64.b64decode(given)) or given
    return given


def _from_binary(raw: bytes) -> str | None:
    """A GUID (MS-DTYP 2.3.4.2: its first three parts little-endian) or a SID (MS-DTYP 2.4.2.2) from its bytes."""
    if len(raw) == 16:
        return str(uuid.UUID(bytes_le=raw))
    if len(raw) >= 12 and raw[0] == 1 and 1 <= raw[1] <= 15 and len(raw) == 8 + 4 * raw[1]:
        authority = int.from_bytes(raw[2:8], "big")
        parts = [int.from_bytes(raw[place : place + 4], "little") for place in range(8, len(raw), 4)]
        return "-".join(map(str, ("S", 1, authority, *parts)))
    return None


def named_recipient(value: str) -> Recipient:
    """Take a name by which the directory knows a person, such as a mail address; compared without case.

    Raises:
        BadRecipient: there is none.

    """
    given = value.strip()
    if not given:
        raise BadRecipient("there is no recipient", "give the name by which the directory knows the person")
    return Recipient(given, IdentifierKind.NAME, "name:" + folded_name(given))


def account_recipient(value: str) -> Recipient:
    """Take a user name (`sAMAccountName`), as `named_recipient` does.

    Raises:
        BadRecipient: there is none, or its domain precedes it.

    """
    recipient = named_recipient(value)
    domain, backslash, name = recipient.given.partition("\\")
    if backslash:
        hint = f"write {_printable(name)}; --match userPrincipalName tells people of several domains apart"
        raise BadRecipient(f"a user name behind its domain {_printable(domain)}", hint)
    return recipient


def folded_name(name: str) -> str:
    """A name for comparing: without case and invisible characters, in the composed form of Unicode (NFC)."""
    return unicodedata.normalize("NFC", prepared(name).casefold())


def _no_identifier(given: str) -> BadRecipient:
    """Guess what the value is, if it is no DN, GUID or SID."""
    if not given:
        return BadRecipient("there is no recipient", "give a DN, GUID or SID")
    return _other_form(given) or BadRecipient(
        "looks like a user name; needs a DN, GUID or SID",
        f"--match sAMAccountName looks people up by it; or {_EXPORT}",
    )


_EXPORT = f"export the GUIDs: {EXPORT_GUIDS}"


def _other_form(given: str) -> BadRecipient | None:
    """What exports write in place of an identifier, and other kinds of names."""
    for form, problem, hint in _OTHER_FORMS:
        if match := form.fullmatch(given):
            return BadRecipient(problem, hint(match))
    return None


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text))


_OTHER_FORMS: tuple[tuple[re.Pattern[str], str, Callable[[re.Match[str]], str]], ...] = (
    (
        POWERSHELL_TYPE,
        "PowerShell has written the type of a value instead of the value",
        lambda _: f"name the value in Select-Object; or {_EXPORT}",
    ),
    (
        re.compile(r"#[A-Z0/]+[!?]?"),
        "an error of the spreadsheet",
        lambda _: "put the formula right, and export it again",
    ),
    (
        re.compile(r"(?:LDAP|GC)://(?:[^/=,]+/)?([^=]+=.+)", re.IGNORECASE),
        "an ADsPath, not a DN",
        lambda match: f"write {_printable(match[1])}",
    ),
    (
        re.compile(r"[\w.-]+\.[A-Za-z]{2,}/.+"),
        "a canonical name; needs a DN, GUID or SID",
        lambda _: _EXPORT,
    ),
    (
        re.compile(r"[^\\@=\s]+\\([^\\=]+)"),
        "a user name with its domain; needs a DN, GUID or SID",
        lambda match: (
            f"--match sAMAccountName looks people up by {_printable(match[1])}, without the domain; or {_EXPORT}"
        ),
    ),
    (
        re.compile(r"[^@\s]+@[^@\s]+"),
        "an e-mail address or user principal name; needs a DN, GUID or SID",
        lambda _: f"--match mail or --match userPrincipalName looks people up by it; or {_EXPORT}",
    ),
    (
        re.compile(r"[Ss]-.*", re.DOTALL),
        "not a SID",
        lambda _: "a SID looks like S-1-5-21-3635565734-1729062999-1822655016-1627",
    ),
    (
        re.compile(r"[{(]?(?:[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{3,}|[0-9A-Fa-f]{32})[)}]?"),
        "not a GUID",
        lambda match: _guid_hint(match[0]),
    ),
    (
        re.compile(r"\+?[0-9(][0-9 ()/.-]{5,}"),
        "a telephone number; needs a DN, GUID or SID",
        lambda _: f"--match mobile looks people up by it; or {_EXPORT}",
    ),
)
"""The form of the value, what it is, and what would be right; the first that fits counts."""


def _guid_hint(given: str) -> str:
    digits = re.sub(r"[^0-9A-Fa-f]", "", given).lower()
    if len(digits) == 32:
        return f"write {digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return "a GUID looks like 7a4267ce-d354-44e7-8bd6-c681f1284a41"


_OLD_PIECE = re.compile(
    r'\\([0-9A-Fa-f]{2})|\\([^0-9A-Za-z])|("(?:[^"\\]|\\.)*")(?= *(?:[,;+]|\Z))|([,;+=])|([^"\\])', re.DOTALL
).match


def _repaired_hint(given: str) -> str | None:
    r"""The same DN as RFC 4514 writes it, where it is written as RFC 1779, RFC 2253 or ADsPaths write it.

    Those know quotes around a value, `;` between the parts, and a backslash before any character, such as `\/`.
    """
    repaired: list[str] = []
    value: bytes | None = None
    position = 0
    while position < len(given):
        piece = _OLD_PIECE(given, position)
        if piece is None:
            return None
        pair, escaped, quoted, separator, plain = piece.groups()
        position = piece.end()
        if value is None:
            repaired.append(separator or plain or "")
            value = b"" if separator == "=" else None
        elif separator is not None and separator != "=":
            repaired += [_escaped(value), "," if separator == ";" else separator]
            value = None
        elif pair is not None:
            value += bytes.fromhex(pair)
        elif quoted is not None:
            value += re.sub(r"\\(.)", r"\1", quoted[1:-1]).encode(errors="replace")
        else:
            value += (escaped or separator or plain or "").encode(errors="replace")
    repaired.append(_escaped(value or b""))
    whole = re.sub(r"(?<!\\)([,+]) +", r"\1", "".join(repaired)).strip()
    try:
        _dn_key(whole)
    except BadRecipient:
        return None
    return f"write {whole}" if whole.isprintable() and whole != given else None


def _escaped(value: bytes) -> str:
    """A value as RFC 4514, 2.4 writes it."""
    written = re.sub(r'([\\",+;<>])', r"\\\1", value.decode(errors="replace").strip(" "))
    return "\\" + written if written.startswith("#") else written


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
    folded = unicodedata.normalize("NFC", prepared(value).casefold())
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
            "not a DN: a backslash precedes a character that needs none", "a backslash itself is written \\\\"
        )
    if character.isprintable():
        return BadRecipient(f"not a DN: {character} must be escaped", f"write \\{character}")
    return BadRecipient(f"not a DN: it has a control character (U+{ord(character):04X})", "remove it")
