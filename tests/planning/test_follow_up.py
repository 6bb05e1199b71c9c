"""Follow-ups: people who may have been sent a message count as sent, and each person counts once."""

import json
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.errors import InputError, LedgerError, UsageError
from bulksms.input import BadRow, InputOptions, Row
from bulksms.ledger import POSSIBLY_SENT, DraftRow, open_ledger
from bulksms.ledger.sqlite.draft import SqliteDraft
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.model.message import State
from bulksms.planning.follow_up import PossibleRecipients, already_sent, open_earlier, still_living
from bulksms.planning.plan import build_plan

Earlier = Callable[..., Path]
ALL_CLEAR = InputOptions(text="((name)), all clear.")


def rows_of(*paths: Path, options: InputOptions = ALL_CLEAR) -> list[Row]:
    readers = [open_ledger(path) for path in paths]
    try:
        rows = list(PossibleRecipients(readers, options))
    finally:
        for reader in readers:
            reader.__exit__(None, None, None)
    assert not [row for row in rows if isinstance(row, BadRow)]
    return [row for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("doubt", [None, "no_answer"])
def test_possible_recipients_include_those_in_doubt(state: State, doubt: str | None, earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", state)], doubt=doubt)
    may_be_sent = state in POSSIBLY_SENT or (state is State.QUEUED and doubt is not None)
    with open_ledger(ledger) as reader:
        assert [result.recipient for result in reader.possible_recipients()] == ["CN=Ann,DC=x"] * may_be_sent
        assert reader.has_possible_recipients("dn:cn=ann,dc=x") is may_be_sent
        assert not reader.has_possible_recipients("dn:cn=bob,dc=x")
        assert [key for key, _ in already_sent([reader])] == ["dn:cn=ann,dc=x"] * may_be_sent


def test_the_states_that_count_are_those_after_which_a_phone_may_have_rung() -> None:
    certainly_not = {State.QUEUED, State.FAILED, State.EXPIRED, State.CANCELLED, State.SKIPPED}
    assert set(POSSIBLY_SENT) == set(State) - certainly_not


def test_people_are_rows_with_their_columns_and_the_row_numbers_of_their_ledger(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED), ("Bob", State.FAILED), ("Cem", State.UNKNOWN)])
    rows = rows_of(ledger)
    assert [(row.row, row.recipient.given, row.text) for row in rows] == [
        (2, "CN=Ann,DC=x", "Ann, all clear."),
        (4, "CN=Cem,DC=x", "Cem, all clear."),
    ]
    assert rows[0].columns == {"name": "Ann"}


people = st.lists(st.tuples(st.sampled_from(["Ann", "ANN", "Bob", "Cem"]), st.sampled_from(State)), max_size=8)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ledgers=st.lists(people, min_size=1, max_size=3))
def test_a_person_is_one_row_however_many_rows_and_ledgers_name_them(
    ledgers: list[list[tuple[str, State]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ledgers")
    expected: dict[str, tuple[int, str]] = {}
    paths = []
    for place, rows in enumerate(ledgers):
        paths.append(_keep(folder / f"{place}.db", rows))
        for row, (name, state) in enumerate(rows, 2):
            if state in POSSIBLY_SENT:
                expected.setdefault(name.lower(), (row, name))
    if expected:
        assert [(row.row, row.columns["name"]) for row in rows_of(*paths)] == list(expected.values())
    else:
        with pytest.raises(InputError, match=r"There are no recipients of 0\.db"):
            rows_of(*paths)


def _keep(path: Path, rows: list[tuple[str, State]]) -> Path:
    with SqliteDraft(path) as draft:
        draft.add(
            DraftRow(row, f"CN={name},DC=x", f"dn:{name.lower()}", "", f'{{"name": "{name}"}}', None, None, state)
            for row, (name, state) in enumerate(rows, 2)
        )
        draft.index()
        return draft.keep(source="x", columns=["name"], fingerprint="", summary="{}", version="1")


def test_columns_of_several_ledgers_are_joined_whatever_way_they_are_spelt(earlier: Earlier) -> None:
    first = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "site"))
    second = earlier("b.db", [("Bob", State.ACCEPTED)], columns=("NAME", "floor"))
    with open_ledger(first) as one, open_ledger(second) as two:
        assert PossibleRecipients([one, two], ALL_CLEAR).columns == ("directoryObject", "name", "site", "floor")
    assert [row.text for row in rows_of(first, second)] == ["Ann, all clear.", "Bob, all clear."]


def test_a_column_of_the_recipients_name_stays_a_column(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "Directory Object", "dn", "text"))
    with open_ledger(ledger) as reader:
        result = PossibleRecipients([reader], ALL_CLEAR)
        assert result.columns[0] == "directoryObject_"
        assert [row.text for row in result if isinstance(row, Row)] == ["Ann, all clear."]
        assert result.findings == []


