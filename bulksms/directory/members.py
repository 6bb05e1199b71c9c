"""Members: the people of groups as the rows of a plan, and their properties as columns for the template.

Laws: one row a person, however many groups name them. The order does not depend on the server, so that the same people
make the same plan. Whoever may be missing is said.
"""

from collections.abc import Iterator, Sequence

from bulksms.adaxes import DirectoryObject, Listing
from bulksms.directory.connection import Directory
from bulksms.directory.judging import PERSONS, Flaw, flaws, identifier_of
from bulksms.directory.looked_up import known_person
from bulksms.errors import UsageError
from bulksms.intake import BadRow, Finding, InputOptions, Row, RowChecker
from bulksms.intake.finding import refused, shortened
from bulksms.intake.options import check_options
from bulksms.intake.template import Template, folded
from bulksms.ledger.people import People
from bulksms.recipient import BadRecipient, parse_recipient

SIZE_LIMIT = 10_000
"""Members of a group, unless more are asked for: a mistaken group should not be everybody."""
SERVERS_OWN_LIMIT = 1_000
"""Where older servers stop, whatever was asked for."""
RECIPIENT_COLUMN = "directoryObject"
NAME_COLUMN = "displayName"
"""Kept of everybody, for whoever reads the report: a GUID names nobody."""


class GroupMembers:
    """The members of groups; what is wrong with a group is raised when it is made, for its members are read then."""

    def __init__(  # noqa: PLR0913 - whose members, and how they are looked at
        self,
        groups: Sequence[str],
        options: InputOptions,
        directory: Directory,
        people: People,
        *,
        direct_only: bool = False,
        size_limit: int = SIZE_LIMIT,
        verify_by: str | None = None,
    ) -> None:
        """Read the members; `verify_by` is the property of the number that everybody must have.

        Raises:
            InputRefused: a group is not there, has nobody or too many, or the text is too long.
            ServerTrouble: the directory cannot be asked.
            UsageError: an identifier is none, or the text is no good template.

        """
        check_options(options, "jsonl")
        self.name = "members of " + ", ".join(groups)
        self._people = people
        self._verify_by = verify_by
        names = _properties(options)
        self._recipient_column = RECIPIENT_COLUMN
        while folded(self._recipient_column) in map(folded, names):
            self._recipient_column += "_"
        self.columns = (self._recipient_column, *names)
        own = InputOptions(
            recipient_column=self._recipient_column,
            text=options.text,
            no_template=options.no_template,
            max_segments=options.max_segments,
            gsm7_replace=options.gsm7_replace,
        )
        self.checker = RowChecker(self.columns, own, name=self.name)
        self._found: list[Finding] = []
        asked = names if verify_by is None else (*names, verify_by)
        members: dict[str, DirectoryObject] = {}
        for group in groups:
            listing = directory.members(_group(group), asked, direct_only=direct_only, size_limit=size_limit + 1)
            for member in self._persons(group, listing, size_limit):
                members.setdefault(identifier_of(member) or "", member)
        if not members:
            raise refused("E002", f"There are no {self.name}", "is it the right group, and may the account see them?")
        self._members = sorted(members.values(), key=lambda member: (member.dn or "").casefold() or member.guid or "")

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

    def _persons(self, group: str, listing: Listing, size_limit: int) -> Iterator[DirectoryObject]:
        if listing.objects is None:
            said = listing.attempt.error or f"the server answered {listing.attempt.status}"
            raise refused("E013", f"The members of {group} cannot be read: {said}", "give the group's DN, GUID or SID")
        count = len(listing.objects)
        if count > size_limit:
            sentence = f"{group} has more than {size_limit:,} members"
            raise refused("E014", sentence, "if that is meant, raise --size-limit")
        if count == SERVERS_OWN_LIMIT:
            problem = f"{shortened(group)} has exactly {count:,} members, where older servers stop; some may be missing"
            self._found.append(Finding("W210", problem, hint="compare it with the group itself, or use its subgroups"))
        others = 0
        for member in listing.objects:
            if member.object_type is None or member.object_type in PERSONS:
                yield member
            else:
                others += 1
        if others:
            problem = f"{others:,} members of {shortened(group)} are neither users nor contacts and are left out"
            hint = "a group among them counts by its members, unless --direct-only is given"
            self._found.append(Finding("W211", problem, hint=hint))

    def _row(self, number: int, member: DirectoryObject) -> Row | BadRow:
        values = {name: member.properties.get(name, "") for name in self.columns[1:]}
        values[NAME_COLUMN] = values[NAME_COLUMN] or member.display_name or ""
        row = self.checker.check_row(number, {self._recipient_column: identifier_of(member) or "", **values})
        wrong: list[Flaw] = [] if self._verify_by is None else list(flaws(member, self._verify_by))
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
    template = Template(options.text or "", literal=options.no_template)
    names = {folded(NAME_COLUMN): NAME_COLUMN}
    for placeholder in template.placeholders:
        names.setdefault(folded(placeholder.name), placeholder.name)
    return tuple(names.values())


def _group(identifier: str) -> str:
    try:
        return parse_recipient(identifier).given
    except BadRecipient as bad:
        raise UsageError(
            f"--group {identifier!r} names no group: {bad}.", hint="Give its DN, GUID or SID, as Adaxes shows it."
        ) from None
