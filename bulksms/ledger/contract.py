"""What a ledger promises, as Protocols: any store that keeps them can carry a run.

Invariants, held by one contract test suite for every store: an attempt is on disk before `record_intent` returns; an
outcome is on disk no later than anything handed over after it; a ledger under its own name is complete; a message is
sent by one run at a time; a reader changes nothing; after a failed write nothing more is written.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger.name import LedgerName
from bulksms.ledger.records import (
    Action,
    AttemptHistogram,
    AuditEntry,
    Author,
    ControlCommand,
    Counts,
    DraftRow,
    LedgerSnapshot,
    MachineRecord,
    MessageRecord,
    OutcomeGroup,
    OutcomeRecord,
    Period,
    Plan,
    PossibleRecipient,
    QueuedRow,
    Recovery,
    Repeated,
    Retry,
    RunRecord,
    RunStart,
    RunStatus,
    SettledElsewhere,
    SharedHold,
)
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.model.attempt import Attempt
from bulksms.model.message import Message, Reason, State

if TYPE_CHECKING:  # a program that only looks at a ledger does not wait for asyncio
    from asyncio import Future

    from bulksms.model.run_settings import StopReason


class Invariant(StrEnum):
    """One that can be checked in the ledger itself, in a person's words."""

    WHOLE = "the file is intact"
    LOG = "the write-ahead log of a run that died is there"
    TYPED = "every value is of its type"
    KNOWN_STATE = "every message is in a known state"
    COUNTED = "the counters agree with the messages"
    DUPLICATES_COUNTED = "the counter of possible duplicates agrees with the messages"
    ATTEMPTS_COUNTED = "the counter of attempts agrees with the messages"
    AS_PLANNED = "recipients and texts are as planned (fingerprint)"
    EVIDENCE = "every attempt that ended has its evidence"
    KNOWN_EVIDENCE = "every attempt proved something known"
    NOT_SENT_AGAIN = "nothing was sent again after the server had taken it"
    CERTAIN = "failed, expired and cancelled messages were certainly not sent"
    DUPLICATES_MARKED = "every message that was attempted after a doubtful attempt is marked as a possible duplicate"
    IN_DOUBT = "every unknown message has the reason for its doubt"
    ALLOWED_DECISIONS = "people moved messages only as people may"
    RESOLVED_BY_DECISION = "everything resolved by hand has its decision in the history"
    RESOLUTION_KEPT = "a message that a person resolved as accepted stays accepted"
    SIGNED = "every decision has its author"
    PURGED = "a purged ledger has no names and texts"
    OPERATION = "every processing message has its operation"
    FINISHED_AT = "every finished message says when"


