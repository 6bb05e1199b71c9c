"""The journal, and its comparison with a ledger."""

import os
import stat
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.model.message import State
from bulksms.sandbox import Called, Comparison, Journal, Received, compare
from tests.platforms import with_posix_files

sends = st.builds(
    Received,
    number=st.integers(1, 1000),
    at=st.floats(0, 2e9),
    clock=st.floats(0, 1e6),
    recipient=st.sampled_from(["CN=A", "CN=B", "CN=Ä\n🙂"]),
    text=st.sampled_from(["one", "two", "zwei\r\n\u2028"]),
    authorized=st.booleans(),
    fault=st.sampled_from([None, "503", "drop_after"]),
    delivered=st.booleans(),
    status=st.sampled_from([None, 200, 503]),
)
calls = st.builds(
    Called,
    at=st.floats(0, 2e9),
    clock=st.floats(0, 1e6),
    method=st.just("GET"),
    path=st.sampled_from(["/a", "/b"]),
    status=st.just(200),
    operation=st.sampled_from([None, "id"]),
)


def entry(recipient: str = "CN=A", text: str = "Hello", *, delivered: bool = True, clock: float = 0.0) -> Received:
    return Received(1, 0.0, clock, recipient, text, True, None, delivered, 200)


def journal_of(*delivered: str | tuple[str, str]) -> Journal:
    journal = Journal()
    for one in delivered:
        journal.add(entry(*((one,) if isinstance(one, str) else one)))
    return journal


@given(st.lists(sends | calls, max_size=20))
def test_a_journal_file_gives_the_journal_back(tmp_path_factory: pytest.TempPathFactory, entries: list[object]) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(file)
    journal.open()
    for one in entries:
        if isinstance(one, Received):
            journal.add(one)
        elif isinstance(one, Called):
            journal.add_call(one)
    again = Journal.read(file)  # what was added is there before the file is closed
    journal.close()
    assert again.received == journal.received
    assert again.called == journal.called
    assert again.calls == journal.calls
    assert (again.total, again.deliveries, again.unauthorized) == (
        journal.total,
        journal.deliveries,
        journal.unauthorized,
    )


@given(st.lists(sends, max_size=30))
def test_the_counts_are_those_of_the_entries(entries: list[Received]) -> None:
    journal = Journal(keep_entries=False)
    for one in entries:
        journal.add(one)
    by_recipient = Counter(one.recipient for one in entries)
    assert {recipient: journal.requests(recipient) for recipient in journal.recipients()} == by_recipient
    for one in entries:
        alike = [other for other in entries if (other.recipient, other.text) == (one.recipient, one.text)]
        assert journal.requests(one.recipient, one.text) == len(alike)
        assert journal.delivered(one.recipient, one.text) == sum(other.delivered for other in alike)
        assert one.text in journal.texts(one.recipient)
    assert journal.received == []


def test_a_line_cut_off_at_the_end_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_bytes(msgspec.json.encode(entry()) + b"\n" + msgspec.json.encode(entry())[:20])
    assert Journal.read(file).total == 1


def test_a_journal_goes_on_after_a_line_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_bytes(msgspec.json.encode(entry()) + b"\n" + msgspec.json.encode(entry())[:20])
    journal = Journal(file)
    journal.open()
    journal.add(entry("CN=B"))
    journal.close()
    journal.close()
    assert [one.recipient for one in Journal.read(file).received] == ["CN=A", "CN=B"]


def test_a_line_that_is_no_journals_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_bytes(b'{"kind":"other"}\n')
    with pytest.raises(ValueError, match="other"):
        Journal.read(file)


@with_posix_files
def test_a_journal_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "journal.jsonl")
        journal.open()
        journal.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "journal.jsonl").stat().st_mode) == 0o600


def test_a_journal_tells_how_many_came_when() -> None:
    journal = Journal()
    for clock in (0.0, 0.5, 0.9, 5.0, 5.1):
        journal.add(entry(clock=clock))
    assert journal.between(0.0, 0.9) == 2
    assert journal.between(0.5, 5.1) == 3
    assert journal.busiest(1.0) == 3
    assert journal.busiest(0.3) == 2
    assert Journal().busiest(1.0) == 0


