"""Lookup: the directory for those who do not await, and the rows of an input with everybody looked up in it.

An event loop of its own runs beneath the reading of an input.

Invariants: a question changes nothing, so it may be asked again; a bounded number are under way at once. Trouble that
is everybody's ends the asking with `ServerError`, and no question is begun after it. Whatever ends the block, the
log-out is tried and the session closed. What the directory says against a recipient is a finding of that row like any
other. A name that was matched becomes the person's GUID; everything else is sent as it was given. Rows keep their
order, and pass through in batches.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

import anyio

from bulksms.adaxes import (
    Answered,
    Caller,
    Client,
    ClientSettings,
    Credentials,
    DirectoryObject,
    Listing,
    LoginFailure,
    LookupAnswer,
    has_any,
    has_some,
    look_up,
    search,
)
from bulksms.adaxes.lookups import PERSON_TYPES
from bulksms.directory.verification import (
    Matcher,
    Meaning,
    RecipientProblem,
    identifier_of,
    keys_of,
    meaning_of,
    not_found,
    recipient_problems,
)
from bulksms.errors import ServerError
from bulksms.input import BadRow, Finding, Row, RowChecker
from bulksms.input.finding import shortened
from bulksms.model.attempt import Attempt
from bulksms.model.recipient import BadRecipient, Recipient, parse_recipient
from bulksms.planning.follow_up import IdentityMap
from bulksms.policy.retry import RetryPolicy

Request = TypeVar("Request")

Answer = TypeVar("Answer", bound=Answered)


class RequestQueue:
    """Asks the questions of one client."""

    def __init__(self, client: Client, *, at_once: int, rate: float | None, policy: RetryPolicy | None = None) -> None:
        self.client = client
        self._at_once = at_once
        self._caller = Caller(client, policy or RetryPolicy(), sleep=anyio.sleep, rate=rate)

    async def each(
        self,
        questions: Sequence[Request],
        ask: Callable[[Request], Awaitable[Answer]],
        on_answer: Callable[[int], None],
    ) -> list[Answer]:
        """The answers in the order of their questions; `on_answer` is called with 1 for each. Raises ServerError."""
        answers: list[Answer | None] = [None] * len(questions)
        waiting = iter(enumerate(questions))

        async def work() -> None:
            for place, question in waiting:
                answers[place] = await self.one(partial(ask, question))
                on_answer(1)

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(self._at_once, len(questions))):
                    tasks.start_soon(work)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return [answer for answer in answers if answer is not None]

    async def one(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to one question. Raises ServerError."""
        result = await self._caller.repeat(ask, lambda attempt: meaning_of(attempt) is Meaning.PASSING)
        if isinstance(result, LoginFailure):
            if result.final:
                raise ServerError(result.sentence, hint=result.hint)
            raise _unavailable(result.sentence.rstrip("."))
        if meaning_of(result.attempt) is not Meaning.ANSWER:
            raise _unavailable(_words(result.attempt))
        return result


def _unavailable(why: str) -> ServerError:
    return ServerError(
        f"The directory cannot be asked: {why}.", hint="`bulksms check` shows where it fails. Nothing was sent."
    )


def _words(attempt: Attempt) -> str:
    if attempt.status is None:
        return attempt.error or str(attempt.failure)
    return f"the server answered {attempt.status}" + (f", {attempt.error}" if attempt.error else "")


LOOKUPS_AT_ONCE = 16
"""Look-ups read the directory only: more at once bring nothing, and no limit is found for them."""
NAMES_A_SEARCH = 50
"""Names searched for in one request: its body stays below ten kilobytes."""
MOST_NUMBERS = 100_000
"""People whose numbers are read at once, if some are not written in a common way."""
_USERS_ONLY = frozenset({"sAMAccountName", "userPrincipalName"})
"""What contacts do not have (Microsoft, Active Directory schema)."""
_UNREADABLE = "The answer of the directory cannot be read."

