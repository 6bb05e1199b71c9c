"""Looking up: what the command line asks the directory about the recipients, before anything is sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from bulksms.adaxes import Endpoint
from bulksms.cli.settings.endpoint import EndpointOptions, from_environment
from bulksms.cli.settings.setting import on_command_line
from bulksms.config import RunSettings
from bulksms.directory import SIZE_LIMIT, Directory, GroupMembers, LookedUp, Settings, connected
from bulksms.directory.looked_up import Rows
from bulksms.errors import UsageError
from bulksms.intake import InputOptions, Match
from bulksms.ledger.people import People

NUMBER_PROPERTY = "mobile"
"""Where Adaxes takes numbers from unless it is told otherwise (Adaxes REST API, "Send SMS")."""
LOOK_UP_OPTIONS = ("verify_recipients", "match", "group", "number_property", "direct_only", "size_limit")


@dataclass(frozen=True, slots=True)
class LookUpChoice:
    """What is looked up, where and as whom."""

    endpoint: Endpoint
    settings: Settings
    verify: bool
    number_property: str
    match: Match | None
    groups: tuple[str, ...]
    direct_only: bool
    size_limit: int

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self | None:
        """Take the values of `look_up_options` together; None if nothing is to be looked up.

        Raises UsageError if they contradict each other, or there is no URL or nobody to ask as. May ask for a token.
        """
        _require_sense(values)
        verify = values["verify_recipients"] and not values.get("sandbox")
        match = None if values["group"] or values["told_in"] else values["match"]
        if not (verify or match or values["group"]):
            return None
        options = EndpointOptions.of(values)
        endpoint = from_environment(options, options.url_or(None))
        run = RunSettings().changed(values)
        client = endpoint.client_settings(run.workers, run.timeout)
        return cls(
            endpoint,
            Settings(client, endpoint.credentials, run.rate),
            verify=verify,
            number_property=values["number_property"] or NUMBER_PROPERTY,
            match=match,
            groups=values["group"],
            direct_only=values["direct_only"],
            size_limit=values["size_limit"] or SIZE_LIMIT,
        )

    @contextmanager
    def members(self, options: InputOptions, people: People) -> Iterator[GroupMembers]:
        """The members of the groups, which are read at once."""
        with connected(self.settings, lambda _: None) as directory:
            yield GroupMembers(
                self.groups,
                options,
                directory,
                people,
                direct_only=self.direct_only,
                size_limit=self.size_limit,
                verify_by=self.number_property if self.verify else None,
            )

    @contextmanager
    def looked_up(self, rows: Rows, people: People, told: Callable[[int], None]) -> Iterator[LookedUp]:
        """The rows with everybody looked up; `told` is called with how many more there are."""
        with connected(self.settings, told) as directory:
            yield self._around(rows, directory, people)

    def _around(self, rows: Rows, directory: Directory, people: People) -> LookedUp:
        return LookedUp(
            rows,
            directory,
            people,
            match=self.match,
            verify=self.verify,
            number_property=self.number_property,
        )


def _require_sense(values: dict[str, Any]) -> None:
    """Raises UsageError for an option that could do nothing."""
    for name, option in (("direct_only", "--direct-only"), ("size_limit", "--size-limit")):
        if on_command_line(name) and not values["group"]:
            raise UsageError(f"{option} is about the members of a group.", hint="Add --group, or leave it out.")
    if on_command_line("number_property") and not values["verify_recipients"]:
        raise UsageError(
            "--number-property is about recipients that are verified.", hint="Add --verify-recipients, or leave it out."
        )
    if on_command_line("match") and (values["group"] or values["told_in"]):
        raise UsageError("--match is about the names in an input file.", hint="Name the file, or leave --match out.")
    if values.get("sandbox") and (on_command_line("verify_recipients") or values["match"] or values["group"]):
        raise UsageError(
            "The stand-in server of a rehearsal knows nobody, so there is nothing to look up.",
            hint="Rehearse with the file alone; --dry-run looks people up on the real server and sends nothing.",
        )


def require_a_use() -> None:
    """Raises UsageError for an option about a server that is not asked anything."""
    for name in ("token_file", "password_file", "username", "ca_file", "proxy", "insecure_http"):
        if on_command_line(name):
            raise UsageError(
                f"--{name.replace('_', '-')} is about the server, and a plan asks it only for look-ups.",
                hint="Add --verify-recipients, --match or --group, or leave it out.",
            )