class Ledger(Protocol):
    """One ledger by its name, whether it exists yet or not. Its methods raise LedgerError if it cannot be used."""

    def is_ledger(self) -> bool:
        """Whether there is a ledger of this name, of any version; False for anything else, or nothing at all."""

    def require_free(self) -> None:
        """Raises PlanError if the name is taken, before a whole input is read for it."""

    def open_reader(self) -> "LedgerReader":
        """Open it for reading, also beside a living run."""

    async def open_for_run(
        self,
        start: RunStart,
        recovery: Recovery,
        retry: Retry | None = None,
        check: "Callable[[LedgerReader], None] | None" = None,
    ) -> "LedgerWriter":
        """Recover it, note the run and, at the first one, the URL to which the plan is bound.

        The messages of `retry` are queued in the same transaction. `check` is called with the ledger as the run finds
        it, before anything of this run is noted; what it raises ends the opening. In a store that takes one run at a
        time the ledger is locked and recovered by then. Raises LedgerLockedError if another run works on it that leaves
        no room for this one, PlanError if there are not as many messages to send again as were counted.
        """

    async def join_run(
        self, start: RunStart, recovery: Recovery, check: "Callable[[LedgerReader], None] | None" = None
    ) -> "LedgerWriter":
        """Work on a run that a person has started on another machine. Raises PlanError if there is none to join."""

    def is_living(self) -> bool:
        """Whether a run is working on it now."""

    def require_log(self) -> None:
        """Raises LedgerError if a dead run's log is missing, so that what looks queued may have been sent."""

    def recover(self, recovery: Recovery, holder: str) -> None:
        """Settle what a dead run left `sending`, while no run lives. Raises LedgerLockedError if one does."""

    def cancel(self, author: Author) -> None:
        """Recover it, withdraw everything `queued`, and keep who did. Raises LedgerLockedError if a run lives."""

    def resolve(self, outcomes: Mapping[int, State], author: Author) -> None:
        """Settle unknown messages by hand: the outcome of each, by its number. All of them, or none.

        Raises PlanError if one of them is not `unknown`, LedgerLockedError if a run lives.
        """

    def approve(self, author: Author) -> None:
        """Write down that somebody approves the plan. Raises LedgerLockedError if a run lives."""

    def purge(self, author: Author) -> None:
        """Remove names and texts for good. After an interruption, repeating it completes it.

        Raises PlanError if a message is not finished, LedgerLockedError if a run lives, LedgerError if a reader keeps
        old pages in use.
        """

    def verify(self) -> list[tuple[str, str]]:
        """Each invariant and what violates it; an empty string where it holds."""

    def remove(self) -> None:
        """Delete the ledger, such as a rehearsal's. Raises LedgerLockedError if a run lives."""

    def send_command(self, command: ControlCommand, author: Author) -> None:
        """Leave a command for the run that works on it, and who gives it."""

    def clear_command(self) -> None:
        """Take a command away that is older than the run, or that no run has read."""

    def accept_failover(self) -> None:
        """Go on after another database server has taken over, of which a person knows that it holds the truth.

        Raises LedgerLockedError while a machine works on it, PlanError if the ledger is in no database.
        """

    def write_status(self, status: RunStatus) -> None:
        """Publish how the run is doing. A failure is ignored: nothing depends on it."""

    def read_status(self, run: int | None) -> RunStatus | None:
        """What this run published last; None if there is nothing, or it is another run's."""

    def remove_status(self) -> None:
        """Withdraw what was published: the run is over."""


class LedgerReader(Protocol):
    """A ledger opened for reading; use it in a `with` block. Its methods raise LedgerError if it cannot be read.

    A message found `sending` while no run lives is reported as `unknown` (`crash`), which the next run makes it.
    """

    @property
    def path(self) -> LedgerName:
        """The name it was opened by."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def one_moment(self) -> AbstractContextManager[None]:
        """Everything that is read in this block is of one moment, also beside a living run."""

    def plan(self) -> Plan:
        """What was planned."""

    def runs(self) -> list[RunRecord]:
        """Every run on this ledger, the first one first."""

    def machines(self) -> list[MachineRecord]:
        """The machines that work on the ledger now or were lost; none where one run at a time works on it."""

    def operator_actions(self) -> list[AuditEntry]:
        """What people decided, the first decision first."""

    def counts(self) -> Counts:
        """How many messages are in each state, by the counters."""

    def snapshot(self) -> LedgerSnapshot:
        """The plan, the runs, the counts and the decisions of one moment."""

    def last_attempt_at(self) -> float | None:
        """When the last attempt began, as a POSIX time; None if there was none."""

    def reasons(self) -> list[tuple[State, str | None, int]]:
        """Messages by state and reason, without those that are accepted or queued; this counts rows."""

    def check_counters(self) -> None:
        """Count the rows. Raises LedgerError if the counters say something else."""

    def messages(self, only: Selection = EVERYTHING) -> Iterator[MessageRecord]:
        """Every message in the input's order, or those that are selected."""

    def messages_of(self, numbers: Iterable[int]) -> Iterator[MessageRecord]:
        """These messages, in the order in which they are asked for."""

    def numbers_in(self, rows: Container[int]) -> dict[int, int]:
        """The messages of these rows of the input: {number: row}."""

    def numbers_of(self, key: str) -> list[int]:
        """The messages to the recipient with this key."""

    def possible_recipients(self) -> Iterator[PossibleRecipient]:
        """Everybody to whom it was or may have been sent, in the input's order; each once, by the first such row."""

    def possibly_sent(self) -> Iterator[tuple[str, str]]:
        """Every message that was sent or may have been: the recipient's key, and the text."""

    def count_queued(
        self, sent: Iterable[tuple[str, str]], again: Selection | None = None, numbers: Sequence[int] | None = None
    ) -> int:
        """How many queued messages have one of these recipients (their keys) and the text beside it.

        With a selection also those that a retry of it would queue: of the messages `numbers`, or of all.
        """

    def has_possible_recipients(self, key: str) -> bool:
        """Whether the recipient with this key is one of `possible_recipients`."""

    def statistics(self) -> "Statistics":
        """What the attempts and messages add up to; best asked in `one_moment`."""


