"""Laws of a follow-up: who may have been told counts as told, and each person once."""

import json
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.errors import InputRefused, LedgerTrouble, UsageError
from bulksms.follow_up import ToldPeople, open_earlier, still_living, told_before
from bulksms.intake import BadRow, InputOptions, Row
from bulksms.ledger.draft import Draft, DraftRow
from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import TOLD, LedgerReader
from bulksms.message import State
from bulksms.planning import plan

Earlier = Callable[..., Path]
ALL_CLEAR = InputOptions(text="((name)), all clear.")


def rows_of(*paths: Path, options: InputOptions = ALL_CLEAR) -> list[Row]:
    readers = [LedgerReader(path) for path in paths]
    try:
        rows = list(ToldPeople(readers, options))
    finally:
        for reader in readers:
            reader.__exit__(None, None, None)
    assert not [row for row in rows if isinstance(row, BadRow)]
    return [row for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("doubt", [None, "lost_answer"])
def test_who_was_or_may_have_been_told_counts_as_told(state: State, doubt: str | None, earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", state)], doubt=doubt)
    was_told = state in TOLD or (state is State.QUEUED and doubt is not None)
    with LedgerReader(ledger) as reader:
        assert [told.recipient for told in reader.told()] == ["CN=Ann,DC=x"] * was_told
        assert reader.has_told("dn:cn=ann,dc=x") is was_told
        assert not reader.has_told("dn:cn=bob,dc=x")
        assert [key for key, _ in told_before([reader])] == ["dn:cn=ann,dc=x"] * was_told


def test_the_states_that_count_are_those_after_which_a_phone_may_have_rung() -> None:
    certainly_not = {State.QUEUED, State.FAILED, State.EXPIRED, State.CANCELLED, State.SKIPPED}
    assert set(TOLD) == set(State) - certainly_not


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
            if state in TOLD:
                expected.setdefault(name.lower(), (row, name))
    if expected:
        assert [(row.row, row.columns["name"]) for row in rows_of(*paths)] == list(expected.values())
    else:
        with pytest.raises(InputRefused, match=r"There are no people told in 0\.db"):
            rows_of(*paths)


def _keep(path: Path, rows: list[tuple[str, State]]) -> Path:
    with Draft(path) as draft:
        draft.add(
            DraftRow(row, f"CN={name},DC=x", f"dn:{name.lower()}", "", f'{{"name": "{name}"}}', None, None, state)
            for row, (name, state) in enumerate(rows, 2)
        )
        draft.index()
        return draft.keep(source="x", columns=["name"], fingerprint="", summary="{}", version="1")


def test_columns_of_several_ledgers_are_joined_whatever_way_they_are_spelt(earlier: Earlier) -> None:
    first = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "site"))
    second = earlier("b.db", [("Bob", State.ACCEPTED)], columns=("NAME", "floor"))
    with LedgerReader(first) as one, LedgerReader(second) as two:
        assert ToldPeople([one, two], ALL_CLEAR).columns == ("directoryObject", "name", "site", "floor")
    assert [row.text for row in rows_of(first, second)] == ["Ann, all clear.", "Bob, all clear."]


def test_a_column_of_the_recipients_name_stays_a_column(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "Directory Object", "dn", "text"))
    with LedgerReader(ledger) as reader:
        told = ToldPeople([reader], ALL_CLEAR)
        assert told.columns[0] == "directoryObject_"
        assert [row.text for row in told if isinstance(row, Row)] == ["Ann, all clear."]
        assert told.findings == []


def test_a_placeholder_that_no_ledger_has_is_refused_with_the_nearest_name(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)])
    with pytest.raises(InputRefused, match="E009") as refusal:
        rows_of(ledger, options=InputOptions(text="((nmae)), all clear."))
    assert refusal.value.hint == "Did you mean name?"


def test_a_value_that_is_missing_is_a_bad_row(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)], columns=("name", "site"))
    with LedgerReader(ledger) as reader:
        (bad,) = ToldPeople([reader], InputOptions(text="((site)): all clear."))
        assert isinstance(bad, BadRow)
        assert [finding.code for finding in bad.findings] == ["E112"]
        assert bad.cells == ("CN=Ann,DC=x", "Ann", "")