NOT_SENT = [State.AWAITING_APPROVAL, State.FAILED, State.QUEUED, State.EXPIRED, State.CANCELLED, State.SKIPPED]
PERHAPS = [State.PROCESSING, State.SENDING, State.UNKNOWN]
TABLE: list[tuple[State, bool, int, str | None]] = [
    (State.ACCEPTED, False, 0, "missing"),
    (State.ACCEPTED, False, 1, None),
    (State.ACCEPTED, False, 2, "repeated"),
    (State.ACCEPTED, True, 0, "missing"),
    (State.ACCEPTED, True, 1, None),
    (State.ACCEPTED, True, 2, None),
    *[(state, False, 0, None) for state in (*PERHAPS, *NOT_SENT)],
    *[(state, False, 1, None) for state in PERHAPS],
    *[(state, False, 2, "repeated") for state in PERHAPS],
    *[(state, True, 2, None) for state in PERHAPS],
    *[(state, False, 1, "denied") for state in NOT_SENT],
]


def test_the_table_speaks_of_every_state() -> None:
    assert {row[0] for row in TABLE} == set(State)


@pytest.mark.parametrize(("state", "admitted", "delivered", "difference"), TABLE)
def test_a_state_allows_its_deliveries(state: State, admitted: bool, delivered: int, difference: str | None) -> None:
    comparison = compare(journal_of(*["CN=A"] * delivered), [("CN=A", state, admitted)])
    found = [name for name in ("missing", "denied", "repeated", "strange") if getattr(comparison, name)]
    assert found == ([difference] if difference else [])
    assert comparison.agrees == (difference is None)
    assert comparison.admitted_repeats == (admitted and delivered > 1)


def test_unknown_messages_are_counted_apart_and_are_no_difference() -> None:
    outcomes = [("CN=A", "unknown", False), ("CN=B", "unknown", False), ("CN=C", "unknown", False)]
    comparison = compare(journal_of("CN=A"), outcomes)
    assert comparison.agrees
    assert (comparison.unknown_delivered, comparison.unknown_not_delivered) == (1, 2)


def test_a_duplicate_beside_its_original_is_no_difference() -> None:
    outcomes = [("CN=A", "accepted", False), ("CN=A", "skipped", False)]
    assert compare(journal_of("CN=A"), outcomes).agrees
    assert compare(journal_of("CN=A", "CN=A"), outcomes).repeated == 1


def test_with_texts_each_text_of_a_recipient_is_compared_by_itself() -> None:
    journal = journal_of(("CN=A", "one"), ("CN=A", "one"))
    outcomes = [("CN=A", "accepted", False, "one"), ("CN=A", "accepted", False, "two")]
    comparison = compare(journal, outcomes)
    assert (comparison.repeated, comparison.missing) == (1, 1)
    assert compare(journal, [("CN=A", "accepted", False), ("CN=A", "accepted", False)]).agrees


def test_a_delivery_that_no_row_asked_for_is_a_difference() -> None:
    assert compare(journal_of("CN=A", "CN=Z"), [("CN=A", "accepted", False)]).strange == 1
    assert compare(journal_of(("CN=A", "other")), [("CN=A", "unknown", False, "one")]).strange == 1


def test_a_request_that_was_not_processed_is_no_delivery() -> None:
    journal = journal_of("CN=A")
    journal.add(entry(delivered=False))
    comparison = compare(journal, [("CN=A", "accepted", False)])
    assert comparison.agrees
    assert (comparison.requests, comparison.delivered) == (2, 1)


def test_the_line_of_an_agreement_counts_what_came_and_what_is_in_doubt() -> None:
    line = compare(journal_of("CN=A", "CN=B"), [("CN=A", "accepted", False), ("CN=B", "unknown", False)]).line()
    received = "Rehearsal: 2 requests received, 2 messages processed"
    assert line == f"{received}: server log and ledger agree, 1 unknown and processed"


def test_the_line_of_a_difference_says_which() -> None:
    line = Comparison(missing=1200, denied=1, requests=1, delivered=1).line()
    assert line == (
        "Rehearsal: 1 request received, 1 message processed: SERVER LOG AND LEDGER DIFFER: "
        "1,200 accepted but never processed, 1 processed though the ledger says not sent"
    )
