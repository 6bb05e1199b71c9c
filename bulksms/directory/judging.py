"""Judging: what the directory's answers mean, for a person and for the whole.

Pure. Laws: what an answer says about one person is that person's; only what can hit anybody may be asked again, and
whatever is everybody's trouble ends the asking.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from bulksms.adaxes import DirectoryObject
from bulksms.attempt import Attempt, Failure
from bulksms.recipient import BadRecipient, parse_recipient

PERSONS = frozenset({"user", "contact", "inetorgperson"})
"""To whom Adaxes sends SMS (Adaxes REST API, "Send SMS"); the third is a kind of user (RFC 2798)."""
_SHOWN = 3
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_FINAL_FAILURES = frozenset({Failure.BAD_CERTIFICATE, Failure.BAD_URL, Failure.PROXY_REFUSED})


class Meaning(Enum):
    """What an answer is."""

    ANSWER = "an answer"
    PASSING = "trouble that may pass"
    TROUBLE = "trouble that is everybody's"


class Flaw(NamedTuple):
    """What is wrong with a recipient, under its code in `bulksms.intake.CODES`."""

    code: str
    problem: str
    hint: str | None = None


def meaning_of(attempt: Attempt) -> Meaning:
    """What an answer to a look-up is. Look-ups change nothing, so a lost answer is asked for again."""
    if attempt.status is not None and attempt.status >= 500:
        return Meaning.PASSING if attempt.status in _PASSING_STATUSES else Meaning.TROUBLE
    if attempt.failure in _FINAL_FAILURES:
        return Meaning.TROUBLE
    if attempt.failure is not None or attempt.status in _PASSING_STATUSES:
        return Meaning.PASSING
    by_the_api = attempt.api_error is not None and attempt.status in (400, 403, 404)
    return Meaning.ANSWER if attempt.status == 200 or by_the_api else Meaning.TROUBLE


def not_found(attempt: Attempt) -> Flaw:
    """What it means for a recipient that its look-up gave no object."""
    if attempt.status == 404:
        return Flaw("E114", "the directory has no such object", "it may have been moved or deleted; look it up anew")
    return Flaw("E114", f"it cannot be looked up: {attempt.status} {attempt.error or ''}".rstrip())


def flaws(found: DirectoryObject, number_property: str) -> Iterator[Flaw]:
    """What keeps a found object from being told anything."""
    if found.object_type is not None and found.object_type not in PERSONS:
        yield Flaw("E115", f"it is a {found.object_type}, neither a user nor a contact", "name a person")
        return
    if not found.properties.get(number_property):
        hint = "fill it in, or name the property that Adaxes takes the number from with --number-property"
        yield Flaw("E116", f"{name_of(found)} has no {number_property} number", hint)
    if found.disabled:
        yield Flaw("E117", f"the account of {name_of(found)} is disabled", "leave the row out, or have it enabled")


def matched(name: str, hits: Sequence[DirectoryObject]) -> DirectoryObject | Flaw:
    """The one person whose property `name` is what was asked for, or why there is none."""
    if len(hits) == 1:
        return hits[0]
    if not hits:
        return Flaw(
            "E118", f"nobody's {name} is this", "check its spelling, and whether the account may see the person"
        )
    some = "; ".join(hit.dn or hit.guid or "" for hit in hits[:_SHOWN])
    more = "" if len(hits) <= _SHOWN else " …"
    return Flaw("E119", f"the {name} of {len(hits)} people is this: {some}{more}", "give the GUID of the one meant")


def name_of(found: DirectoryObject) -> str:
    """What a person is called in a sentence."""
    return found.display_name or found.dn or found.guid or "the object"


def identifier_of(found: DirectoryObject) -> str | None:
    """What is sent to: the GUID, which stays when a person is moved; the DN where there is none."""
    return found.guid or found.dn


def keys_of(found: DirectoryObject) -> Iterator[str]:
    """The keys of all identifiers that the directory knows the object by."""
    for identifier in (found.guid, found.dn, found.sid):
        if identifier is not None:
            try:
                yield parse_recipient(identifier).key
            except BadRecipient:
                continue
