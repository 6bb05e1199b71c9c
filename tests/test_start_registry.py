"""Start registry: of several ledgers with the same plan exactly one starts it, unless a person decides otherwise."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.ledger import DatabaseUrl
from bulksms.planning import start_registry
from bulksms.planning.start_registry import HOLDS_FOR, KEPT_FOR, DatabaseStarts, StartRecord, StartRegistry
from tests.ledger.stores import published
from tests.platforms import with_posix_files

FINGERPRINT = "f" * 64
OWN = StartRecord(FINGERPRINT, "https://a.example/restApi", "1", "/folder/people.ledger.db", "me", "here", 4)
OTHER = replace(OWN, identity="2", ledger="/elsewhere/people.ledger.db", user="she", host="there")


def let_pass(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    then = datetime.now(UTC) + time
    monkeypatch.setattr(start_registry, "_now", lambda: then)


def test_the_first_ledger_has_it_and_another_is_reported_whose_it_is(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    assert room.earlier_start(OWN) is None
    assert room.register(OWN) is None
    for found in (room.earlier_start(OTHER), room.register(OTHER)):
        assert found is not None
        assert replace(found, started_at="") == OWN
        assert str(found) == f"/folder/people.ledger.db on here, by me, {found.started_at}"
        assert datetime.now(UTC) - datetime.fromisoformat(found.started_at) < timedelta(minutes=5)


def test_a_database_notes_who_was_first_by_its_own_clock(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = DatabaseStarts(published(database, tmp_path, 1).database)
    assert room.register(OWN) is None
    let_pass(monkeypatch, 2 * HOLDS_FOR)  # for a machine whose clock is wrong
    for found in (room.earlier_start(OTHER), room.register(OTHER)):
        assert found is not None
        assert replace(found, started_at="") == OWN
    assert room.register(OWN) is None
    assert room.register(replace(OTHER, url="https://b.example/restApi")) is None
    against = room.register(OTHER, in_spite=True)
    assert against is not None
    noted = room.earlier_start(OWN)
    assert noted is not None
    assert replace(noted, started_at="", despite=None) == OTHER
    assert noted.despite == str(against)


def test_of_several_that_start_a_plan_at_once_in_a_database_one_goes_on(database: str, tmp_path: Path) -> None:
    room = DatabaseStarts(published(database, tmp_path, 1).database)
    several = [replace(OWN, identity=str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(room.register, several))
    assert found.count(None) == 1
    first = several[found.index(None)].identity
    assert all(against is None or against.identity == first for against in found)


def test_before_there_is_a_ledger_in_a_database_nothing_is_started_there(database: str) -> None:
    assert DatabaseStarts(DatabaseUrl.parse(database)).earlier_start(OWN) is None


def test_its_own_ledger_goes_on_wherever_it_lies(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    moved = replace(OWN, ledger="/moved/here.db", host="there", user="root")
    assert room.earlier_start(moved) is None
    assert room.register(moved) is None


def test_before_there_is_a_ledger_every_start_is_anothers(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    assert room.earlier_start(replace(OWN, identity=None)) is not None


@pytest.mark.parametrize("change", [{"fingerprint": "e" * 64}, {"url": "https://b.example/restApi"}])
def test_another_plan_and_another_url_are_nobody_s(change: dict[str, str], tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    assert room.register(replace(OTHER, **change)) is None  # type: ignore[arg-type]  # its texts only


def test_a_start_holds_for_a_day_since_the_last_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    let_pass(monkeypatch, HOLDS_FOR - timedelta(minutes=1))
    assert room.earlier_start(OTHER) is not None
    room.register(OWN)
    let_pass(monkeypatch, HOLDS_FOR + timedelta(minutes=1))
    assert room.earlier_start(OTHER) is not None, "it was started again in between"
    let_pass(monkeypatch, 2 * HOLDS_FOR)
    assert room.register(OTHER) is None
    assert room.earlier_start(OWN) is not None


def test_in_spite_of_it_says_so_and_turns_it_round(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    overridden = room.register(OTHER, in_spite=True)
    assert overridden is not None
    assert overridden.ledger == OWN.ledger
    against = room.earlier_start(OWN)
    assert against is not None
    assert against.ledger == OTHER.ledger
    assert against.despite == str(overridden)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": "f"}', b'{"started_at": "teatime"}', b"\xff"])
def test_a_start_that_nobody_has_finished_writing_is_nobody_s(content: bytes, tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OTHER)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert room.earlier_start(OWN) is None
    assert room.register(OWN) is None
    against = room.earlier_start(OTHER)
    assert against is not None
    assert against.ledger == OWN.ledger


def test_an_unfinished_start_hides_no_earlier_one(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OTHER)
    (file,) = tmp_path.iterdir()
    file.with_name(file.name.replace(".1.json", ".2.json")).write_bytes(b"")
    against = room.earlier_start(OWN)
    assert against is not None
    assert against.ledger == OTHER.ledger


def test_a_start_gets_its_name_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        StartRegistry(tmp_path).register(OWN)
    assert list(tmp_path.iterdir()) == []


def test_without_hard_links_a_start_is_exclusive_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    room = StartRegistry(tmp_path)
    assert room.register(OTHER) is None
    against = room.register(OWN)
    assert against is not None
    assert against.ledger == OTHER.ledger


def test_a_file_that_is_no_start_does_not_disturb(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    (file,) = tmp_path.iterdir()
    file.with_name(file.name.replace(".1.json", ".old.json")).write_text("{}")
    assert room.register(OWN) is None


def test_a_start_names_nobody_and_is_named_by_the_fingerprint(tmp_path: Path) -> None:
    StartRegistry(tmp_path).register(OWN)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith(FINGERPRINT)
    assert list(json.loads(file.read_text())) == list(OWN.__slots__)


@with_posix_files
@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o666, 0o644)])
def test_the_mode_of_the_files_is_chosen(mode: int, expected: int, tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        StartRegistry(tmp_path, mode).register(OWN)
    finally:
        os.umask(earlier)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == expected


def test_what_is_old_is_dropped(tmp_path: Path) -> None:
    room = StartRegistry(tmp_path)
    room.register(OWN)
    (old,) = tmp_path.iterdir()
    long_ago = old.stat().st_mtime - KEPT_FOR.total_seconds() - 60
    os.utime(old, (long_ago, long_ago))
    room.register(replace(OTHER, url="https://b.example/restApi"))
    room.forget_old()
    (left,) = tmp_path.iterdir()
    assert left != old


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("123"), st.booleans()), max_size=12))
def test_nobody_starts_beside_another_without_having_been_reported(
    tmp_path_factory: pytest.TempPathFactory, starts: list[tuple[str, bool]]
) -> None:
    """Whatever the order: the last to start goes on, everybody else is reported it or says that it does not matter."""
    room = StartRegistry(tmp_path_factory.mktemp("registry"))
    last = None
    for identity, in_spite in starts:
        result = room.register(replace(OWN, identity=identity), in_spite=in_spite)
        assert (result and result.identity) == (last if last != identity else None)
        if result is None or in_spite:
            last = identity


START = """
import sys, time
from pathlib import Path
from bulksms.planning.start_registry import StartRecord, StartRegistry
folder, number, signal = sys.argv[1:]
own = StartRecord("f" * 64, "https://a.example/restApi", number, f"/folder/{number}.db", "me", "here", 4)
print("ready", flush=True)
while not Path(signal).exists():
    pass
print(StartRegistry(Path(folder)).register(own))
"""


def test_of_several_processes_at_the_same_instant_exactly_one_wins(tmp_path: Path) -> None:
    folder, signal = tmp_path / "registry", tmp_path / "signal"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(folder), str(number), str(signal)], stdout=subprocess.PIPE, text=True
        )
        for number in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    signal.touch()
    lines = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert lines.count("None") == 1
    winner = f"/folder/{lines.index('None')}.db"
    assert all(winner in words for words in lines if words != "None")
