"""A plan while it is written: complete under its own name or not there at all."""

import hashlib
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import LedgerError, PlanError
from bulksms.ledger import DraftRow, Repeated, open_ledger
from bulksms.ledger.sqlite.draft import SqliteDraft, require_free
from bulksms.ledger.sqlite.schema import VERSION
from bulksms.model.message import Reason, State
from tests.platforms import with_posix_files


def row(number: int, person: str = "", text: str = "Hello", state: State = State.QUEUED) -> DraftRow:
    person = person or f"User {number}"
    recipient = f"CN={person},DC=x"
    return DraftRow(number + 1, recipient, f"dn:{recipient.lower()}", text, "{}", "GSM-7", 1, state)


def keep(draft: SqliteDraft) -> Path:
    return draft.keep(
        source="people.csv", columns=["Name", "Ünit"], fingerprint=draft.fingerprint(), summary="{}", version="1.0"
    )


def test_a_kept_draft_is_a_ledger_with_everything_in_it(tmp_path: Path) -> None:
    path = tmp_path / "people.ledger.db"
    with SqliteDraft(path) as draft:
        draft.add([row(1), row(2), row(3, state=State.SKIPPED)])
        draft.index()
        assert keep(draft) == path
    assert [file.name for file in tmp_path.iterdir()] == ["people.ledger.db"]
    with open_ledger(path) as reader:
        plan = reader.plan()
        assert (plan.input, plan.columns, plan.url) == ("people.csv", ("Name", "Ünit"), None)
        assert reader.counts().counts == {
            **dict.fromkeys(State, 0),
            State.QUEUED: 2,
            State.SKIPPED: 1,
        }
        reader.check_counters()
        assert [line.recipient for line in reader.messages()] == [f"CN=User {number},DC=x" for number in (1, 2, 3)]


def test_a_draft_has_a_hidden_name_of_its_own_until_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "people.ledger.db"
    with SqliteDraft(path) as draft, SqliteDraft(path) as another:
        for one in (draft, another):
            one.add([row(1)])
            one.index()
        names = [file.name for file in tmp_path.iterdir()]
        assert len(set(names)) == 2
        for name in names:
            assert name.startswith(".people.ledger.db.")
            assert name.endswith(".plan")
    assert not list(tmp_path.iterdir())


@with_posix_files
@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_may_read_a_ledger_or_its_draft(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with SqliteDraft(tmp_path / "people.ledger.db") as draft:
            draft.add([row(1)])
            (building,) = tmp_path.iterdir()
            assert stat.S_IMODE(building.stat().st_mode) == 0o600
            draft.index()
            path = keep(draft)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "people.ledger.db"
    require_free(path)
    with SqliteDraft(path) as draft:
        draft.add([row(1)])
        draft.index()
        path.write_text("came meanwhile")
        with pytest.raises(PlanError, match="never overwritten"):
            keep(draft)
    assert path.read_text() == "came meanwhile"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(PlanError, match="exists already"):
        require_free(path)


@pytest.mark.parametrize("taken", [False, True])
def test_a_file_system_without_hard_links_is_enough(
    tmp_path: Path, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "people.ledger.db"
    with SqliteDraft(path) as draft:
        draft.add([row(1)])
        draft.index()
        if taken:
            path.write_text("came meanwhile")
            with pytest.raises(PlanError):
                keep(draft)
        else:
            keep(draft)
    assert list(tmp_path.iterdir()) == [path]
    assert (path.read_bytes() == b"came meanwhile") is taken


@pytest.mark.parametrize("name", ["people.ledger.db", None])
def test_what_is_not_kept_leaves_nothing_behind(
    tmp_path: Path, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SqliteDraft(None if name is None else Path(name)) as draft:
        draft.add(row(number) for number in range(5_000))
        draft.index()
        assert sum(draft.sizes().values()) == 5_000
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken() -> Iterator[DraftRow]:
        yield row(1)
        raise KeyError("the input")

    with pytest.raises(KeyError), SqliteDraft(tmp_path / "people.ledger.db") as draft:
        draft.add(broken())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with SqliteDraft(tmp_path / "people.ledger.db") as draft:
        draft.connection.execute("PRAGMA max_page_count = 40")
        with pytest.raises(LedgerError, match="full"):
            draft.add(row(number, text="x" * 500) for number in range(1_000))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(sqlite3.Connection):
        def executemany(self, *_: object) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("database or disk is full")

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=Full, **kwargs))
    with pytest.raises(LedgerError, match="full"), SqliteDraft(tmp_path / "people.ledger.db"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_trouble_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file or directory"), SqliteDraft(tmp_path / "nowhere" / "a.db"):
        pass


def test_a_draft_is_used_inside_its_block_and_kept_under_a_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        SqliteDraft(tmp_path / "a.db").add([row(1)])
    with SqliteDraft(None) as draft, pytest.raises(RuntimeError):
        keep(draft)


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(st.tuples(texts, texts, st.sampled_from((State.QUEUED, State.SKIPPED))), max_size=8))
def test_a_fingerprint_is_sha_256_over_the_length_prefixed_rows_to_be_sent(
    rows: list[tuple[str, str, State]],
) -> None:
    digest = hashlib.sha256()
    for recipient, text, state in rows:
        if state is State.QUEUED:
            for value in (recipient.encode("utf-8"), text.encode("utf-8")):
                digest.update(struct.pack(">Q", len(value)))
                digest.update(value)
    with SqliteDraft(None) as draft:
        draft.add(
            DraftRow(number, recipient, f"key:{number}", text, "{}", "GSM-7", 1, state)
            for number, (recipient, text, state) in enumerate(rows, 2)
        )
        draft.index()
        assert draft.fingerprint() == digest.hexdigest()


people = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("x", "y", "z"))), max_size=12)


