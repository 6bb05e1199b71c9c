"""Lookups: what the command line asks the directory about the recipients, before anything is sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from bulksms.adaxes import Endpoint
from bulksms.cli.options.endpoint import base_url, resolve
from bulksms.cli.options.groups import EndpointOptions, LookupOptions
from bulksms.cli.options.groups import InputOptions as InputFlags
from bulksms.directory import (
    Audience,
    Directory,
    Group,
    LookedUp,
    Matcher,
    OrganizationalUnit,
    Part,
    Search,
    Settings,
    connected,
    excluded,
)
from bulksms.directory.lookup import Rows
from bulksms.errors import UsageError
from bulksms.input import InputOptions
from bulksms.input.telephone import is_country, is_telephone_property
from bulksms.model.run_settings import RunSettings
from bulksms.planning.follow_up import IdentityMap


@dataclass(frozen=True, slots=True)
class LookUpChoice:
    """What is looked up, where and as whom."""

    endpoint: Endpoint
    settings: Settings
    verify: bool
    number_property: str
    match: str | None
    country: str | None
    parts: tuple[Part, ...]
    """The audience, if it takes the place of an input file."""
    not_groups: tuple[Group, ...]
    size_limit: int

    @classmethod
    def of(
        cls,
        options: LookupOptions,
        source: InputFlags,
        endpoint_options: EndpointOptions,
        run: RunSettings,
        *,
        is_rehearsal: bool = False,
    ) -> Self | None:
        """What these options ask of the directory; None if nothing is to be looked up.

        Raises UsageError if they contradict each other, or there is no URL or nobody to ask as. May ask for a token.
        """
        _require_sense(options, source, is_rehearsal=is_rehearsal)
        verify = options.verify_recipients and not is_rehearsal
        parts = _parts(options)
        match = None if parts or source.sent_in else options.match
        if not (verify or match or parts or options.not_group):
            return None
        endpoint = resolve(endpoint_options, base_url(endpoint_options))
        client = endpoint.client_settings(run.workers, run.timeout)
        return cls(
            endpoint,
            Settings(client, endpoint.credentials, run.rate),
            verify=verify,
            number_property=options.number_property,
            match=match,
            country=options.country,
            parts=parts,
            not_groups=tuple(Group(group, options.direct_only) for group in options.not_group),
            size_limit=options.size_limit,
        )

    @contextmanager
    def audience(self, options: InputOptions, people: IdentityMap) -> Iterator[Audience]:
        """The people of the audience, who are read at once."""
        with connected(self.settings, lambda _: None) as directory:
            yield Audience(
                self.parts,
                options,
                directory,
                people,
                size_limit=self.size_limit,
                verify_by=self.number_property if self.verify else None,
            )

    def excluded(self) -> list[tuple[str, str]]:
        """The keys of everybody who is left out, and why."""
        if not self.not_groups:
            return []
        with connected(self.settings, lambda _: None) as directory:
            return list(excluded(self.not_groups, directory, self.size_limit))

    @property
    def asks_about_rows(self) -> bool:
        """Whether the rows of an input are looked up."""
        return self.verify or self.match is not None

    @contextmanager
    def looked_up(self, rows: Rows, people: IdentityMap, progress: Callable[[int], None]) -> Iterator[LookedUp]:
        """The rows with everybody looked up; `progress` is called with how many more there are."""
        with connected(self.settings, progress) as directory:
            yield self._around(rows, directory, people)

    def _around(self, rows: Rows, directory: Directory, people: IdentityMap) -> LookedUp:
        return LookedUp(
            rows,
            directory,
            people,
            match=None if self.match is None else Matcher(self.match, self.country),
            verify=self.verify,
            number_property=self.number_property,
        )


def _require_sense(options: LookupOptions, source: InputFlags, *, is_rehearsal: bool) -> None:
    """Raises UsageError for an option that could do nothing."""
    is_audience = bool(options.group or options.ou or options.search)
    if options.on_command_line("direct_only") and not (options.group or options.not_group):
        raise UsageError("--direct-only is about the members of a group.", hint="Add --group, or leave it out.")
    if options.on_command_line("size_limit") and not (is_audience or options.not_group):
        raise UsageError("--size-limit is about groups and searches.", hint="Add --group, --ou or --search.")
    if options.subtree and not options.ou:
        raise UsageError("--subtree is about an organizational unit.", hint="Add --ou, or leave it out.")
    if options.on_command_line("number_property") and not options.verify_recipients:
        raise UsageError(
            "--number-property is about recipients that are verified.", hint="Add --verify-recipients, or leave it out."
        )
    if options.on_command_line("match") and (is_audience or source.sent_in):
        raise UsageError("--match is about the names in an input file.", hint="Name the file, or leave --match out.")
    _require_country(options)
    if is_rehearsal and (
        options.on_command_line("verify_recipients") or options.match or is_audience or options.not_group
    ):
        raise UsageError(
            "The simulator of a rehearsal knows nobody, so there is nothing to look up.",
            hint="Rehearse with the file alone; --dry-run looks people up on the real server and sends nothing.",
        )


def _require_country(options: LookupOptions) -> None:
    if options.country is None:
        return
    if options.on_command_line("country") and not (options.match and is_telephone_property(options.match)):
        raise UsageError("--country is about telephone numbers.", hint="Add --match mobile, or leave it out.")
    if options.match and is_telephone_property(options.match) and not is_country(options.country):
        raise UsageError(
            f"There is no country {options.country!r}.", hint="Give its code of two letters, such as DE, AT or CH."
        )


def _parts(options: LookupOptions) -> tuple[Part, ...]:
    """The parts of the audience. Raises UsageError for one that cannot be."""
    return (
        *(Group(group, options.direct_only) for group in options.group),
        *(OrganizationalUnit(unit, options.subtree) for unit in options.ou),
        *map(Search, options.search),
    )


def require_a_use(options: EndpointOptions) -> None:
    """Raises UsageError for an option about a server that is not asked anything."""
    for name in ("token_file", "password_file", "username", "ca_file", "proxy", "insecure_http"):
        if options.on_command_line(name):
            raise UsageError(
                f"--{name.replace('_', '-')} is about the server, and a plan asks it only for look-ups.",
                hint="Add --verify-recipients, --match, --group, --ou or --search, or leave it out.",
            )