class Statistics(Protocol):
    """A ledger in numbers, bounded by time, outcomes and runs, never by the number of messages."""

    def periods(self) -> list[Period]:
        """Each run that made an attempt, the first one first."""

    def attempt_histogram(self, run: int, since: float, seconds: float) -> AttemptHistogram:
        """What happened in each slot of so many `seconds` from `since` (a POSIX time)."""

    def answer_times(self) -> list[tuple[int, int]]:
        """(milliseconds, number of attempts that were answered in that time), the quickest first."""

    def outcomes(self) -> list[OutcomeGroup]:
        """The messages by outcome and words, the largest group first, and only the largest groups."""

    def one_text(self) -> str | None:
        """The text of all messages if it is the same, else None."""


class LedgerWriter(Protocol):
    """The ledger of a living run. Its methods belong to the event loop's thread and never block it."""

    @property
    def path(self) -> LedgerName:
        """The name it was opened by."""

    @property
    def identity(self) -> str:
        """The ledger's own, as its plan has it."""

    @property
    def run(self) -> int:
        """The number of the run, counted from 1."""

    @property
    def started_at(self) -> str:
        """When the run began, as the ledger has it: ISO 8601 in UTC."""

    @property
    def attempts(self) -> int:
        """How many attempts of all runs are on disk."""

    @property
    def settled_elsewhere(self) -> SettledElsewhere:
        """What the other machines that work on the run have settled, as of the last commit."""

    @property
    def least_ahead(self) -> int:
        """How many messages a run holds ready, at least; what one machine holds ready, no other one sends."""

    @property
    def trouble(self) -> LedgerError | None:
        """Why no intent is taken any more: a write failed, or the ledger is not in its place any more."""

    @property
    def saved_as(self) -> LedgerName | None:
        """After `close`: the ledger in which the run saved what it knows, because its own was not in its place."""

    def record_intent(self, message: Message, now: float) -> "Future[bool]":
        """An attempt is about to be made; await the future before the request may leave.

        False means that it must not: the message is no longer queued, or another machine's. `message` counts this
        attempt already. `now` is a POSIX time in seconds. The future raises LedgerError if the intent is not on disk.
        """

    @property
    def still_mine(self) -> Callable[[], bool] | None:
        """Asked just before a request leaves: whether no other machine can have taken this one for dead.

        None if no other machine can work on the ledger.
        """

    def now(self) -> float:
        """The time that holds for all machines, as a POSIX time in seconds."""

    def record_outcome(self, message: Message, attempt: Attempt, outcome: OutcomeRecord) -> None:
        """An attempt has ended, or the operation that it began. It is on disk no later than what is handed over next.

        Raises ValueError for a move that the states do not allow; the next `record_intent` or `flush` reports a ledger
        that failed.
        """

    def claim(self, state: State, after: int, limit: int, *, again: bool = False) -> "Future[list[Message]]":
        """The next messages in this state whose number is above `after`, in the plan's order.

        Without `again` those that no earlier run has attempted; with `again` those that one has, and others that turn
        up meanwhile. None means that there will never be one: what another machine holds is waited for.
        """

    async def reserve(self, rate: float) -> float:
        """In how many seconds this machine may make one more request, of `rate` a second by all machines together."""

    async def lead(self) -> bool | None:
        """Whether this run is the one that does what one machine does before the others go.

        None while another one is at it, False once that is done. `led` ends it.
        """

    async def led(self) -> None:
        """What was to be done before the others go is done."""

    async def next_news(self) -> "News":
        """The next command of a person, the reason for which every machine stops, or what holds all of them."""

    def share_hold(self, hold: SharedHold) -> None:
        """This machine met trouble of the server that concerns all, or sees it well again; one of them probes."""

    def share_stop(self, reason: "StopReason") -> None:
        """This machine stops for a reason that may concern all of them."""

    async def withdraw(self, state: State, reason: Reason) -> None:
        """Move everything `queued` to this state, or to `unknown` if an earlier attempt may have been processed."""

    async def begin_test(self, recipient: str, now: float) -> str | None:
        """A test message is about to leave; its intent is on disk when this returns.

        Returns the first queued message's text; None if nothing is queued, or an attempt was made already.
        """

    async def end_test(self, attempt: Attempt, evidence: str) -> None:
        """What the attempt to send the test message proved."""

    async def keep_deadline(self, at: float) -> float:
        """Keep the deadline as a moment (POSIX seconds), for all runs; the one that holds, if one was kept before."""

    async def flush(self) -> None:
        """Wait until everything handed over so far is on disk."""

    async def counts(self) -> Counts:
        """How many messages are in each state, including everything handed over so far."""

    async def note_stop(self, action: Action, author: Author) -> None:
        """Keep who stopped the run, or cancelled what was queued."""

    async def end_run(self, stopped: str | None, elapsed: float, settled: int) -> None:
        """Note when and why the run ended, its seconds, and how many messages it settled; only the first end counts."""

    async def close(self) -> None:
        """Wait for everything handed over, and unlock the ledger."""


