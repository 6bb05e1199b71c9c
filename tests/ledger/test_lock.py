"""The run lock: one run at a time, and no lock outlives its process."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bulksms.errors import LedgerError, LedgerLockedError
from bulksms.ledger.sqlite import lock
from bulksms.ledger.sqlite.lock import RunLock, is_held, lock_path
from tests.platforms import with_posix_files

HOLDER = """
import sys
from pathlib import Path
from bulksms.ledger.sqlite.lock import RunLock
RunLock(Path(sys.argv[1])).acquire("anna on server-1, process 4711")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(ledger: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_lock_is_on_a_file_beside_the_ledger_and_goes_with_the_run(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    held = RunLock(ledger)
    assert not is_held(ledger)
    held.acquire("anna")
    assert [file.name for file in tmp_path.iterdir()] == ["people.ledger.db.lock"]
    assert is_held(ledger)
    held.release()
    assert not is_held(ledger)
    assert lock_path(ledger).read_bytes() == b""
    held.release()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes; its files inherit the folder's rights")
@pytest.mark.parametrize(("ledger_mode", "mode"), [(0o600, 0o600), (0o660, 0o660), (0o666, 0o666), (0o440, 0o640)])
def test_the_lock_file_has_the_mode_of_the_ledger_so_another_account_can_work_on_it(
    tmp_path: Path, ledger_mode: int, mode: int
) -> None:
    ledger = tmp_path / "people.ledger.db"
    ledger.touch()
    lock_path(ledger).touch(mode=0o600)
    ledger.chmod(ledger_mode)
    held = RunLock(ledger)
    held.acquire("anna")
    held.release()
    assert stat.S_IMODE(lock_path(ledger).stat().st_mode) == mode


def test_a_second_run_is_refused_and_reported_who_has_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    held = RunLock(ledger)
    held.acquire("anna on server-1, process 4711")
    with pytest.raises(LedgerLockedError, match=r"people\.ledger\.db \(anna on server-1, process 4711\)") as trouble:
        RunLock(ledger).acquire("ben")
    assert trouble.value.hint is not None
    held.release()
    second = RunLock(ledger)
    second.acquire("ben")
    second.release()


def test_the_lock_of_another_process_holds_until_it_is_killed(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    with another_process(ledger) as process:
        assert is_held(ledger)
        with pytest.raises(LedgerLockedError, match=r"\(anna on server-1, process 4711\)"):
            RunLock(ledger).acquire("ben")
        process.kill()
        process.wait()
        assert not is_held(ledger)
        assert lock_path(ledger).exists()
        after_it = RunLock(ledger)
        after_it.acquire("ben")
        assert lock_path(ledger).read_text() == " ben"
        after_it.release()


def test_a_reader_that_looks_for_an_instant_does_not_disturb_a_starting_run(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    probe = os.open(lock_path(ledger), os.O_RDWR | os.O_CREAT)
    assert lock._lock(probe)
    held = RunLock(ledger, sleep=lambda _: os.close(probe))
    held.acquire("anna")
    assert is_held(ledger)
    held.release()


def test_looking_takes_no_lock_away_and_makes_no_file(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    assert not is_held(ledger)
    assert not list(tmp_path.iterdir())
    held = RunLock(ledger)
    held.acquire("anna")
    for _ in range(3):
        assert is_held(ledger)
    with pytest.raises(LedgerLockedError):
        RunLock(ledger).acquire("ben")
    held.release()


def test_a_lock_file_that_somebody_removed_is_put_back(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    held = RunLock(ledger)
    held.acquire("anna")
    lock_path(ledger).unlink()
    held.restore()
    assert is_held(ledger)
    assert lock_path(ledger).read_text() == " anna"
    held.restore()
    held.release()
    assert not is_held(ledger)


@with_posix_files
def test_a_symbolic_link_leads_to_the_lock_of_the_file(tmp_path: Path) -> None:
    ledger, link = tmp_path / "people.ledger.db", tmp_path / "elsewhere" / "same.ledger.db"
    ledger.touch()
    link.parent.mkdir()
    link.symlink_to(ledger)
    held = RunLock(link)
    held.acquire("anna")
    assert is_held(ledger)
    with pytest.raises(LedgerLockedError):
        RunLock(ledger).acquire("ben")
    held.release()


def test_a_lock_file_that_cannot_be_made_is_trouble_in_a_sentence(tmp_path: Path) -> None:
    ledger = tmp_path / "people.ledger.db"
    lock_path(ledger).mkdir()
    with pytest.raises(LedgerError, match="cannot be opened") as trouble:
        RunLock(ledger).acquire("anna")
    assert not isinstance(trouble.value, LedgerLockedError)


@with_posix_files
def test_a_file_system_that_cannot_lock_is_trouble_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", cannot)
    with pytest.raises(LedgerError, match="cannot lock a file"):
        RunLock(tmp_path / "people.ledger.db").acquire("anna")