@given(people)
def test_the_same_person_again_is_a_duplicate_if_the_text_is_the_same(rows: list[tuple[str, str]]) -> None:
    expected = []
    for number, (person, text) in enumerate(rows, 1):
        earlier = [(place, words) for place, (who, words) in enumerate(rows[: number - 1], 1) if who == person]
        same = [place for place, words in earlier if words == text]
        if earlier:
            expected.append(Repeated(number, number + 1, (same or [earlier[0][0]])[0] + 1, bool(same)))
    with SqliteDraft(None) as draft:
        draft.add(row(number, person, text) for number, (person, text) in enumerate(rows, 1))
        draft.index()
        assert sorted(draft.repeated()) == expected
        draft.skip_duplicates((again.number, again.first_row) for again in draft.repeated() if again.same_text)
        skipped = draft.connection.execute(
            "SELECT number, reason, error FROM message WHERE state = 'skipped' ORDER BY number"
        ).fetchall()
        assert skipped == [
            (again.number, Reason.DUPLICATE.value, f"duplicate of row {again.first_row}")
            for again in expected
            if again.same_text
        ]
        assert not any(again.same_text for again in draft.repeated())


def test_unwanted_recipients_are_skipped_with_the_reason_of_the_first_who_did_not_want_them() -> None:
    with SqliteDraft(None) as draft:
        draft.add([row(1, "a"), row(2, "b"), row(3, "a", "other"), row(4, "c", state=State.SKIPPED)])
        draft.index()
        unwanted = [("dn:cn=a,dc=x", "list 1"), ("dn:cn=c,dc=x", "list 1"), ("dn:cn=a,dc=x", "list 2"), ("dn:z", "")]
        assert draft.skip_recipients(unwanted) == 2
        rows = draft.connection.execute("SELECT number, state, reason, error FROM message").fetchall()
    assert rows == [
        (1, "skipped", "suppressed", "list 1"),
        (2, "queued", None, None),
        (3, "skipped", "suppressed", "list 1"),
        (4, "skipped", None, None),
    ]


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (5, 5), (6, 6), (7, 7), (8, 8), (40, 8)])
def test_examples_are_the_first_and_some_from_behind_each_once(count: int, shown: int) -> None:
    with SqliteDraft(None) as draft:
        draft.add(row(number) for number in range(1, count + 1))
        draft.index()
        for _ in range(5):
            rows = [example[0] for example in draft.examples(5, 3)]
            assert rows[:5] == [number + 1 for number in range(1, min(count, 5) + 1)]
            assert rows == sorted(set(rows))
            assert len(rows) <= shown
            assert count < 6 or len(rows) > 5


def test_kinds_and_sizes_are_those_of_what_is_to_be_sent() -> None:
    guid = "guid:7a4267ce-d354-44e7-8bd6-c681f1284a41"
    with SqliteDraft(None) as draft:
        draft.add([row(1), row(2), row(3, state=State.SKIPPED)])
        draft.add([DraftRow(5, guid[5:], guid, "Čau", "{}", "UCS-2", 2)])
        draft.index()
        assert draft.kinds() == {"DN": 2, "GUID": 1}
        assert draft.sizes() == {("GSM-7", 1): 2, ("UCS-2", 2): 1}


def test_a_kept_ledger_is_one_that_anybody_recognises(tmp_path: Path) -> None:
    with SqliteDraft(tmp_path / "a.db") as draft:
        draft.index()
        path = keep(draft)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"BSMS", "big"),)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_plan_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced, then named, then the folder's entry is synced."""
    calls: list[str] = []
    link, fsync = os.link, os.fsync

    def linked(source: Path, target: Path) -> None:
        calls.append("name")
        link(source, target)

    def synced(descriptor: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    with SqliteDraft(tmp_path / "a.db") as draft:
        draft.add([row(1)])
        draft.index()
        monkeypatch.setattr(os, "link", linked)
        monkeypatch.setattr(os, "fsync", synced)
        keep(draft)
        monkeypatch.undo()
    assert calls == ["sync file", "name", *(["sync folder"] if os.name == "posix" else [])]
