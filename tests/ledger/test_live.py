"""What a living run tells beside its ledger: whole or not at all, private, and about nobody's run but its own."""

import stat
import sys
from pathlib import Path

import pytest

from bulksms.ledger import live
from bulksms.ledger.live import Pace

PACE = Pace(
    run=3,
    elapsed=61.5,
    overall=8.25,
    recent=None,
    concurrency=11,
    ceiling=16,
    adapts=True,
    in_flight=4,
    why="status 503",
    held=2.5,
    why_held="status 503",
    alone=True,
    deadline=1_800_000_000.0,
    errors=(("503 Away.", 41),),
)


def test_another_shell_reads_what_the_run_told(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    live.tell(ledger, PACE)
    assert live.told(ledger, 3) == PACE
    assert [path.name for path in tmp_path.iterdir()] == ["people.ledger.db.live"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    live.tell(tmp_path / "people.ledger.db", PACE)
    assert stat.S_IMODE(live.live_path(tmp_path / "people.ledger.db").stat().st_mode) == 0o600


def test_what_a_dead_run_left_is_not_taken_for_the_living_one_s(tmp_path: Path) -> None:
    live.tell(tmp_path / "people.ledger.db", PACE)
    assert live.told(tmp_path / "people.ledger.db", 4) is None
    assert live.told(tmp_path / "people.ledger.db", None) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 3}', b'{"run": "three"}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_no_word_at_all(content: bytes, tmp_path: Path) -> None:
    live.live_path(tmp_path / "people.ledger.db").write_bytes(content)
    assert live.told(tmp_path / "people.ledger.db", 3) is None


def test_it_is_gone_with_the_run(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    assert live.told(ledger, 3) is None
    live.tell(ledger, PACE)
    live.forget(ledger)
    live.forget(ledger)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_is_no_trouble_of_the_run_s(tmp_path: Path) -> None:
    live.tell(tmp_path / "missing" / "people.ledger.db", PACE)
    assert not (tmp_path / "missing").exists()
