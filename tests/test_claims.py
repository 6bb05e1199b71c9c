"""Claims: of several ledgers with the same plan, exactly one starts it, unless somebody says otherwise."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms import claims
from bulksms.claims import HOLDS_FOR, KEPT_FOR, Claim, Claims

FINGERPRINT = "f" * 64
OWN = Claim(FINGERPRINT, "https://a.example/restApi", "1", "/desk/people.ledger.db", "me", "here", 4)
OTHER = replace(OWN, identity="2", ledger="/elsewhere/people.ledger.db", user="she", host="there")


def let_pass(monkeypatch: pytest.MonkeyPatch, time: timedelta) -> None:
    then = datetime.now(UTC) + time
    monkeypatch.setattr(claims, "_now", lambda: then)


def test_the_first_ledger_has_it_and_another_is_told_whose_it_is(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    assert room.against(OWN) is None
    assert room.make(OWN) is None
    for found in (room.against(OTHER), room.make(OTHER)):
        assert found is not None
        assert replace(found, started_at="") == OWN
        assert str(found) == f"/desk/people.ledger.db on here, by me, {found.started_at}"
        assert datetime.now(UTC) - datetime.fromisoformat(found.started_at) < timedelta(minutes=5)


def test_its_own_ledger_goes_on_wherever_it_lies(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    moved = replace(OWN, ledger="/moved/here.db", host="there", user="root")
    assert room.against(moved) is None
    assert room.make(moved) is None


def test_before_there_is_a_ledger_every_claim_is_another_s(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    assert room.against(replace(OWN, identity=None)) is not None


@pytest.mark.parametrize("change", [{"fingerprint": "e" * 64}, {"url": "https://b.example/restApi"}])
def test_another_plan_and_another_url_are_nobody_s(change: dict[str, str], tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    assert room.make(replace(OTHER, **change)) is None  # type: ignore[arg-type]  # its texts only


def test_a_claim_holds_for_a_day_since_the_last_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    let_pass(monkeypatch, HOLDS_FOR - timedelta(minutes=1))
    assert room.against(OTHER) is not None
    room.make(OWN)
    let_pass(monkeypatch, HOLDS_FOR + timedelta(minutes=1))
    assert room.against(OTHER) is not None, "it was started again in between"
    let_pass(monkeypatch, 2 * HOLDS_FOR)
    assert room.make(OTHER) is None
    assert room.against(OWN) is not None


def test_in_spite_of_it_says_so_and_turns_it_round(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    overridden = room.make(OTHER, in_spite=True)
    assert overridden is not None
    assert overridden.ledger == OWN.ledger
    against = room.against(OWN)
    assert against is not None
    assert against.ledger == OTHER.ledger
    assert against.in_spite_of == str(overridden)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": "f"}', b'{"started_at": "teatime"}', b"\xff"])
def test_a_claim_that_cannot_be_read_is_somebody_s_all_the_same(content: bytes, tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    against = room.against(OWN)
    assert against is not None
    assert str(file) in str(against)
    assert room.make(OWN, in_spite=True) == against
    assert room.against(OWN) is None


def test_what_is_not_a_claim_does_not_disturb(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    (file,) = tmp_path.iterdir()
    file.with_name(file.name.replace(".1.json", ".old.json")).write_text("{}")
    assert room.make(OWN) is None


def test_a_claim_names_nobody_and_is_named_by_the_fingerprint(tmp_path: Path) -> None:
    Claims(tmp_path).make(OWN)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith(FINGERPRINT)
    assert list(json.loads(file.read_text())) == list(OWN.__slots__)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o666, 0o644)])
def test_the_mode_of_the_files_is_chosen(mode: int, expected: int, tmp_path: Path) -> None:
    earlier = os.umask(0o022)
    try:
        Claims(tmp_path, mode).make(OWN)
    finally:
        os.umask(earlier)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == expected


def test_what_is_old_is_dropped(tmp_path: Path) -> None:
    room = Claims(tmp_path)
    room.make(OWN)
    (old,) = tmp_path.iterdir()
    long_ago = old.stat().st_mtime - KEPT_FOR.total_seconds() - 60
    os.utime(old, (long_ago, long_ago))
    room.make(replace(OTHER, url="https://b.example/restApi"))
    room.forget_old()
    (left,) = tmp_path.iterdir()
    assert left != old


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("123"), st.booleans()), max_size=12))
def test_nobody_starts_beside_another_without_having_been_told(
    tmp_path_factory: pytest.TempPathFactory, starts: list[tuple[str, bool]]
) -> None:
    """Whatever the order: the last to start goes on, everybody else is told of it or says that it does not matter."""
    room = Claims(tmp_path_factory.mktemp("claims"))
    last = None
    for identity, in_spite in starts:
        told = room.make(replace(OWN, identity=identity), in_spite=in_spite)
        assert (told and told.identity) == (last if last != identity else None)
        if told is None or in_spite:
            last = identity


START = """
import sys, time
from pathlib import Path
from bulksms.claims import Claim, Claims
folder, number, gate = sys.argv[1:]
own = Claim("f" * 64, "https://a.example/restApi", number, f"/desk/{number}.db", "me", "here", 4)
print("ready", flush=True)
while not Path(gate).exists():
    pass
print(Claims(Path(folder)).make(own))
"""


def test_of_several_processes_at_the_same_instant_exactly_one_wins(tmp_path: Path) -> None:
    folder, gate = tmp_path / "claims", tmp_path / "gate"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(folder), str(number), str(gate)], stdout=subprocess.PIPE, text=True
        )
        for number in range(6)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    gate.touch()
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert said.count("None") == 1
    winner = f"/desk/{said.index('None')}.db"
    assert all(winner in words for words in said if words != "None")
