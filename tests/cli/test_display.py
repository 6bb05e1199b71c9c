"""What is shown while a run lives: on a terminal, on a poor one, and where there is none."""

import asyncio
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from bulksms.cli.screen import progress
from bulksms.cli.screen.look import Span
from bulksms.cli.screen.progress import Living
from bulksms.config import RunSettings
from bulksms.engine.progress import Progress
from bulksms.ledger.reader import Standing
from bulksms.message import State

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Start
    from tests.conftest import Desktop, Terminal

on_terminals = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7]|4[0-7]|38|48)[0-9;]*m")
TO_BE_COPIED = ("fingerprint", "SHA-256", "  bulksms ")
"""What is shown whole, however narrow the terminal."""
PEOPLE = 60
SEND = ("send", "people.csv", "--yes", "--workers", "6", "--no-adapt")


def shown(desk: "Desk", terminal: "Desktop", *options: str, columns: int = 120, **environment: str) -> "Terminal":
    """A run of a second and a bit, to its end."""
    desk.server(latency=0.1)
    desk.people(PEOPLE)
    screen = terminal(*SEND, *options, columns=columns, **environment)
    assert screen.end() == 0, screen.shown
    assert "60 = 60 accepted" in screen.shown
    return screen


@on_terminals
def test_a_bar_shows_how_far_a_run_is(desk: "Desk", terminal: "Desktop") -> None:
    screen = shown(desk, terminal)
    assert any(re.search(r"█░+  \d+ of 60  \d+ %", line) for line in screen.lines)
    assert any(re.search(r"a second; 6 at once: fixed", line) for line in screen.lines)
    assert "60 of 60  100 %" in screen.shown
    assert COLOUR.search(screen.shown)


@on_terminals
def test_without_colours_the_words_are_the_same(desk: "Desk", terminal: "Desktop") -> None:
    screen = shown(desk, terminal, NO_COLOR="1")
    assert not COLOUR.search(screen.shown)
    assert any(re.search(r"█░+  \d+ of 60  \d+ %", line) for line in screen.lines)


@on_terminals
@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal(columns: int, desk: "Desk", terminal: "Desktop") -> None:
    desk.server(latency=0.1)
    desk.people(200)
    screen = terminal(*SEND, "--deadline", "1s", columns=columns)
    assert screen.end() == 5
    assert "WARNING" in screen.shown
    too_wide = [line for line in screen.lines if len(line) > columns and not line.startswith(TO_BE_COPIED)]
    assert too_wide == []


@on_terminals
def test_quiet_shows_nothing_while_it_runs(desk: "Desk", terminal: "Desktop") -> None:
    screen = shown(desk, terminal, "--quiet")
    assert " %" not in screen.shown
    assert "a second" not in screen.shown.partition("Handed to Adaxes")[0]


@on_terminals
def test_a_terminal_without_a_cursor_is_not_drawn_on(desk: "Desk", terminal: "Desktop") -> None:
    screen = shown(desk, terminal, TERM="dumb")
    assert "\x1b" not in screen.shown
    assert " %" not in screen.shown


@on_terminals
def test_a_console_with_an_old_code_page_gets_characters_that_it_has(desk: "Desk", terminal: "Desktop") -> None:
    screen = shown(desk, terminal, PYTHONIOENCODING="cp437")
    assert f"{'#' * 40}  60 of 60  100 %" in screen.lines
    assert "\ufffd" not in screen.shown, "nothing else than ASCII was written"
    assert "\\u" not in screen.shown


@on_terminals
def test_what_is_said_meanwhile_stands_whole_above_the_bar(desk: "Desk", terminal: "Desktop") -> None:
    server = desk.server(latency=0.1)
    desk.people(400)
    screen = terminal(*SEND, "--log-level", "info")
    screen.until(" at once: ")
    screen.interrupt()
    assert screen.end() == 130
    stopping = "Stopping: nothing new begins, answers in flight are awaited. Once more breaks those off too."
    assert [line for line in screen.lines if "Stopping" in line] == [stopping]
    assert any("run stopping" in line and "reason=interrupted" in line for line in screen.lines)
    assert server.journal.total < 400


