"""Triage: the messages that need a person, grouped by what to do about them, and the people to reach by other means.

Pure. A person's name, number and address are in the input's columns, recognised by their headings; without one for the
name, the DN's first value is the name. Invariants: a message is in the first group that it belongs to and in no other;
a group counts all of its messages and keeps the first of them only.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from bulksms.ledger import MessageRecord
from bulksms.model.message import UNFINISHED, Reason, State

FULL_NAMES = ("displayname", "fullname", "name", "cn", "commonname", "anzeigename", "nom", "nombre")
NAME_PARTS = (
    ("givenname", "firstname", "forename", "vorname", "prenom"),
    ("sn", "surname", "lastname", "familyname", "nachname", "familienname"),
)
CONTACTS = ("mobile", "phone", "telephone", "telefon", "handy", "cell", "mail", "extension", "durchwahl")
"""What the heading of a column with a number or an address contains."""

_LETTERS = re.compile(r"[\W_]+")
_FIRST_VALUE = re.compile(r"(?:cn|ou|uid|name)\s*=\s*((?:\\.|[^\\,+])*)", re.IGNORECASE)
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)")
_PARTICULAR = re.compile(r"\S*\d\S*")

REASONS: Mapping[str, str] = {
    Reason.REJECTED: "rejected by Adaxes",
    Reason.REJECTED_BEFORE_API: "rejected before the API, by a proxy or web server",
    Reason.ATTEMPTS_EXHAUSTED: "the server took none of the attempts",
    Reason.NO_ANSWER: "the request left, and no answer came back",
    Reason.AMBIGUOUS_ANSWER: "the answer does not say whether it was sent",
    Reason.CRASH: "the run died while the request was in flight",
    Reason.INTERRUPTED: "the run was interrupted while the request was in flight",
    Reason.OPERATION_LOST: "the server no longer knows what became of it",
    Reason.DEADLINE: "the deadline passed first",
    Reason.CANCELLED: "withdrawn",
    Reason.RESOLVED_BY_HAND: "settled by hand",
    Reason.DUPLICATE: "the same message as an earlier row",
    Reason.SUPPRESSED: "on the suppression list",
    Reason.BAD_ROW: "the row was invalid",
}
"""Why a message is in its state, in a person's words."""


@dataclass(frozen=True, slots=True)
class PersonColumns:
    """Which of an input's other columns hold names, numbers and addresses."""

    names: tuple[str, ...]
    contacts: tuple[str, ...]

    @classmethod
    def of(cls, columns: Sequence[str]) -> "PersonColumns":
        """Recognise the columns by their headings."""
        plain = {_LETTERS.sub("", column).casefold(): column for column in reversed(columns)}
        full = [plain[word] for word in FULL_NAMES if word in plain][:1]
        parts = [next((plain[word] for word in words if word in plain), None) for words in NAME_PARTS]
        names = full or [part for part in parts if part is not None]
        contacts = [
            column
            for column in columns
            if column not in names and any(word in _LETTERS.sub("", column).casefold() for word in CONTACTS)
        ]
        return cls(tuple(names), tuple(contacts))

    def name(self, record: MessageRecord) -> str:
        """What to call the person: the input's name, or the first value of the DN, or the identifier as given."""
        given = " ".join(filter(None, (record.other_columns.get(column, "").strip() for column in self.names)))
        return given or first_value(record.recipient) or record.recipient


def first_value(recipient: str) -> str | None:
    r"""The first value of a DN with its escapes undone: `CN=Roe\, Max,OU=x` is `Roe, Max`; None for anything else."""
    found = _FIRST_VALUE.match(recipient)
    return _ESCAPED.sub(_unescaped, found[1]).strip() if found else None


def _unescaped(found: re.Match[str]) -> str:
    """RFC 4514, section 2.4: a backslash before a character, or before the two digits of each byte in UTF-8."""
    return found[2] or bytes.fromhex(found[1].replace("\\", "")).decode(errors="replace")


def cause(record: MessageRecord) -> str:
    """Why the message is in its state: the server's words for all such people, else the reason's."""
    if record.state is State.QUEUED:
        return "still queued"
    if record.error is None or (record.state is State.UNKNOWN and record.http_status is None):
        return REASONS.get(record.reason or "", record.state.value.replace("_", " "))
    words = record.error.replace(record.recipient, "…")
    return " ".join(_PARTICULAR.sub("…", words).split())


KEPT = 1_000
"""Messages of a group that are kept to be listed."""


class Advice(NamedTuple):
    """What to do, and the command that does it, if one does."""

    sentence: str
    command: str | None = None


class Reached(Enum):
    """Whether the people of a group have the message."""

    NO = "not sent"
    MAYBE = "may have it"
    YES = "has it"


class Kind(NamedTuple):
    """A kind of trouble; `only` is what `bulksms report --only` calls its messages, "" if it has no word for them.

    `advice` is asked with the ledger, ready to copy, and the row of the first such message.
    """

    title: str
    meaning: str
    only: str
    reached: Reached
    belongs: Callable[[MessageRecord], bool]
    advice: Callable[[str, int], Sequence[Advice]]


@dataclass(slots=True)
class Group:
    """The messages of one kind: how many, and the first of them."""

    kind: Kind
    count: int = 0
    first: list[MessageRecord] = field(default_factory=list)

    def add(self, record: MessageRecord) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(record)

    def advice(self, ledger: str) -> Sequence[Advice]:
        """What to do about them; `ledger` is ready to copy."""
        return self.kind.advice(ledger, self.first[0].row)


