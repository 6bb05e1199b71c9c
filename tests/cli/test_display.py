"""What is shown while a run lives: on a terminal, on a poor one, and where there is none."""

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from bulksms.cli.flows.run import draining
from bulksms.cli.ui import progress
from bulksms.cli.ui.progress import RunMonitor
from bulksms.cli.ui.status_view import Span
from bulksms.engine.worker import RunCounters
from bulksms.ledger import Counts, RunStatus
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start
    from tests.harness import Terminal, TerminalFactory

COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7]|4[0-7]|38|48)[0-9;]*m")
TO_BE_COPIED = ("fingerprint", "ledger SHA-256", "  ")
"""What is shown whole, however narrow the terminal."""
PEOPLE = 60
SEND = ("send", "people.csv", "--yes", "--workers", "6", "--no-adapt")


def shown(
    cli: "CliHarness", terminal: "TerminalFactory", *options: str, columns: int = 120, **environment: str
) -> "Terminal":
    """A run of a second and a bit, to its end."""
    cli.server(latency=0.1)
    cli.people(PEOPLE)
    screen = terminal(*SEND, *options, columns=columns, **environment)
    assert screen.end() == 0, screen.shown
    assert "60 = 60 accepted" in screen.shown
    return screen


@on_terminals
def test_a_bar_shows_how_far_a_run_is(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    screen = shown(cli, terminal)
    assert any(re.search(r"█░+  \d+ of 60  \d+ %", line) for line in screen.lines)
    assert any(re.search(r"a second; 6 at once: fixed", line) for line in screen.lines)
    assert "60 of 60  100 %" in screen.shown
    assert COLOUR.search(screen.shown)


@on_terminals
def test_without_colours_the_words_are_the_same(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    screen = shown(cli, terminal, NO_COLOR="1")
    assert not COLOUR.search(screen.shown)
    assert any(re.search(r"█░+  \d+ of 60  \d+ %", line) for line in screen.lines)


@on_terminals
@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal(columns: int, cli: "CliHarness", terminal: "TerminalFactory") -> None:
    cli.server(latency=0.1)
    cli.people(200)
    screen = terminal(*SEND, "--deadline", "1s", columns=columns)
    assert screen.end() == 5
    assert "WARNING" in screen.shown
    too_wide = [line for line in screen.lines if len(line) > columns and not line.startswith(TO_BE_COPIED)]
    assert too_wide == []


@on_terminals
def test_quiet_shows_nothing_while_it_runs(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    screen = shown(cli, terminal, "--quiet")
    assert " %" not in screen.shown
    assert "a second" not in screen.shown.partition("Handed to Adaxes")[0]


@on_terminals
def test_a_terminal_without_a_cursor_is_not_drawn_on(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    screen = shown(cli, terminal, TERM="dumb")
    assert "\x1b" not in screen.shown
    assert " %" not in screen.shown


@on_terminals
def test_a_console_with_an_old_code_page_gets_characters_that_it_has(
    cli: "CliHarness", terminal: "TerminalFactory"
) -> None:
    screen = shown(cli, terminal, PYTHONIOENCODING="cp437")
    assert f"{'#' * 40}  60 of 60  100 %" in screen.lines
    assert "\ufffd" not in screen.shown, "nothing else than ASCII was written"
    assert "\\u" not in screen.shown


@on_terminals
def test_what_is_reported_meanwhile_is_whole_above_the_bar(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    server = cli.server(latency=0.1)
    cli.people(400)
    screen = terminal(*SEND, "--log-level", "info")
    screen.until(" at once: ")
    screen.interrupt()
    assert screen.end() == 130
    text = " ".join(" ".join(screen.lines).split())
    assert text.count("Stopping: ") == 1
    assert re.search(r"Stopping: nothing new begins(; \d+ answers?|, and nothing is) in flight", text)
    assert any("run stopping" in line and "reason=interrupted" in line for line in screen.lines)
    assert server.journal.total < 400


def test_elsewhere_it_is_a_plain_line_now_and_then(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.ui.progress.LINE_EVERY", 0.1)
    cli.server(latency=0.05)
    cli.people(PEOPLE)
    result = cli(*SEND)
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if " at once: " in line]
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"\d+ of 60 \(\d+ %\) after [\d.]+ s: \d+ accepted, 0 failed, 0 unknown(, \d sending)?(, \d+ queued)?; "
            r"([\d.]+ a second; )?6 at once: fixed; done(:| in) .+",
            line,
        ), line


def test_quiet_says_no_line_either(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.ui.progress.LINE_EVERY", 0.02)
    cli.server(latency=0.02)
    cli.people(PEOPLE)
    assert cli(*SEND, "--quiet").err == ""


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


class Run:
    """A run as the display sees it, made up."""

    def __init__(
        self, *, is_asking: bool = False, deadline: float | None = None, elapsed: float = 0.0, in_flight: int = 0
    ) -> None:
        self.counters = RunCounters(0.0)
        self.is_asking = is_asking
        self.deadline = deadline
        self.elapsed = elapsed
        self.in_flight = in_flight

    def status(self, recent: float | None = None) -> RunStatus:
        return RunStatus(
            1, self.elapsed, None, recent, 16, 16, adapts=True, in_flight=self.in_flight, deadline=self.deadline
        )


@pytest.mark.parametrize("asking", [False, True])
async def test_it_is_drawn_at_most_ten_times_a_second(asking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    paper = Paper(clock)
    monkeypatch.setattr(progress, "LiveDisplay", lambda *, stderr: paper if stderr else None)
    monkeypatch.setattr("bulksms.cli.ui.progress.asyncio.sleep", clock.sleep)
    counts = Counts({**dict.fromkeys(State, 0), State.QUEUED: 10}, 0, is_living=True)
    run = Run(is_asking=asking)
    with pytest.raises(asyncio.CancelledError):
        await progress._draw(RunMonitor(Path("people.ledger.db"), counts, run))
    if asking:
        assert (len(paper.drawn), paper.paused) == (2, [0.0]), "the first and the last, none while somebody is asked"
    else:
        assert 10 <= len(paper.drawn) <= 10 * 10 + 1


async def test_messages_of_earlier_runs_count_as_well(tmp_path: Path) -> None:
    counts = {**dict.fromkeys(State, 0), State.ACCEPTED: 5, State.PROCESSING: 2, State.QUEUED: 10}
    run = Run(in_flight=2)
    living = RunMonitor(tmp_path / "people.ledger.db", Counts(counts, 0, is_living=True), run)
    run.counters.settled.update({State.ACCEPTED: 3, State.PROCESSING: -1, State.FAILED: 1})
    look = living.look()
    assert {state: count for state, count in look.counts.items() if count} == {
        State.ACCEPTED: 8,
        State.PROCESSING: 1,
        State.FAILED: 1,
        State.SENDING: 2,
        State.QUEUED: 5,
    }
    assert (look.meant, look.left, look.done) == (17, 8, 9)


def test_a_run_leaves_nothing_beside_its_ledger(cli: "CliHarness", start: "Start") -> None:
    cli.server(latency=0.05)
    cli.people(PEOPLE)
    process = start(*SEND)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert cli.files == {"people.csv", "people.ledger.db"}


async def test_the_deadline_of_the_display_is_that_of_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A duration counts from the first request: only the run knows when that was."""
    monkeypatch.setattr("bulksms.cli.ui.progress.time.time", lambda: 1_000.0)
    run = Run(deadline=1_001.0, elapsed=10.0)
    run.counters.settled[State.ACCEPTED] = 50
    await progress._correct_forecast(run, 100, RunSettings())
    assert "WARNING: at the speed of the first 50 answers" in capsys.readouterr().err


async def test_the_time_that_a_person_takes_to_answer_is_not_the_servers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor are the first messages, which went one at a time."""
    monkeypatch.setattr("bulksms.cli.ui.progress.REDRAW_EVERY", 0.001)
    run = Run(deadline=time.time() + 3_600.0, is_asking=True, elapsed=600.0)
    run.counters.settled[State.ACCEPTED] = 3
    correcting = asyncio.create_task(progress._correct_forecast(run, 1_000, RunSettings()))
    await asyncio.sleep(0.05)
    run.is_asking = False
    run.elapsed += 1.0
    run.counters.settled[State.ACCEPTED] += 60
    await correcting
    assert capsys.readouterr().err == ""


def test_the_first_interrupt_says_what_is_awaited_and_what_a_second_one_costs() -> None:
    assert draining(4, 30.0) == (
        "Stopping: nothing new begins; 4 answers in flight are awaited for 30 s at most. "
        "Ctrl-C again breaks that off: then it will be unknown whether those 4 were sent."
    )
    assert "1 answer in flight is awaited for 2.5 s at most" in draining(1, 2.5)
    assert "whether that one was sent" in draining(1, 2.5)
    assert draining(0, 30.0) == "Stopping: nothing new begins, and nothing is in flight."
