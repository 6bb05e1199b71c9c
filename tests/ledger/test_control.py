"""What one shell wants of a run in another one arrives once, whole, and none is lost."""

import threading
from pathlib import Path

import pytest

from bulksms.ledger import Author, ControlCommand
from bulksms.ledger.sqlite import remote_control

ANNA = Author("anna", "server-1", "bulksms stop")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "people.ledger.db"


@pytest.mark.parametrize("command", ControlCommand)
def test_a_command_is_taken_once_and_leaves_nothing_behind(command: ControlCommand, ledger: Path) -> None:
    assert remote_control.take_command(ledger) is None
    remote_control.write_command(ledger, command, ANNA)
    assert remote_control.take_command(ledger) == (command, ANNA)
    assert remote_control.take_command(ledger) is None
    assert list(ledger.parent.iterdir()) == []


def test_what_is_forgotten_is_not_taken(ledger: Path) -> None:
    remote_control.write_command(ledger, ControlCommand.CANCEL, ANNA)
    remote_control.clear_command(ledger)
    assert remote_control.take_command(ledger) is None


def test_an_unknown_command_is_removed(ledger: Path) -> None:
    remote_control.control_path(ledger).write_text("something else")
    assert remote_control.take_command(ledger) is None
    assert list(ledger.parent.iterdir()) == []


def test_a_command_that_comes_while_another_is_taken_is_not_lost(ledger: Path) -> None:
    """Each waits until the one before was taken, as a person does who sees that the run has read it."""
    taken: list[ControlCommand] = []
    heard = threading.Semaphore(0)

    def ask() -> None:
        for number in range(200):
            remote_control.write_command(ledger, list(ControlCommand)[number % 3], ANNA)
            heard.acquire(timeout=10.0)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        if (command := remote_control.take_command(ledger)) is not None:
            taken.append(command[0])
            heard.release()
    assert taken == [list(ControlCommand)[number % 3] for number in range(200)]
