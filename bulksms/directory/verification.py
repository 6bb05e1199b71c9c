"""Verification: what the directory's answers mean, for a person and for the whole, and which of the hits are meant.

Pure. Invariants: what an answer says about one person is that person's; only what can hit anybody may be asked again,
and whatever is everybody's trouble ends the asking. A hit belongs to a value only if both are the same name or number;
a hit that the directory considers the same and this module does not is reported with what it is called there, never
sent to.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from bulksms.adaxes import DirectoryObject
from bulksms.input.telephone import is_telephone_property, spellings, telephone_key
from bulksms.model.attempt import Attempt, Failure
from bulksms.model.recipient import BadRecipient, folded_name, parse_recipient

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


class RecipientProblem(NamedTuple):
    """What is wrong with a recipient, under its code in `bulksms.input.CODES`."""

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


def not_found(attempt: Attempt) -> RecipientProblem:
    """What it means for a recipient that its look-up gave no object."""
    if attempt.status == 404:
        return RecipientProblem(
            "E114", "the directory has no such object", "it may have been moved or deleted; look it up anew"
        )
    return RecipientProblem("E114", f"it cannot be looked up: {attempt.status} {attempt.error or ''}".rstrip())


def recipient_problems(found: DirectoryObject, number_property: str) -> Iterator[RecipientProblem]:
    """What keeps a message from reaching a found object."""
    if found.object_type is not None and found.object_type not in PERSONS:
        yield RecipientProblem("E115", f"it is a {found.object_type}, neither a user nor a contact", "name a person")
        return
    if not found.properties.get(number_property):
        hint = "fill it in, or name the property that Adaxes takes the number from with --number-property"
        yield RecipientProblem("E116", f"{name_of(found)} has no {number_property} number", hint)
    if found.disabled:
        yield RecipientProblem(
            "E117", f"the account of {name_of(found)} is disabled", "leave the row out, or have it enabled"
        )


def matched(name: str, hits: Sequence[DirectoryObject]) -> DirectoryObject | RecipientProblem:
    """The one person whose property `name` is what was asked for, or why there is none."""
    if len(hits) == 1:
        return hits[0]
    if not hits:
        return RecipientProblem(
            "E118", f"nobody's {name} is this", "check its spelling, and whether the account may see the person"
        )
    some = "; ".join(hit.dn or hit.guid or "" for hit in hits[:_SHOWN])
    more = "" if len(hits) <= _SHOWN else " …"
    return RecipientProblem(
        "E119", f"the {name} of {len(hits)} people is this: {some}{more}", "give the GUID of the one meant"
    )


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


class Matcher:
    """Compares the values of one property; `country` is that of national telephone numbers."""

    def __init__(self, name: str, country: str | None = None) -> None:
        self.name = name
        self.is_telephone = is_telephone_property(name)
        self._country = country

    def key(self, value: str) -> str:
        """The value for comparing."""
        if not self.is_telephone:
            return folded_name(value.strip())
        return telephone_key(value, self._country) or folded_name(value.strip())

    def searched(self, value: str) -> tuple[str, ...]:
        """What is searched for: the value, or the ways in which directories commonly write a telephone number."""
        if not self.is_telephone:
            return (unicodedata.normalize("NFC", value.strip()),)
        return spellings(value, self._country)

    def settle(
        self, values: Sequence[str], hits: Iterable[DirectoryObject]
    ) -> list[DirectoryObject | RecipientProblem]:
        """For each value the one person who has it, or why there is none."""
        exact: dict[str, dict[str, DirectoryObject]] = {self.key(value): {} for value in values}
        near: dict[str, list[DirectoryObject]] = {}
        for hit in hits:
            own = hit.properties.get(self.name, "")
            same = exact.get(self.key(own))
            if same is not None:
                same[hit.guid or hit.dn or ""] = hit
            else:
                near.setdefault(_loosely(own), []).append(hit)
        return [self._one(value, list(exact[self.key(value)].values()), near) for value in values]

    def _one(
        self, value: str, hits: Sequence[DirectoryObject], near: dict[str, list[DirectoryObject]]
    ) -> DirectoryObject | RecipientProblem:
        if hits or self.is_telephone or not (similar := near.get(_loosely(value))):
            return matched(self.name, hits)
        found = similar[0]
        return RecipientProblem(
            "E118",
            f"nobody's {self.name} is written like this; the directory has"
            f" {found.properties.get(self.name, '')!r} ({found.dn or found.guid})",
            "write it as the directory does if that person is meant",
        )


def _loosely(value: str) -> str:
    """The value as directories compare it that ignore accents, such as Active Directory."""
    decomposed = unicodedata.normalize("NFKD", folded_name(value.strip()).replace("ß", "ss"))
    return "".join(_without_accents(decomposed))


def _without_accents(text: str) -> Iterator[str]:
    return (character for character in text if not unicodedata.combining(character))