def test_the_length_of_the_reading_is_the_number_of_people_by_the_counters(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED), ("Bob", State.UNKNOWN), ("Cem", State.FAILED)])
    with LedgerReader(ledger) as reader:
        assert ToldPeople([reader, reader], ALL_CLEAR).total == 4


def test_a_rehearsal_has_told_nobody(earlier: Earlier) -> None:
    ledger = earlier("people.sandbox.db", [("Ann", State.ACCEPTED)])
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "INSERT INTO run (started_at, url, version, operating_system_user, host, process, settings, confirmed_by) "
            "VALUES ('', '', '', '', '', 1, ?, '')",
            (json.dumps({"sandbox": True}),),
        )
    with pytest.raises(UsageError, match="rehearsal"), open_earlier(ledger):
        pass


def test_a_ledger_without_names_leaves_nobody_out_by_mistake(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.ACCEPTED)])
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("UPDATE message SET recipient = '', recipient_key = ''")
    with LedgerReader(ledger) as reader:
        for reading in (told_before([reader]), iter(ToldPeople([reader], ALL_CLEAR))):
            with pytest.raises(InputRefused, match="does not say any more who was told"):
                list(reading)


def test_what_is_no_ledger_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("people.csv").write_text("dn,text\n", encoding="utf-8")
    for name in ("people.csv", "nothing.db"):
        with pytest.raises(LedgerTrouble), open_earlier(tmp_path / name):
            pass


def test_a_ledger_that_a_run_works_on_is_warned_of(earlier: Earlier) -> None:
    ledger = earlier("a.db", [("Ann", State.SENDING), ("Bob", State.QUEUED)])
    with LedgerReader(ledger) as reader:
        assert still_living([reader]) == []
        lock = RunLock(ledger)
        lock.acquire("test")
        try:
            (finding,) = still_living([reader])
            told = ToldPeople([reader], ALL_CLEAR)
            assert [row.recipient.given for row in told if isinstance(row, Row)] == ["CN=Ann,DC=x"]
            assert told.findings == [finding]
        finally:
            lock.release()
    assert (finding.code, "a.db" in finding.problem) == ("W302", True)


def test_who_is_left_out_is_told_with_the_ledger_and_its_row(earlier: Earlier) -> None:
    one = earlier("one.db", [("Zoe", State.FAILED), ("Ann", State.ACCEPTED)])
    two = earlier("two.db", [("Ann", State.UNKNOWN), ("Bob", State.UNKNOWN)])
    three = earlier("three.db", [("Ann", State.ACCEPTED), ("Bob", State.ACCEPTED), ("Cem", State.ACCEPTED)])
    with LedgerReader(one) as a, LedgerReader(two) as b, LedgerReader(three) as c, Draft(None) as draft:
        preview = plan(ToldPeople([c], ALL_CLEAR), draft, told_before=told_before([a, b]))
        left_out = draft.connection.execute(
            "SELECT recipient, state, reason, error FROM message WHERE state <> 'queued' ORDER BY number"
        ).fetchall()
    assert (preview.to_send, preview.told_before, preview.suppressed) == (1, 2, 0)
    assert left_out == [
        ("CN=Ann,DC=x", "skipped", "suppressed", "told before: accepted, row 3 of one.db"),
        ("CN=Bob,DC=x", "skipped", "suppressed", "told before: unknown, row 3 of two.db"),
    ]


def test_memory_does_not_grow_with_the_people_of_a_ledger(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.db"
        with Draft(path) as draft:
            rows = (
                DraftRow(row, f"CN=U{row},DC=x", f"dn:{row}", "", '{"name": "Ann"}', None, None, State.ACCEPTED)
                for row in range(count)
            )
            draft.add(rows)
            draft.index()
            draft.keep(source="x", columns=["name"], fingerprint="", summary="{}", version="1")
        tracemalloc.start()
        try:
            with LedgerReader(path) as reader, Draft(None) as draft:
                assert plan(ToldPeople([reader], ALL_CLEAR), draft).to_send == count
                return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(3_000)
    assert peak(12_000) < peak(4_000) * 1.3