News: TypeAlias = "tuple[ControlCommand, Author] | StopReason | SharedHold"
"""What a run hears from outside: a command and who gives it, or what another machine shares."""


class Draft(Protocol):
    """A plan under construction, in a `with` block; `keep` gives it its name, otherwise nothing is left behind.

    Its methods raise LedgerError if the disk does not take it.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def add(self, rows: Iterable[DraftRow]) -> None:
        """Write rows of any state, in the input's order."""

    def queue(self, rows: Sequence[QueuedRow]) -> None:
        """Write rows to be sent, in the input's order: the quick way for millions of them."""

    def index(self) -> None:
        """Build the indexes; no row is added afterwards."""

    def repeated(self) -> Iterator[Repeated]:
        """Every queued row whose recipient is in an earlier queued row, in the input's order.

        `first_row` is the first with the same text, or else the recipient's first.
        """

    def skip_duplicates(self, duplicates: Iterable[tuple[int, int]]) -> None:
        """Mark (number, row of the first) as `skipped`: same recipient, same text."""

    def skip_recipients(self, unwanted: Iterable[tuple[str, str]]) -> int:
        """Mark the messages to these (recipient's key, why) as `skipped`; returns their number."""

    def recipient_keys(self) -> Iterator[str]:
        """The key of every recipient to be sent to, in the input's order."""

    def count_queued(self, sent: Iterable[tuple[str, str]]) -> int:
        """How many messages to be sent have one of these recipients (their keys) and the text beside it."""

    def count_queued_for(self, keys: Iterable[str]) -> int:
        """How many messages to be sent are for one of these recipients, whatever their text."""

    def kinds(self) -> dict[str, int]:
        """Messages to be sent by kind of identifier."""

    def sizes(self) -> Counter[tuple[str, int]]:
        """Messages to be sent by (encoding, segments)."""

    def examples(self, first: int, anywhere: int) -> list[tuple[int, str, str, str, int]]:
        """The first messages to be sent and some from anywhere behind them; none at all if `first` is 0.

        Each is (row, recipient, text, encoding, segments).
        """

    def fingerprint(self) -> str:
        """SHA-256 over the length-prefixed (recipient as given, text) of the rows to be sent, in their order.

        A length is eight bytes, most significant first, and counts the UTF-8 bytes that follow.
        """

    def keep(self, *, source: str, columns: list[str], fingerprint: str, summary: str, version: str) -> LedgerName:
        """Put everything on disk, then give the ledger its name. Raises PlanError if the name is taken."""


class FileDraft(Draft, Protocol):
    """One whose ledger is a file."""

    def keep(self, *, source: str, columns: list[str], fingerprint: str, summary: str, version: str) -> Path:
        """As that of any draft."""


def unfinished_error(ledger: LedgerName, unfinished: int) -> PlanError:
    """Why a ledger with something left to send is not purged."""
    return PlanError(
        f"{ledger.name} has {unfinished:,} messages that are not finished; without its text none can be sent.",
        hint=f"First `bulksms resume {ledger}`, or `bulksms cancel {ledger}` to withdraw them.",
    )


def damage_error(path: LedgerName, error: object) -> LedgerError:
    """What to do with a ledger that says something which no program has written."""
    return LedgerError(
        f"The ledger {path.name} is damaged ({error}).",
        hint=f"Keep the file, and put its last good copy in its place. `bulksms verify {path}` says what is wrong; "
        f"`bulksms report {path} --format jsonl` writes the messages that can still be read.",
    )
