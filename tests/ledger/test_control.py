"""What one shell wants of a run in another one arrives once, whole, and none is lost."""

import threading
from pathlib import Path

import pytest

from bulksms.ledger import control
from bulksms.ledger.control import Wish


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "people.ledger.db"


@pytest.mark.parametrize("wish", Wish)
def test_a_wish_is_taken_once_and_leaves_nothing_behind(wish: Wish, ledger: Path) -> None:
    assert control.take(ledger) is None
    control.ask(ledger, wish)
    assert control.take(ledger) is wish
    assert control.take(ledger) is None
    assert list(ledger.parent.iterdir()) == []


def test_what_is_forgotten_is_not_taken(ledger: Path) -> None:
    control.ask(ledger, Wish.CANCEL)
    control.forget(ledger)
    assert control.take(ledger) is None


def test_what_is_no_wish_is_taken_away(ledger: Path) -> None:
    control.control_path(ledger).write_text("something else")
    assert control.take(ledger) is None
    assert list(ledger.parent.iterdir()) == []


def test_a_wish_that_comes_while_another_is_taken_is_not_lost(ledger: Path) -> None:
    """Each waits until the one before was taken, as a person does who sees that the run was told."""
    taken: list[Wish] = []
    heard = threading.Semaphore(0)

    def ask() -> None:
        for number in range(200):
            control.ask(ledger, list(Wish)[number % 3])
            heard.acquire(timeout=10.0)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        if (wish := control.take(ledger)) is not None:
            taken.append(wish)
            heard.release()
    assert taken == [list(Wish)[number % 3] for number in range(200)]