def test_a_placeholder_that_no_ledger_has_is_refused_with_the_nearest_name(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)])
    with pytest.raises(InputError, match="E009") as refusal:
        rows_of(ledger, options=InputOptions(text="((nmae)), all clear."))
    assert refusal.value.hint == "Did you mean name?"


def test_a_value_that_is_missing_is_a_bad_row(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "site"))
    with open_ledger(ledger) as reader:
        (bad,) = PossibleRecipients([reader], InputOptions(text="((site)): all clear."))
        assert isinstance(bad, BadRow)
        assert [finding.code for finding in bad.findings] == ["E112"]
        assert bad.cells == ("CN=Ann,DC=x", "Ann", "")


def test_the_length_of_the_reading_is_the_number_of_people_by_the_counters(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED), ("Bob", State.UNKNOWN), ("Cem", State.FAILED)])
    with open_ledger(ledger) as reader:
        assert PossibleRecipients([reader, reader], ALL_CLEAR).total == 4


def test_the_ledger_of_a_rehearsal_is_refused(earlier: Earlier) -> None:
    ledger = earlier("people.sandbox.db", [("Ann", State.ACCEPTED)])
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "INSERT INTO run (started_at, url, version, operating_system_user, host, process, settings, confirmed_by) "
            "VALUES ('2026-11-22T19:49:00+00:00', '', '', '', '', 1, ?, '')",
            (json.dumps({"sandbox": True}),),
        )
    with pytest.raises(UsageError, match="rehearsal"), open_earlier(ledger):
        pass


def test_a_ledger_without_names_leaves_nobody_out_by_mistake(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)])
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE message SET recipient = '', recipient_key = ''")
    with open_ledger(ledger) as reader:
        for reading in (already_sent([reader]), iter(PossibleRecipients([reader], ALL_CLEAR))):
            with pytest.raises(InputError, match="no longer has its recipients"):
                list(reading)


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("people.csv").write_text("dn,text\n", encoding="utf-8")
    for name in ("people.csv", "nothing.db"):
        with pytest.raises(LedgerError), open_earlier(tmp_path / name):
            pass


def test_a_ledger_that_a_run_works_on_is_warned_of(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.SENDING), ("Bob", State.QUEUED)])
    with open_ledger(ledger) as reader:
        assert still_living([reader]) == []
        lock = RunLock(ledger)
        lock.acquire("test")
        try:
            (finding,) = still_living([reader])
            result = PossibleRecipients([reader], ALL_CLEAR)
            assert [row.recipient.given for row in result if isinstance(row, Row)] == ["CN=Ann,DC=x"]
            assert result.findings == [finding]
        finally:
            lock.release()
    assert (finding.code, "a.db" in finding.problem) == ("W302", True)


def test_people_who_are_left_out_are_named_with_the_ledger_and_its_row(earlier: Earlier) -> None:
    one = earlier("one.db", [("Zoe", State.FAILED), ("Ann", State.ACCEPTED)])
    two = earlier("two.db", [("Ann", State.UNKNOWN), ("Bob", State.UNKNOWN)])
    three = earlier("three.db", [("Ann", State.ACCEPTED), ("Bob", State.ACCEPTED), ("Cem", State.ACCEPTED)])
    with open_ledger(one) as a, open_ledger(two) as b, open_ledger(three) as c, SqliteDraft(None) as draft:
        preview = build_plan(PossibleRecipients([c], ALL_CLEAR), draft, already_sent=already_sent([a, b]))
        left_out = draft.connection.execute(
            "SELECT recipient, state, reason, error FROM message WHERE state <> 'queued' ORDER BY number"
        ).fetchall()
    assert (preview.to_send, preview.already_sent, preview.suppressed) == (1, 2, 0)
    assert left_out == [
        ("CN=Ann,DC=x", "skipped", "suppressed", "sent before: accepted, row 3 of one.db"),
        ("CN=Bob,DC=x", "skipped", "suppressed", "sent before: unknown, row 3 of two.db"),
    ]


def test_memory_does_not_grow_with_the_people_of_a_ledger(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.db"
        with SqliteDraft(path) as draft:
            rows = (
                DraftRow(row, f"CN=U{row},DC=x", f"dn:{row}", "", '{"name": "Ann"}', None, None, State.ACCEPTED)
                for row in range(count)
            )
            draft.add(rows)
            draft.index()
            draft.keep(source="x", columns=["name"], fingerprint="", summary="{}", version="1")
        tracemalloc.start()
        try:
            with open_ledger(path) as reader, SqliteDraft(None) as draft:
                assert build_plan(PossibleRecipients([reader], ALL_CLEAR), draft).to_send == count
                return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(3_000)
    assert peak(12_000) < peak(4_000) * 1.3
