"""Records: what goes into a ledger and what it says, as values; the same for every store.

Three kinds: messages, runs and what they prove; what people decide (operator actions); what another shell asks of a
living run, and what it sees of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from bulksms.ledger.selection import Selection
from bulksms.model.message import UNFINISHED, Reason, State
from bulksms.system import operator

EVIDENCE = (
    "succeeded",
    "suspended",
    "started",
    "rejected",
    "unauthenticated",
    "misdirected",
    "never_left",
    "not_processed",
    "server_failed",
    "lost",
    "crashed",
)
"""What an attempt can prove, in the words of the contract."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was planned: the input, its other columns, the fingerprint, and the URL that it is bound to."""

    created_at: str
    input: str
    columns: tuple[str, ...]
    fingerprint: str
    identity: str
    """Its own from the moment it was made, wherever the file goes: two ledgers of the same messages differ in it."""
    summary: dict[str, Any]
    settings: dict[str, Any]
    url: str | None
    deadline: float | None
    """POSIX seconds; None until a run had one."""
    purged_at: str | None = None
    """When names and texts were removed for good; from then on nobody can be sent anything from this ledger."""

    @property
    def planned_by(self) -> str | None:
        """The account that planned it, if another one has to approve it."""
        return self.summary.get("planned_by")

    def awaits_approval(self, actions: "Iterable[AuditEntry]") -> bool:
        """Whether it needs an approval that nobody but its planner, or nobody at all, has given."""
        planner = self.planned_by
        approvals = [action for action in actions if action.action == Action.APPROVE]
        return planner is not None and not any(f"{one.user} on {one.host}" != planner for one in approvals)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One process that worked on the ledger. `ended_at` is None while it lives and after it died."""

    number: int
    started_at: str
    ended_at: str | None
    url: str
    version: str
    user: str
    host: str
    process: int
    settings: dict[str, Any]
    confirmed_by: str
    stopped: str | None
    elapsed_seconds: float | None
    settled: int | None


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of messages in each state; `is_living` says whether a run is working on them now."""

    counts: dict[State, int]
    possible_duplicate: int
    is_living: bool
    crashed: int = 0
    """Found `sending` while no run lives: reported as `unknown`, and the next run has to make them so."""
    attempts: int = 0
    """How many attempts all runs have made."""
    is_log_lost: bool = False
    """Whether a dead run's log is missing: what it left `queued` is reported as `unknown`, too."""

    @property
    def left(self) -> int:
        """Those for which a run has something to do."""
        return self.unfinished + self.crashed

    def to_send(self, *, crashed_too: bool) -> int:
        """How many messages a run would send, `crashed_too` if those that a dead run had under way are sent again."""
        return self.counts[State.QUEUED] + (self.crashed if crashed_too else 0)

    @property
    def total(self) -> int:
        """All messages of the plan."""
        return sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        """Those that a run still has to do something about."""
        return sum(self.counts[state] for state in UNFINISHED)


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """A ledger at one moment, from one opening: what has to be known before a run."""

    plan: Plan
    runs: tuple[RunRecord, ...]
    counts: Counts
    last_attempt_at: float | None
    """POSIX seconds; None if there was no attempt."""
    operator_actions: tuple["AuditEntry", ...]


class MessageRecord(NamedTuple):
    """One message as the ledger knows it, for the report: a tuple, made in a fifth of the time of a dataclass."""

    row: int
    recipient: str
    state: State
    reason: str | None
    attempts: int
    http_status: int | None
    result_type: int | None
    error_code: str | None
    error: str | None
    warnings: tuple[str, ...]
    object_dn: str | None
    operation_id: str | None
    possible_duplicate: bool
    first_attempt_at: float | None
    finished_at: float | None
    latency_ms: float | None
    encoding: str | None
    segments: int | None
    text: str
    other_columns: dict[str, str]


class PossibleRecipient(NamedTuple):
    """Somebody who was, or may have been, sent a message; `row` is that of the ledger's input."""

    row: int
    recipient: str
    key: str
    state: State
    other_columns: dict[str, str]


class DraftRow(NamedTuple):
    """One row of the input as the ledger keeps it; `other_columns` is a JSON object."""

    input_row: int
    recipient: str
    recipient_key: str
    text: str
    other_columns: str
    encoding: str | None
    segments: int | None
    state: State = State.QUEUED
    reason: Reason | None = None
    error_code: str | None = None
    error: str | None = None
    warnings: str | None = None


QueuedRow = tuple[int, str, str, str, str, str, int]
"""The first seven fields of a `DraftRow`: all that there is to say of a row that is to be sent."""


class Repeated(NamedTuple):
    """A row whose recipient is in an earlier row already; `same_text` makes it a duplicate."""

    number: int
    row: int
    first_row: int
    same_text: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """What opening made of the messages that were `sending` when the last run died.

    `state` and `reason` are what the evidence table says of a crash in the chosen delivery mode; a message whose
    `max_attempts` tries are used up becomes `unknown` whatever the mode.
    """

    state: State
    max_attempts: int