Result = TypeVar("Result")
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the directory is, as whom it is asked, how many questions at once and how many a second."""

    client: ClientSettings
    credentials: Credentials
    rate: float | None = None


class AudiencePart(Protocol):
    """People that one question asks for."""

    async def ask(self, client: Client, properties: tuple[str, ...], size_limit: int) -> Listing:
        """Ask for at most `size_limit` of them, with these properties."""


class Directory:
    """Answers about people, from `connected`; `progress` is called with the number of people answered for."""

    def __init__(self, runner: asyncio.Runner, asking: RequestQueue, progress: Progress) -> None:
        self._runner = runner
        self._asking = asking
        self._progress = progress
        self._numbers: dict[str, tuple[DirectoryObject, ...]] = {}

    def look_up(self, identifiers: Sequence[str], number_property: str) -> list[DirectoryObject | RecipientProblem]:
        """Each object by its DN, GUID or SID, or why there is none. Raises ServerError."""

        async def ask(identifier: str) -> LookupAnswer:
            return await look_up(self._asking.client, identifier, (number_property,))

        answers = self._run(self._asking.each(identifiers, ask, self._progress))
        return [answer.found or _flaw(answer) for answer in answers]

    def match(
        self, matcher: Matcher, values: Sequence[str], number_property: str
    ) -> list[DirectoryObject | RecipientProblem]:
        """Each person by a property such as `mail`, or why it is not one. Raises ServerError."""
        spelled = [spelling for value in values for spelling in matcher.searched(value)]
        parts = [spelled[start : start + NAMES_A_SEARCH] for start in range(0, len(spelled), NAMES_A_SEARCH)]
        hits: list[DirectoryObject] = []
        while parts:
            wanted, parts = parts, []
            for part, listing in zip(wanted, self._search(matcher.name, wanted, number_property), strict=True):
                if listing.cut and len(part) > 1:  # more hits than one answer holds: ask for half of them at a time
                    parts += [part[: len(part) // 2], part[len(part) // 2 :]]
                else:
                    hits += listing.objects or ()
        settled = matcher.settle(values, hits)
        if matcher.is_telephone and any(isinstance(one, RecipientProblem) and one.code == "E118" for one in settled):
            settled = matcher.settle(values, [*hits, *self._with_numbers(matcher.name, number_property)])
        self._progress(len(values))
        return settled

    def _with_numbers(self, name: str, number_property: str) -> tuple[DirectoryObject, ...]:
        """Everybody with a number in this property, however it is written; nobody if the server gives only a part."""
        if name not in self._numbers:

            async def ask() -> Listing:
                properties = dict.fromkeys((name, number_property))
                return await search(self._asking.client, has_some(name), properties, size_limit=MOST_NUMBERS)

            listing = self._run(self._asking.one(ask))
            self._numbers[name] = () if listing.cut else listing.objects or ()
        return self._numbers[name]

    def _search(self, name: str, parts: Sequence[Sequence[str]], number_property: str) -> list[Listing]:
        types = ("User",) if name in _USERS_ONLY else PERSON_TYPES
        properties = tuple(dict.fromkeys((name, number_property)))

        async def ask(values: Sequence[str]) -> Listing:
            criteria = has_any(name, values, types)
            return await search(self._asking.client, criteria, properties, secrets=tuple(values))

        listings = self._run(self._asking.each(parts, ask, lambda _: None))
        for listing in listings:
            _require_objects(listing, "Give people's GUIDs instead of names, without --match.")
        return listings

    def audience(self, part: AudiencePart, properties: Iterable[str], *, size_limit: int) -> Listing:
        """The members of a part of the audience; of a group, an answer without objects says why. Raises ServerError."""
        asked = tuple(properties)

        async def ask() -> Listing:
            return await part.ask(self._asking.client, asked, size_limit)

        listing = self._run(self._asking.one(ask))
        if listing.objects is None and listing.attempt.status == 200:
            raise ServerError(_UNREADABLE, hint="`bulksms check` shows what answers there.")
        self._progress(len(listing.objects or ()))
        return listing

    def _run(self, asking: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(asking)


def _require_objects(listing: Listing, hint: str) -> None:
    if listing.objects is None:
        words = listing.attempt.error or f"it answered {listing.attempt.status}"
        raise ServerError(f"The directory does not answer a search: {words}.", hint=hint)


def _flaw(answer: LookupAnswer) -> RecipientProblem:
    if answer.attempt.status == 200:
        raise ServerError(_UNREADABLE, hint="`bulksms check` shows what answers there.")
    return not_found(answer.attempt)


@contextmanager
def connected(settings: Settings, progress: Progress) -> Iterator[Directory]:
    """A directory to ask while the block lives.

    Raises UsageError if the CA file cannot be used. May not be called from a running event loop.
    """
    client = Client(settings.client, settings.credentials)
    with asyncio.Runner() as runner:
        runner.run(client.__aenter__())
        try:
            at_once = min(LOOKUPS_AT_ONCE, settings.client.workers)
            yield Directory(runner, RequestQueue(client, at_once=at_once, rate=settings.rate), progress)
        finally:
            runner.run(client.__aexit__(None, None, None))


BATCH = 500
"""Rows that are looked up together: enough to keep every connection busy, few enough to see them pass."""


class Rows(Protocol):
    """Rows that were read and checked: those of a file, or of an earlier ledger."""

    @property
    def name(self) -> str: ...

    @property
    def findings(self) -> list[Finding]: ...

    @property
    def checker(self) -> RowChecker: ...

    def __iter__(self) -> Iterator[Row | BadRow]: ...


class LookedUp:
    """A source of rows around another one; use it as that.

    With `match` recipients are names to be found by a search, else they are looked up one by one. With `verify` what
    keeps a message from reaching a person is an error of the row. `people` learns everybody's identifiers.
    """

    def __init__(  # noqa: PLR0913 - what is looked up, where, and how
        self,
        rows: Rows,
        directory: Directory,
        people: IdentityMap,
        *,
        match: Matcher | None,
        verify: bool,
        number_property: str,
    ) -> None:
        self.name = rows.name
        self._rows = rows
        self._directory = directory
        self._people = people
        self._match = match
        self._verify = verify
        self._number_property = number_property

    @property
    def findings(self) -> list[Finding]:
        """What was found about the whole input."""
        return self._rows.findings

    def __iter__(self) -> Iterator[Row | BadRow]:
        """All rows. Raises InputError if the rest cannot be read, ServerError if the directory cannot be asked."""
        rows = iter(self._rows)
        while batch := list(islice(rows, BATCH)):
            yield from self._looked_up(batch)

    def _looked_up(self, batch: Sequence[Row | BadRow]) -> Iterator[Row | BadRow]:
        recipients = [self._recipient(row) for row in batch]
        known = self._ask(recipient for recipient in recipients if recipient is not None)
        for row, recipient in zip(batch, recipients, strict=True):
            yield row if recipient is None else self._settled(row, recipient, known[recipient.key])

    def _recipient(self, row: Row | BadRow) -> Recipient | None:
        """The identifier to look up; also that of an invalid row, so that all of its errors are reported at once."""
        if isinstance(row, Row):
            return row.recipient
        try:
            return self._rows.checker.parse(row.recipient)
        except BadRecipient:
            return None

    def _ask(self, recipients: Iterable[Recipient]) -> dict[str, DirectoryObject | RecipientProblem]:
        """What the directory says of each, by key; nobody is asked about twice."""
        given = {recipient.key: recipient.given for recipient in recipients}
        values = list(given.values())
        if self._match is None:
            answers = self._directory.look_up(values, self._number_property)
        else:
            answers = self._directory.match(self._match, values, self._number_property)
        return dict(zip(given, answers, strict=True))

    def _settled(
        self, row: Row | BadRow, recipient: Recipient, answer: DirectoryObject | RecipientProblem
    ) -> Row | BadRow:
        if isinstance(answer, RecipientProblem):
            return self._refused(row, [answer])
        found = list(recipient_problems(answer, self._number_property)) if self._verify else []
        if found or isinstance(row, BadRow):
            return self._refused(row, found)
        return row._replace(recipient=known_person(self._people, recipient, answer))

    def _refused(self, row: Row | BadRow, found: Sequence[RecipientProblem]) -> Row | BadRow:
        checker = self._rows.checker
        given = row.recipient if isinstance(row, BadRow) else row.recipient.given
        findings = [
            Finding(code, problem, row=row.row, column=checker.recipient_column, value=shortened(given), hint=hint)
            for code, problem, hint in found
        ]
        return checker.refuse_checked(row, findings)


def known_person(people: IdentityMap, given: Recipient, found: DirectoryObject) -> Recipient:
    """The recipient under the key by which this person is known: the first that was seen of all identifiers.

    A name gives way to the person's identifier.
    """
    identifier = identifier_of(found)
    if given.kind is given.kind.NAME and identifier is not None:
        given = parse_recipient(identifier)
    return given._replace(key=people.canonical(list(dict.fromkeys((given.key, *keys_of(found))))))
