"""Connection: the directory for those who do not await: an event loop of its own beneath the reading of an input.

Law: whatever ends the block, the log-out is tried and the session closed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from bulksms.adaxes import (
    Client,
    ClientSettings,
    Credentials,
    DirectoryObject,
    Listing,
    LookUp,
    group_members,
    look_up,
    search,
)
from bulksms.directory.asking import Asking
from bulksms.directory.judging import Flaw, matched, not_found
from bulksms.errors import ServerTrouble

NAMES_A_SEARCH = 50
"""Names that are searched for in one request: its body stays below ten kilobytes."""
_USERS_ONLY = frozenset({"sAMAccountName", "userPrincipalName"})
"""What contacts do not have (Microsoft, Active Directory schema)."""
_UNREADABLE = "The answer of the directory cannot be read."

Result = TypeVar("Result")
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the directory is, as whom it is asked, how many questions at once and how many a second."""

    client: ClientSettings
    credentials: Credentials
    rate: float | None = None


class Directory:
    """Answers about people, from `connected`; `told` is called with how many more people there is an answer about."""

    def __init__(self, runner: asyncio.Runner, asking: Asking, told: Told) -> None:
        self._runner = runner
        self._asking = asking
        self._told = told

    def look_up(self, identifiers: Sequence[str], number_property: str) -> list[DirectoryObject | Flaw]:
        """Each object by its DN, GUID or SID, or why there is none. Raises ServerTrouble."""

        async def ask(identifier: str) -> LookUp:
            return await look_up(self._asking.client, identifier, (number_property,))

        answers = self._run(self._asking.each(identifiers, ask, self._told))
        return [answer.found or _flaw(answer) for answer in answers]

    def match(self, name: str, values: Sequence[str], number_property: str) -> list[DirectoryObject | Flaw]:
        """Each person by a property such as `mail`, or why it is not one. Raises ServerTrouble."""
        parts = [values[start : start + NAMES_A_SEARCH] for start in range(0, len(values), NAMES_A_SEARCH)]
        hits: dict[str, dict[str, DirectoryObject]] = {value.casefold(): {} for value in values}
        while parts:
            wanted, parts = parts, []
            for part, listing in zip(wanted, self._search(name, wanted, number_property), strict=True):
                if listing.cut and len(part) > 1:  # more hits than one answer holds: ask for half of them at a time
                    parts += [part[: len(part) // 2], part[len(part) // 2 :]]
                    continue
                for found in listing.objects or ():
                    same = hits.get(found.properties.get(name, "").casefold())
                    if same is not None:
                        same[found.guid or found.dn or ""] = found
                self._told(len(part))
        return [matched(name, list(hits[value.casefold()].values())) for value in values]

    def _search(self, name: str, parts: Sequence[Sequence[str]], number_property: str) -> list[Listing]:
        types = ("User",) if name in _USERS_ONLY else ("User", "Contact")

        async def ask(values: Sequence[str]) -> Listing:
            return await search(self._asking.client, name, values, (number_property,), object_types=types)

        listings = self._run(self._asking.each(parts, ask, lambda _: None))
        for listing in listings:
            if listing.objects is None:
                said = listing.attempt.error or f"it answered {listing.attempt.status}"
                raise ServerTrouble(
                    f"The directory does not answer a search: {said}.",
                    hint="Give people's GUIDs instead of names, without --match.",
                )
        return listings

    def members(self, group: str, properties: Iterable[str], *, direct_only: bool, size_limit: int) -> Listing:
        """The members of a group; an answer without objects says why in its attempt. Raises ServerTrouble."""
        asked = tuple(properties)

        async def ask() -> Listing:
            return await group_members(
                self._asking.client, group, asked, direct_only=direct_only, size_limit=size_limit
            )

        listing = self._run(self._asking.one(ask))
        if listing.objects is None and listing.attempt.status == 200:
            raise ServerTrouble(_UNREADABLE, hint="`bulksms check` shows what answers there.")
        self._told(len(listing.objects or ()))
        return listing

    def _run(self, asking: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(asking)


def _flaw(answer: LookUp) -> Flaw:
    if answer.attempt.status == 200:
        raise ServerTrouble(_UNREADABLE, hint="`bulksms check` shows what answers there.")
    return not_found(answer.attempt)


@contextmanager
def connected(settings: Settings, told: Told) -> Iterator[Directory]:
    """A directory to ask while the block lives.

    Raises UsageError if the CA file cannot be used. May not be called from a running event loop.
    """
    client = Client(settings.client, settings.credentials)
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            yield Directory(runner, Asking(client, at_once=settings.client.workers, rate=settings.rate), told)
        finally:
            runner.run(client.__aexit__(None, None, None))
