"""The reading bar: none without a terminal, seldom redrawn, gone at the end."""

import sys
import time
from collections.abc import Callable

import pytest
from rich.progress import Progress

from bulksms.cli.flows.read_input import reading_shown
from bulksms.cli.ui import live_display


class Clock:
    """A clock that stops until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(live_display, "time", clock)
    return clock


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every drawing of a bar, as its words."""
    drawings: list[str] = []
    update = Progress.update

    def noted(bar: Progress, *arguments: object, **values: object) -> None:
        drawings.append(str(values["description"]))
        update(bar, *arguments, **values)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(Progress, "update", noted)
    return drawings


def test_it_is_redrawn_ten_times_a_second_at_most(clock: Clock, drawn: list[str]) -> None:
    with live_display.reading_bar(10_000) as show:
        for step in range(1, 1001):
            clock.now = step / 1000
            show(step, step)
    assert len(drawn) in (9, 10)


def test_what_is_read_in_an_instant_has_no_bar(clock: Clock, drawn: list[str]) -> None:
    with live_display.reading_bar(100) as show:
        clock.now = 0.09
        show(50, 100)
    assert drawn == []


def test_the_end_of_the_reading_is_always_shown(clock: Clock, drawn: list[str]) -> None:
    with live_display.reading_bar(100) as show:
        clock.now = 0.2
        show(1_000, 50)
        show(2_000, 100)
    assert drawn == ["1,000 rows", "2,000 rows, comparing recipients"]


def test_without_a_length_the_rows_are_shown(clock: Clock, drawn: list[str]) -> None:
    with live_display.reading_bar(None) as show:
        clock.now = 0.2
        show(1_000, 1 << 18)
    assert drawn == ["1,000 rows"]


def test_it_is_gone_when_the_reading_fails(
    clock: Clock, drawn: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[bool] = []
    stop = Progress.stop

    def noted(bar: Progress) -> None:
        stopped.append(True)
        stop(bar)

    def read() -> None:
        with live_display.reading_bar(100) as show:
            clock.now = 0.2
            show(1, 1)
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "stop", noted)
    with pytest.raises(KeyboardInterrupt):
        read()
    assert (stopped, len(drawn), capsys.readouterr().out) == ([True], 1, "")


@pytest.mark.parametrize(
    ("quiet", "terminal", "shown"),
    [
        (False, True, live_display.reading_bar),
        (True, True, live_display.no_bar),
        (False, False, live_display.no_bar),
    ],
)
def test_only_a_person_at_a_terminal_sees_it(
    quiet: bool, terminal: bool, shown: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert reading_shown(quiet=quiet) is shown


def test_without_a_bar_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with live_display.no_bar(100) as show:
        began = time.monotonic()
        while time.monotonic() == began:
            show(1, 1)
        show(100, 100)
    assert capsys.readouterr() == ("", "")