def _unknown(ledger: str, row: int) -> Sequence[Advice]:
    return (
        Advice("Look in Adaxes and at the SMS gateway whether it went out, then settle each by its row."),
        Advice("If it was sent:", f'bulksms resolve {ledger} --accepted {row} --note "seen at the gateway"'),
        Advice("If it was not:", f'bulksms resolve {ledger} --failed {row} --note "not at the gateway"'),
        Advice("Or send again, knowing that some may get it twice:", f"bulksms retry {ledger} --only unknown"),
    )


def _rejected(ledger: str, row: int) -> Sequence[Advice]:
    del row
    again = f"bulksms retry {ledger} --only failed:rejected,failed:rejected_before_api"
    return (Advice("Once the cause is fixed:", again),)


def _settled(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("To send them:", f"bulksms retry {ledger} --only failed:resolved_by_hand"),)


def _exhausted(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("Once the server works again:", f"bulksms retry {ledger}"),)


def _expired(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("If it still makes sense to send them:", f"bulksms retry {ledger} --only expired"),)


def _left(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (Advice("To continue with them:", f"bulksms resume {ledger}"),)


def _awaiting(ledger: str, row: int) -> Sequence[Advice]:
    del ledger, row
    return (Advice("Approve or deny them in Adaxes, which does not report the decision to bulksms."),)


def _bad(ledger: str, row: int) -> Sequence[Advice]:
    del row
    return (
        Advice(
            "Correct them in a copy of the input; nobody who was or may have been sent it gets it again:",
            f"bulksms send corrected.csv --not-sent-in {ledger} --ledger corrected.ledger.db",
        ),
    )


def _twice(ledger: str, row: int) -> Sequence[Advice]:
    del ledger, row
    return (Advice("Nothing can be recalled. If they ask: it was the same message twice."),)


def _is(state: State, *reasons: Reason) -> Callable[[MessageRecord], bool]:
    return lambda record: record.state is state and (not reasons or record.reason in reasons)


KINDS: Sequence[Kind] = (
    Kind(
        "Unknown whether they were sent",
        "The request left, and no answer says what became of it.",
        "unknown",
        Reached.MAYBE,
        _is(State.UNKNOWN),
        _unknown,
    ),
    Kind(
        "Failed: attempts exhausted",
        "Certainly not sent: the server took none of the attempts.",
        "failed",
        Reached.NO,
        _is(State.FAILED, Reason.ATTEMPTS_EXHAUSTED),
        _exhausted,
    ),
    Kind(
        "Failed: settled by hand",
        "An operator found that they were not sent.",
        "failed",
        Reached.NO,
        _is(State.FAILED, Reason.RESOLVED_BY_HAND),
        _settled,
    ),
    Kind("Failed: rejected", "Certainly not sent.", "failed", Reached.NO, _is(State.FAILED), _rejected),
    Kind(
        "Expired",
        "Certainly not sent: the deadline passed first.",
        "expired",
        Reached.NO,
        _is(State.EXPIRED),
        _expired,
    ),
    Kind(
        "Awaiting approval",
        "Adaxes has them and holds them back.",
        "awaiting_approval",
        Reached.MAYBE,
        _is(State.AWAITING_APPROVAL),
        _awaiting,
    ),
    Kind(
        "Processing",
        "Adaxes has them and is still working on them.",
        "processing",
        Reached.MAYBE,
        _is(State.PROCESSING),
        _left,
    ),
    Kind("Not sent yet", "They are queued.", "queued", Reached.NO, _is(State.QUEUED), _left),
    Kind(
        "Invalid rows of the input",
        "Never sent: the row was invalid.",
        "skipped",
        Reached.NO,
        _is(State.SKIPPED, Reason.BAD_ROW),
        _bad,
    ),
    Kind(
        "May have been sent twice",
        "Another attempt followed one that may have been processed; messages listed above are not repeated here.",
        "",
        Reached.YES,
        lambda record: record.possible_duplicate,
        _twice,
    ),
)
"""The kinds of trouble, the most urgent first."""


def triage(records: Iterable[MessageRecord], *, is_living: bool = False) -> tuple[list[Group], Counter[State]]:
    """The groups that have messages, the most urgent first, and how many messages are in each state.

    Messages that a run still works on need nobody.
    """
    groups = [Group(kind) for kind in KINDS if not is_living or kind.only not in UNFINISHED]
    counts: Counter[State] = Counter()
    for record in records:
        counts[record.state] += 1
        for group in groups:
            if group.kind.belongs(record):
                group.add(record)
                break
    return [group for group in groups if group.count], counts


class Unreached(NamedTuple):
    """People who did not get the message, or may not have it, for one cause."""

    reached: Reached
    cause: str
    records: list[MessageRecord]


def unreached(groups: Iterable[Group]) -> list[Unreached]:
    """The kept messages whose people have to be reached by other means, by cause: first those certainly not sent.

    Within these the largest cause is first. Each list keeps the input's order.
    """
    causes: dict[tuple[Reached, str], list[MessageRecord]] = defaultdict(list)
    for group in groups:
        if group.kind.reached is not Reached.YES:
            for record in group.first:
                causes[group.kind.reached, cause(record)].append(record)
    found = [Unreached(reached, words, records) for (reached, words), records in causes.items()]
    return sorted(found, key=lambda each: (each.reached is not Reached.NO, -len(each.records), each.cause))
