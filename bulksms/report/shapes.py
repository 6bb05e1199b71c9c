"""Shapes: every JSON object that the program prints, as a type.

The JSON Schemas (`docs/reference/schemas/`) and the JSON reference are generated from these types, and tests hold real
outputs against them. Invariants: a printed object has all members of its type, in this order; it is ASCII, because a
pipe of Windows PowerShell 5.1 decodes UTF-8 with the console's code page and makes another person of `CN=Müller`.
`format` grows in its second number when a member is added, and in its first when one is changed or removed.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from bulksms.ledger import RunStatus
from bulksms.model.message import State
from bulksms.model.run_settings import StopReason

FORMAT: Literal["1.0"] = "1.0"
Encoding = Literal["GSM-7", "UCS-2"]
Counts = Annotated[dict[State, int], Meta(description="all states, and how many messages are in each")]
Moment = Annotated[str, Meta(description="ISO 8601 UTC")]
Fingerprint = Annotated[str, Meta(description="of the plan: SHA-256 over recipients and texts")]
Input = Annotated[str, Meta(description="what was planned: the input's name")]
Ledger = Annotated[str, Meta(description="the ledger's path")]
PossibleDuplicates = Annotated[
    int, Meta(description="messages attempted again after an attempt that may have been processed")
]
Url = Annotated[str | None, Meta(description="the server that the ledger is bound to, if it is yet")]


class Printed(Struct, kw_only=True, frozen=True):
    """An object that is printed whole."""

    format: Annotated[Literal["1.0"], Meta(description="of this object: it grows with its members")] = FORMAT


class Machine(Struct, kw_only=True, frozen=True):
    """A process that works on a ledger in a database, beside others, or was lost."""

    run: Annotated[int, Meta(description="its number on the ledger")]
    host: str
    process: int
    started_at: Moment
    silent_seconds: Annotated[float, Meta(description="since the database heard of it last")]
    is_lost: Annotated[bool, Meta(description="taken for dead; what it had in flight is unknown, or sent again")]
    in_flight: Annotated[int, Meta(description="messages that it has under way")]
    messages_per_second: Annotated[float | None, Meta(description="settled of late; null if that is not known")]


class Result(Printed, kw_only=True, frozen=True):
    """The state of a ledger: what `send`, `resume`, `retry`, `resolve`, `cancel` and `status` print."""

    ledger: Ledger
    run: Annotated[int | None, Meta(description="the last run on it, counted from 1")]
    input: Input
    url: Url
    fingerprint: Fingerprint
    total: Annotated[int, Meta(description="all messages of the plan")]
    counts: Counts
    possible_duplicate: PossibleDuplicates
    stopped: Annotated[StopReason | None, Meta(description="why the last run stopped before its end")]
    elapsed_seconds: Annotated[float | None, Meta(description="of the last run")]
    messages_per_second: Annotated[float | None, Meta(description="settled by the last run")]
    machines: Annotated[
        list[Machine], Meta(description="that work on it now, or were lost; none for a ledger in a file")
    ]


class Watched(Result, kw_only=True, frozen=True):
    """A line each second of `status --watch`, until the run has ended."""

    pace: Annotated[
        RunStatus | None, Meta(description="how fast the run is, all machines together, and why; null if none is alive")
    ]


class Finding(Struct, kw_only=True, frozen=True):
    """Something that is wrong with an input, or may be."""

    code: Annotated[str, Meta(description="see the list of finding codes")]
    name: Annotated[str, Meta(description="of the code")]
    row: Annotated[int | None, Meta(description="as a spreadsheet shows it; null is about the whole input")]
    column: str | None
    problem: Annotated[str, Meta(description="what is wrong")]
    value: Annotated[str | None, Meta(description="what was found there")]
    hint: Annotated[str | None, Meta(description="what would be right")]


class Warnings(Struct, kw_only=True, frozen=True):
    """The warnings of one code."""

    name: Annotated[str, Meta(description="of the code")]
    count: Annotated[int, Meta(description="how often")]
    first: Annotated[list[Finding], Meta(description="the first of them")]


class Example(Struct, kw_only=True, frozen=True):
    """A message as it would be sent."""

    row: int
    recipient: str
    text: str
    encoding: Encoding
    segments: int


class Overlap(Struct, kw_only=True, frozen=True):
    """What another ledger sent already, or may have, of the messages of a preview: same person, same text."""

    ledger: Ledger
    messages: Annotated[int, Meta(description="of those to be sent")]
    last_attempt_at: Annotated[str | None, Meta(description="ISO 8601 UTC; null if it cannot be known")]


class Preview(Printed, kw_only=True, frozen=True):
    """What would be sent; also printed when the input is refused because of its rows (exit code 3)."""

    input: Input
    url: Annotated[str | None, Meta(description="the server, if one is named yet")]
    fingerprint: Fingerprint
    rows: Annotated[int, Meta(description="of the input")]
    to_send: Annotated[int, Meta(description="messages that a run would send")]
    duplicates: Annotated[int, Meta(description="same person, same text")]
    suppressed: Annotated[int, Meta(description="left out by `--suppress`")]
    bad_rows: Annotated[int, Meta(description="rows that cannot be sent")]
    segments: Annotated[int, Meta(description="SMS segments of all messages")]
    sent_before: Annotated[int, Meta(description="left out by `--not-sent-in`")]
    segments_histogram: Annotated[dict[str, int], Meta(description="messages by their number of segments")]
    encodings: Annotated[dict[str, int], Meta(description="messages by encoding")]
    identifiers: Annotated[dict[str, int], Meta(description="messages by kind of identifier")]
    warnings: Annotated[dict[str, Warnings], Meta(description="by code")]
    sent_elsewhere: Annotated[
        int, Meta(description="messages to be sent that other ledgers known here sent already, or may have")
    ]
    overlaps: Annotated[list[Overlap], Meta(description="the same by ledger")]
    error_count: Annotated[int, Meta(description="all errors")]
    errors: Annotated[list[Finding], Meta(description="the first of them")]
    examples: Annotated[list[Example], Meta(description="messages as they would be sent")]
    workers: Annotated[int | str, Meta(description="requests at once; `auto` finds out")]
    rate: Annotated[float | None, Meta(description="messages a second; null is no limit")]
    seconds: Annotated[list[float], Meta(description="how long sending takes, at best and at worst")]
    learnt_from: Annotated[
        int,
        Meta(
            description="runs of this user to this server whose speed `seconds` is from; 0 is not known yet: then a "
            "call is supposed to take 0.5 to 2 s"
        ),
    ]


class CheckStep(Struct, kw_only=True, frozen=True):
    """One step on the way to the server."""

    step: Annotated[str, Meta(description="such as `dns`")]
    ok: bool
    message: Annotated[str, Meta(description="what was found")]
    hint: Annotated[str | None, Meta(description="what to do about it")]


class Check(Printed, kw_only=True, frozen=True):
    """What `check` found."""

    ok: Annotated[bool, Meta(description="every step that was tried went well")]
    steps: Annotated[list[CheckStep], Meta(description="up to the first that failed")]


class Invariant(Struct, kw_only=True, frozen=True):
    """Something that must be true of every ledger."""

    invariant: Annotated[str, Meta(description="in words")]
    violation: Annotated[
        str | None,
        Meta(description="what violates it: the numbers of messages, or SQLite's words; null where it holds"),
    ]


class Verification(Printed, kw_only=True, frozen=True):
    """What `verify` found."""

    ledger: Ledger
    ok: Annotated[bool, Meta(description="all invariants hold")]
    invariants: list[Invariant]


class SettingValue(Struct, kw_only=True, frozen=True, rename={"origin": "from"}):
    """The value of one setting."""

    value: str | float | bool | list[str] | None
    origin: Annotated[
        str, Meta(description="the flag, the variable, the file or the ledger that gives it, or `default`")
    ]


class CredentialsSource(Struct, kw_only=True, frozen=True, rename={"origin": "from"}):
    """Which credentials a run would use."""

    kind: Literal["access token", "account"]
    origin: Annotated[str, Meta(description="the flag, the variable or the setting that names it")]


class Configuration(Printed, kw_only=True, frozen=True):
    """What `config` shows."""

    file: Annotated[str | None, Meta(description="the settings file that is read")]
    settings: Annotated[dict[str, SettingValue], Meta(description="all of them, by name")]
    credentials: Annotated[CredentialsSource | None, Meta(description="what a run would use; never a secret itself")]


class LedgerEntry(Struct, kw_only=True, frozen=True):
    """One ledger of a folder."""

    ledger: Ledger
    planned_at: Moment
    input: Input
    url: Url
    fingerprint: Fingerprint
    total: Annotated[int, Meta(description="all messages of the plan")]
    counts: Counts
    possible_duplicate: PossibleDuplicates
    left: Annotated[int, Meta(description="for which a run has something to do")]
    runs: Annotated[int, Meta(description="how many there were")]
    last_run_at: Annotated[str | None, Meta(description="ISO 8601 UTC")]
    ended: Annotated[str, Meta(description="how the last run ended")]
    last_used_at: Moment
    rehearsal: bool
    purged_at: Annotated[str | None, Meta(description="ISO 8601 UTC")]


class Unreadable(Struct, kw_only=True, frozen=True):
    """A file that should be a ledger."""

    file: str
    problem: str


class History(Printed, kw_only=True, frozen=True):
    """What `history` found."""

    folder: Annotated[str, Meta(description="where it looked")]
    ledgers: Annotated[list[LedgerEntry], Meta(description="the earliest first")]
    unreadable: list[Unreadable]


class RunEntry(Struct, kw_only=True, frozen=True):
    """One run on a ledger."""

    run: Annotated[int, Meta(description="its number, counted from 1")]
    started_at: Moment
    ended_at: Annotated[str | None, Meta(description="null while it lives, and after it was killed")]
    is_living: bool
    stopped: Annotated[StopReason | None, Meta(description="why it stopped before its end")]
    user: Annotated[str, Meta(description="of the operating system")]
    host: str
    process: int
    account: Annotated[str | None, Meta(description="that logged in; null for an access token")]
    url: str
    version: Annotated[str, Meta(description="of bulksms")]
    options: Annotated[dict[str, Any], Meta(description="those that are not the default")]
    confirmed_by: str
    stopped_by: Annotated[str | None, Meta(description="who stopped it, where and with what, if a person did")]
    elapsed_seconds: float | None
    settled: Annotated[int | None, Meta(description="messages that it settled")]
    messages_per_second: float | None


class Runs(Printed, kw_only=True, frozen=True):
    """What `report --runs` lists."""

    ledger: Ledger
    runs: Annotated[list[RunEntry], Meta(description="the first one first")]


class ReportLine(Struct, kw_only=True, frozen=True):
    """A message of the report; the input's other columns follow, as texts. It has the columns of the CSV alone."""

    row: Annotated[int, Meta(description="of the input")]
    recipient: Annotated[str, Meta(description="as given")]
    status: State
    reason: Annotated[str | None, Meta(description="one of the reasons")]
    attempts: Annotated[int, Meta(description="requests made for it")]
    http_status: Annotated[int | None, Meta(description="of the last answer")]
    result_type: Annotated[
        int | None, Meta(description="of the last operation result: 0 succeeded, 1 failed, 2 suspended")
    ]
    error_code: Annotated[str | None, Meta(description="the API's code, or how the exchange broke off")]
    error: Annotated[str | None, Meta(description="in the words of the server or of the connection")]
    warnings: Annotated[list[str], Meta(description="the server's")]
    object_dn: Annotated[str | None, Meta(description="the object that the server sent to")]
    operation_id: Annotated[str | None, Meta(description="of a slow send")]
    possible_duplicate: bool
    first_attempt_at: Annotated[str | None, Meta(description="ISO 8601 UTC")]
    finished_at: Annotated[str | None, Meta(description="ISO 8601 UTC")]
    latency_ms: Annotated[float | None, Meta(description="of the last answer")]
    encoding: Encoding | None
    segments: int | None
    text: str


