"""Audience: the people of groups, organizational units and searches as the rows of a plan.

Their properties are columns for the template. Invariants: one row a person, however many parts name them, with the
parts that do. The order does not depend on the server, so that the same people make the same plan. A warning says who
may be missing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bulksms.adaxes import (
    Client,
    DirectoryObject,
    Listing,
    everybody,
    group_members,
    search,
    search_by_filter,
)
from bulksms.directory.lookup import Directory, known_person
from bulksms.directory.verification import PERSONS, RecipientProblem, identifier_of, keys_of, recipient_problems
from bulksms.errors import UsageError
from bulksms.input import BadRow, Finding, InputOptions, Row, RowChecker, options_for_rows
from bulksms.input.finding import refused, shortened
from bulksms.input.options import check_options
from bulksms.input.template import Template, folded
from bulksms.model.recipient import BadRecipient, IdentifierKind, parse_recipient
from bulksms.planning.follow_up import IdentityMap

SIZE_LIMIT = 10_000
"""People of a part, unless more are asked for: a mistaken group should not be everybody."""
SERVERS_OWN_LIMIT = 1_000
"""Where older servers stop, whatever was asked for."""
RECIPIENT_COLUMN = "directoryObject"
ORIGIN_COLUMN = "audience"
"""Which parts of the audience name a person, where there are several."""
NAME_COLUMN = "displayName"
"""Kept of everybody for the readers of the report, because a GUID names nobody."""


@dataclass(frozen=True, slots=True)
class Group:
    """The members of a group, by default those of the groups in it as well."""

    identifier: str
    direct_only: bool = False
    hint: ClassVar[str] = "give the group's DN, GUID or SID"

    def __post_init__(self) -> None:
        """Raises UsageError for an identifier that is none."""
        try:
            parse_recipient(self.identifier)
        except BadRecipient as bad:
            raise UsageError(
                f"--group {self.identifier!r} names no group: {bad}.",
                hint="Give its DN, GUID or SID, as Adaxes shows it.",
            ) from None

    def __str__(self) -> str:
        return f"members of {self.identifier}"

    async def ask(self, client: Client, properties: tuple[str, ...], size_limit: int) -> Listing:
        """The members, as the server answers."""
        group = parse_recipient(self.identifier).given
        return await group_members(client, group, properties, direct_only=self.direct_only, size_limit=size_limit)


@dataclass(frozen=True, slots=True)
class OrganizationalUnit:
    """The users in an organizational unit or container; with `subtree` also those of the units below it."""

    identifier: str
    subtree: bool = False
    hint: ClassVar[str] = "give the DN or GUID of the organizational unit"

    def __post_init__(self) -> None:
        """Raises UsageError for an identifier that is none."""
        try:
            kind = parse_recipient(self.identifier).kind
        except BadRecipient as bad:
            raise UsageError(f"--ou {self.identifier!r} names no organizational unit: {bad}.", hint=_OU_HINT) from None
        if kind is IdentifierKind.SID:
            raise UsageError(f"--ou {self.identifier!r} is a SID, and organizational units have none.", hint=_OU_HINT)

    def __str__(self) -> str:
        return f"users {'below' if self.subtree else 'in'} {self.identifier}"

    async def ask(self, client: Client, properties: tuple[str, ...], size_limit: int) -> Listing:
        """The users, as the server answers."""
        base = parse_recipient(self.identifier).given
        return await search(
            client,
            everybody(),
            properties,
            base_object=base,
            one_level=not self.subtree,
            size_limit=size_limit,
        )


_OU_HINT = "Give its DN, such as OU=Hall 3,DC=example,DC=com."


@dataclass(frozen=True, slots=True)
class Search:
    """The users and contacts that an LDAP filter selects, or criteria as Adaxes copies them to the clipboard (JSON)."""

    condition: str
    hint: ClassVar[str] = "try the filter in Adaxes"

    def __post_init__(self) -> None:
        """Raises UsageError for what is neither a filter nor criteria."""
        problem = None
        if self.condition.lstrip().startswith("{"):
            problem = _problem_of_criteria(self.condition)
        elif not _is_balanced(self.condition.strip()):
            problem = "its brackets do not match"
        if problem is not None:
            raise UsageError(
                f"--search {shortened(self.condition)!r} is no LDAP filter: {problem}.",
                hint="A filter looks like (department=Sales) or (&(objectCategory=person)(l=Berlin)).",
            )

    def __str__(self) -> str:
        return f"people found by {shortened(self.condition)}"

    async def ask(self, client: Client, properties: tuple[str, ...], size_limit: int) -> Listing:
        """The hits, as the server answers."""
        condition = self.condition.strip()
        if condition.startswith("{"):
            return await search(client, json.loads(condition), properties, size_limit=size_limit)
        return await search_by_filter(client, condition, properties, size_limit=size_limit)


def _problem_of_criteria(condition: str) -> str | None:
    try:
        value = json.loads(condition)
    except ValueError as error:
        return f"the JSON of the criteria cannot be read, {error}"
    return None if isinstance(value.get("objectTypes"), list) else "criteria have a member objectTypes"


def _is_balanced(condition: str) -> bool:
    depth = 0
    for character in condition:
        depth += (character == "(") - (character == ")")
        if depth <= 0 and character != ")":
            return False
    return depth == 0 and condition.startswith("(")


Part = Group | OrganizationalUnit | Search


class Audience:
    """The people of the parts; what is wrong with a part is raised when it is made, for the people are read then."""

    def __init__(  # noqa: PLR0913 - whose members, and how they are looked at
        self,
        parts: Sequence[Part],
        options: InputOptions,
        directory: Directory,
        people: IdentityMap,
        *,
        size_limit: int = SIZE_LIMIT,
        verify_by: str | None = None,
    ) -> None:
        """Read the people; `verify_by` is the property of the number that everybody must have.

        Raises:
            InputError: a part is not there, has nobody or too many, or the text is too long.
            ServerError: the directory cannot be asked.
            UsageError: the text is no valid template.

        """
        check_options(options, "jsonl")
        self.name = " and ".join(map(str, parts))
        self._people = people
        self._verify_by = verify_by
        names = _properties(options)
        self._recipient_column = _free(RECIPIENT_COLUMN, names)
        self._origin_column = _free(ORIGIN_COLUMN, names) if len(parts) > 1 else None
        self.columns = (self._recipient_column, *names, *filter(None, (self._origin_column,)))
        self.checker = RowChecker(self.columns, options_for_rows(options, self._recipient_column), name=self.name)
        self._names = names
        self._found: list[Finding] = []
        self._members: list[DirectoryObject] = []
        self._origins: dict[str, list[str]] = {}
        asked = names if verify_by is None else (*names, verify_by)
        for part in parts:
            listing = directory.audience(part, asked, size_limit=size_limit + 1)
            for member in self._persons(part, listing, size_limit):
                origins = self._origins.setdefault(identifier_of(member) or "", [])
                if not origins:
                    self._members.append(member)
                origins.append(str(part))
        if not self._members:
            raise refused("E002", f"There are no {self.name}", "is it the right one, and may the account see them?")
        self._members.sort(key=lambda member: (member.dn or "").casefold() or member.guid or "")

    @property
    def findings(self) -> list[Finding]:
        """What was found about the groups and all rows so far. A property called text is no choice that was missed."""
        return [*self._found, *(finding for finding in self.checker.findings if finding.code != "W202")]

    def __iter__(self) -> Iterator[Row | BadRow]:
        """One row a person, counted from 1."""
        for number, member in enumerate(self._members, 1):
            yield self._row(number, member)

    def __len__(self) -> int:
        return len(self._members)

    def _persons(self, part: Part, listing: Listing, size_limit: int) -> Iterator[DirectoryObject]:
        what = str(part)
        if listing.objects is None:
            words = listing.attempt.error or f"the server answered {listing.attempt.status}"
            raise refused("E013", f"The {what} cannot be read: {words}", part.hint)
        count = len(listing.objects)
        if count > size_limit:
            raise refused("E014", f"There are more than {size_limit:,} {what}", "if that is meant, raise --size-limit")
        if count == SERVERS_OWN_LIMIT:
            problem = f"there are exactly {count:,} {shortened(what)}, where older servers stop; some may be missing"
            self._found.append(Finding("W210", problem, hint="compare it with the directory, or name smaller parts"))
        others = 0
        for member in listing.objects:
            if member.object_type is None or member.object_type in PERSONS:
                yield member
            else:
                others += 1
        if others:
            problem = f"{others:,} of the {shortened(what)} are neither users nor contacts and are left out"
            hint = "a group among them counts by its members, unless --direct-only is given"
            self._found.append(Finding("W211", problem, hint=hint))

    def _row(self, number: int, member: DirectoryObject) -> Row | BadRow:
        values = {name: member.properties.get(name, "") for name in self._names}
        values[NAME_COLUMN] = values[NAME_COLUMN] or member.display_name or ""
        if self._origin_column is not None:
            values[self._origin_column] = "; ".join(self._origins[identifier_of(member) or ""])
        row = self.checker.check_row(number, {self._recipient_column: identifier_of(member) or "", **values})
        wrong: list[RecipientProblem] = (
            [] if self._verify_by is None else list(recipient_problems(member, self._verify_by))
        )
        if wrong:
            given = shortened(identifier_of(member) or "")
            findings = [
                Finding(code, problem, row=number, column=self._recipient_column, value=given, hint=hint)
                for code, problem, hint in wrong
            ]
            return self.checker.refuse_checked(row, findings)
        if isinstance(row, BadRow):
            return row
        return row._replace(recipient=known_person(self._people, row.recipient, member))


def _properties(options: InputOptions) -> tuple[str, ...]:
    """The properties that the text asks for, each once; and the name."""
    template = Template(options.text or "", literal=options.no_template).filled(options.values)
    names = {folded(NAME_COLUMN): NAME_COLUMN}
    for placeholder in template.placeholders:
        names.setdefault(folded(placeholder.name), placeholder.name)
    return tuple(names.values())


def _free(name: str, taken: Sequence[str]) -> str:
    """The name of a column, with underscores if a property has it."""
    while folded(name) in map(folded, taken):
        name += "_"
    return name


def excluded(parts: Sequence[Group], directory: Directory, size_limit: int) -> Iterator[tuple[str, str]]:
    """The keys of everybody in groups that are left out, and why. Raises InputError, ServerError."""
    for part in parts:
        listing = directory.audience(part, (), size_limit=size_limit + 1)
        if listing.objects is None:
            words = listing.attempt.error or f"the server answered {listing.attempt.status}"
            raise refused("E013", f"The {part} cannot be read: {words}", part.hint)
        if len(listing.objects) > size_limit or listing.cut:
            sentence = f"There may be more {part} than the {len(listing.objects):,} that the server gave"
            raise refused("E014", sentence, "raise --size-limit, or name smaller groups")
        for member in listing.objects:
            for key in keys_of(member):
                yield key, f"left out: {part}"
