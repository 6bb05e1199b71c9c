"""What a living run tells beside its ledger: whole or not at all, private, and about nobody's run but its own."""

import stat
from pathlib import Path

import pytest

from bulksms.ledger import RunStatus
from bulksms.ledger.sqlite import remote_control
from tests.platforms import with_posix_files

PACE = RunStatus(
    run=3,
    elapsed=61.5,
    overall=8.25,
    recent=None,
    concurrency=11,
    ceiling=16,
    adapts=True,
    in_flight=4,
    concurrency_reason="status 503",
    paused_for=2.5,
    pause_reason="status 503",
    probing=True,
    deadline=1_800_000_000.0,
    errors=(("503 Away.", 41),),
)


def test_another_shell_reads_what_the_run_reported(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    remote_control.write_status(ledger, PACE)
    assert remote_control.read_status(ledger, 3) == PACE
    assert [path.name for path in tmp_path.iterdir()] == ["people.ledger.db.live"]


@with_posix_files
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    remote_control.write_status(tmp_path / "people.ledger.db", PACE)
    assert stat.S_IMODE(remote_control.status_path(tmp_path / "people.ledger.db").stat().st_mode) == 0o600


def test_what_a_dead_run_left_is_not_taken_for_the_living_one_s(tmp_path: Path) -> None:
    remote_control.write_status(tmp_path / "people.ledger.db", PACE)
    assert remote_control.read_status(tmp_path / "people.ledger.db", 4) is None
    assert remote_control.read_status(tmp_path / "people.ledger.db", None) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"run": 3}', b'{"run": "three"}', b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_no_word_at_all(content: bytes, tmp_path: Path) -> None:
    remote_control.status_path(tmp_path / "people.ledger.db").write_bytes(content)
    assert remote_control.read_status(tmp_path / "people.ledger.db", 3) is None


def test_it_is_gone_with_the_run(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    assert remote_control.read_status(ledger, 3) is None
    remote_control.write_status(ledger, PACE)
    remote_control.remove_status(ledger)
    remote_control.remove_status(ledger)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_is_no_trouble_of_the_run_s(tmp_path: Path) -> None:
    remote_control.write_status(tmp_path / "missing" / "people.ledger.db", PACE)
    assert not (tmp_path / "missing").exists()