def test_elsewhere_it_is_a_plain_line_now_and_then(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.screen.progress.LINE_EVERY", 0.1)
    desk.server(latency=0.05)
    desk.people(PEOPLE)
    said = desk(*SEND)
    assert said.code == 0
    lines = [line for line in said.err.splitlines() if " at once: " in line]
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"\d+ of 60 \(\d+ %\) after [\d.]+ s: \d+ accepted, 0 failed, 0 unknown(, \d sending)?(, \d+ queued)?; "
            r"([\d.]+ a second; )?6 at once: fixed; done(:| about) .+",
            line,
        ), line


def test_quiet_says_no_line_either(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.screen.progress.LINE_EVERY", 0.02)
    desk.server(latency=0.02)
    desk.people(PEOPLE)
    assert desk(*SEND, "--quiet").err == ""


def test_a_plain_line_comes_every_ten_seconds() -> None:
    assert progress.LINE_EVERY == 10.0


class Clock:
    """Sleeping moves it, and nothing else; after ten seconds it is over."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= 10.0:
            raise asyncio.CancelledError


class Paper:
    """Takes the place of a terminal: knows when it was drawn on."""

    width = 79
    is_plain = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.drawn: list[float] = []
        self.paused: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def draw(self, lines: Iterable[Sequence[Span]]) -> None:
        assert list(lines)
        self.drawn.append(self.clock.now)

    def pause(self) -> None:
        self.paused.append(self.clock.now)

    def go_on(self) -> None:
        assert self.paused


@pytest.mark.parametrize("asking", [False, True])
async def test_it_is_drawn_at_most_ten_times_a_second(asking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    paper = Paper(clock)
    monkeypatch.setattr(progress, "Drawing", lambda *, stderr: paper if stderr else None)
    monkeypatch.setattr("bulksms.cli.screen.progress.asyncio.sleep", clock.sleep)
    standing = Standing({**dict.fromkeys(State, 0), State.QUEUED: 10}, 0, is_living=True)
    run = Progress(asking=asking)
    with pytest.raises(asyncio.CancelledError):
        await progress._draw(Living(Path("people.ledger.db"), 1, standing, run))
    if asking:
        assert (len(paper.drawn), paper.paused) == (2, [0.0]), "the first and the last, none while somebody is asked"
    else:
        assert 10 <= len(paper.drawn) <= 10 * 10 + 1


async def test_messages_of_earlier_runs_count_as_well(tmp_path: Path) -> None:
    counts = {**dict.fromkeys(State, 0), State.ACCEPTED: 5, State.PROCESSING: 2, State.QUEUED: 10}
    run = Progress()
    living = Living(tmp_path / "people.ledger.db", 2, Standing(counts, 0, is_living=True), run)
    run.settled.update({State.ACCEPTED: 3, State.PROCESSING: -1, State.FAILED: 1})
    for _ in range(2):
        run.traffic.concurrency.begin()
    look = living.look()
    assert {state: count for state, count in look.counts.items() if count} == {
        State.ACCEPTED: 8,
        State.PROCESSING: 1,
        State.FAILED: 1,
        State.SENDING: 2,
        State.QUEUED: 5,
    }
    assert (look.meant, look.left, look.done) == (17, 8, 9)


def test_a_run_leaves_nothing_beside_its_ledger(desk: "Desk", start: "Start") -> None:
    desk.server(latency=0.05)
    desk.people(PEOPLE)
    process = start(*SEND)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert desk.files == {"people.csv", "people.ledger.db"}


async def test_the_deadline_of_the_display_is_that_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A duration counts from the first request: only the run knows when that was."""
    monkeypatch.setattr("bulksms.cli.screen.progress.time.time", lambda: 1_000.0)
    run = Progress(deadline=1_001.0)
    run.settled[State.ACCEPTED] = 50
    run.began -= 10.0
    await progress._correct_forecast(run, 100, RunSettings())
    assert "WARNING: at the speed of the first 50 answers" in capsys.readouterr().err


async def test_the_time_that_a_person_takes_to_answer_is_not_the_servers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor are the first messages, which went one at a time."""
    monkeypatch.setattr("bulksms.cli.screen.progress.REDRAW_EVERY", 0.001)
    run = Progress(deadline=time.time() + 3_600.0, asking=True)
    run.began -= 600.0
    run.settled[State.ACCEPTED] = 3
    correcting = asyncio.create_task(progress._correct_forecast(run, 1_000, RunSettings()))
    await asyncio.sleep(0.05)
    run.asking = False
    run.settled[State.ACCEPTED] += 60
    await correcting
    assert capsys.readouterr().err == ""