class RunStart(NamedTuple):
    """Who runs what, for the ledger's list of runs. `settings` is a JSON object."""

    url: str
    version: str
    user: str
    host: str
    process: int
    settings: str
    confirmed_by: str


class OutcomeRecord(NamedTuple):
    """What becomes of a message.

    `was` is the state that it leaves; `evidence` is what the attempt proved, None if this is not about an attempt.
    """

    state: State
    reason: Reason | None = None
    in_doubt: Reason | None = None
    previous_state: State = State.SENDING
    evidence: str | None = None


class Period(NamedTuple):
    """From the first attempt of a run to its last answer (POSIX seconds)."""

    run: int
    began_at: float
    ended_at: float
    attempts: int


class AttemptHistogram(NamedTuple):
    """The attempts of one run by slot of time: how many began, and what those that ended in it proved."""

    begun: dict[int, int]
    ended: dict[tuple[int, str], int]


class OutcomeGroup(NamedTuple):
    """Messages with the same state, reason and words. `first_row` is the first one's."""

    state: State
    reason: str | None
    http_status: int | None
    error_code: str | None
    words: str | None
    warnings: tuple[str, ...]
    messages: int
    first_row: int


POSSIBLY_SENT = (State.ACCEPTED, State.UNKNOWN, State.PROCESSING, State.AWAITING_APPROVAL, State.SENDING)
"""The states of those who were, or may have been, sent a message. Of those that are queued again, some may have been,
too.
"""


class Action(StrEnum):
    """What was decided."""

    RETRY = "retry"
    RESOLVE = "resolve"
    PURGE = "purge"
    APPROVE = "approve"
    STOP = "stop"
    CANCEL = "cancel"


class Author(NamedTuple):
    """Who decides: operating-system user and host, how it was confirmed, and a note."""

    user: str
    host: str
    confirmed_by: str
    note: str | None = None

    @classmethod
    def here(cls, confirmed_by: str, note: str | None = None) -> "Author":
        """The operator of this process."""
        return cls(*operator(), confirmed_by, note)


class Retry(NamedTuple):
    """Send these again: of the messages `numbers` (None means all of them) those that are selected.

    `expected` is how many of them were counted when the person confirmed. `deadline` (POSIX seconds) replaces the
    plan's, under which expired messages would expire again at once.
    """

    author: Author
    selection: Selection
    numbers: Sequence[int] | None
    expected: int
    deadline: float | None


class Transition(NamedTuple):
    """How many messages one decision moved from one state to another."""

    state_before: State
    reason_before: str | None
    state_after: State
    messages: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision of a person; `decided_at` is ISO 8601 in UTC."""

    number: int
    action: str
    decided_at: str
    user: str
    host: str
    confirmed_by: str
    note: str | None
    transitions: tuple[Transition, ...]


class ControlCommand(StrEnum):
    """What a person in another shell wants of the run."""

    STOP = "stop"
    STOP_NOW = "stop now"
    CANCEL = "cancel"
    PAUSE = "pause"
    """Begin nothing until the run is started again; several machines on one run only."""


class LastStart(NamedTuple):
    """The last start of a plan that a database has noted: its number, 0 if there was none, and the time there now."""

    number: int
    record: str | None
    now: float


class SettledElsewhere(NamedTuple):
    """How many messages the other machines of a run have settled, by how they ended. The numbers only grow."""

    failed: int = 0
    unknown: int = 0
    others: int = 0


class SharedHold(NamedTuple):
    """What the trouble of one machine with the server means for all.

    Nothing leaves for so many `seconds`; 0 is that it goes on, None until the one machine that probes has good answers.
    """

    seconds: float | None


HELD_UNTIL_RELEASED = SharedHold(None)
RELEASED = SharedHold(0.0)


class MachineRecord(NamedTuple):
    """A process that works on a ledger beside others, or was lost: `silent_for` is in seconds.

    `sending` is how many messages it has under way; `status` what it published last, None if there is nothing.
    """

    run: int
    host: str
    process: int
    started_at: str
    silent_for: float
    is_lost: bool
    sending: int
    status: "RunStatus | None"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How fast a run is, and why. Durations in seconds, speeds in messages a second; None means not so, or unknown.

    At most `rate` messages a second may leave, and `concurrency` of at most `ceiling` requests may be in flight;
    `concurrency_reason` explains its last change and is None before the first. Nothing leaves for another `paused_for`
    seconds because of `pause_reason`; `probing` is true from then on until the one message that goes first has a good
    answer. The server has been unavailable for `unavailable_for` seconds, and the run stops in `gives_up_in` seconds if
    it takes nothing until then. `deadline` is a POSIX time. `errors` are the last groups of errors, each with its
    number. `done` is how many messages the run has settled.
    """

    run: int
    elapsed: float
    overall: float | None
    recent: float | None
    concurrency: int
    ceiling: int
    adapts: bool
    in_flight: int
    rate: float | None = None
    concurrency_reason: str | None = None
    paused_for: float | None = None
    pause_reason: str | None = None
    probing: bool = False
    unavailable_for: float | None = None
    gives_up_in: float | None = None
    deadline: float | None = None
    stopping: str | None = None
    errors: tuple[tuple[str, int], ...] = ()
    done: int = 0