class LogEvent(Struct, kw_only=True, frozen=True):
    """A line of `--log-format json`; what there is to say of the event, such as the row, comes beside these."""

    event: Annotated[str, Meta(description="what happened")]
    level: Literal["debug", "info", "warning", "error"]
    timestamp: Moment


OPEN = (ReportLine, LogEvent)
"""Types whose objects may have more members than are named here."""
SHAPES: Mapping[str, tuple[type[Struct], tuple[str, ...]]] = {
    "result": (
        Result,
        (
            *("send --json", "resume --json", "retry --json", "resolve --json"),
            *("status --json", "cancel --json"),
        ),
    ),
    "watched": (Watched, ("status --watch --json",)),
    "preview": (Preview, ("plan --json", "send --dry-run --json")),
    "check": (Check, ("check --json",)),
    "verification": (Verification, ("verify --json",)),
    "configuration": (Configuration, ("config --json",)),
    "history": (History, ("history --json",)),
    "runs": (Runs, ("report --runs --json",)),
    "report-line": (ReportLine, ("report --format jsonl",)),
    "log-event": (LogEvent, ("--log-format json",)),
}
"""Each printed type by the name of its schema, and the commands that print it."""


def as_json(value: object, *, indent: int | None = None) -> str:
    """The object as ASCII, with escapes for what is above it, so that no code page can change it."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True, indent=indent)


def schema(kind: type[Struct]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a printed type."""
    made = msgspec.json.schema(kind)
    for name, definition in made["$defs"].items():
        if name not in {one.__name__ for one in OPEN} and "properties" in definition:
            definition["additionalProperties"] = False
            # Defaults are the program's own: every member is always printed.
            definition["required"] = list(definition["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
