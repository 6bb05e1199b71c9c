"""`--at`, `--latest`, `--hours`, `--next-day`: nothing leaves before its time, and nothing goes on by itself."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.flows import ledger_run
from bulksms.ledger import open_ledger
from bulksms.model.message import State
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness
    from tests.harness import TerminalFactory

LEDGER = "people.ledger.db"
SEND = ("send", "people.csv", "--yes")


@pytest.fixture(autouse=True)
def local_noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Local time is between 11:00 and 13:00; call it with an hour to have another one."""

    def move(hour: int) -> None:
        now = datetime.now(UTC)
        shift = (hour - now.hour + 12) % 24 - 12
        monkeypatch.setenv("TZ", f"Etc/GMT{-shift:+d}" if shift else "UTC")
        time.tzset()

    move(12)
    yield move
    monkeypatch.undo()
    time.tzset()


def iso(seconds: float) -> str:
    return (datetime.now().astimezone() + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def queued(cli: "CliHarness") -> int:
    with open_ledger(cli.folder / LEDGER) as reader:
        return reader.counts().counts[State.QUEUED]


def test_a_run_starts_at_its_time_and_not_before(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    before = time.time()
    sent = cli(*SEND, "--at", iso(1.5))
    assert sent.code == 0
    assert len(server.journal.times) == 2
    assert time.time() - before >= 1.5
    assert "The run will start at " in sent.err
    assert "Waiting to start at " in sent.err
    assert f"{datetime.now().astimezone():%Y-%m-%d}" in sent.err, "the date"
    assert datetime.now().astimezone().isoformat()[-6:] in sent.err, "the zone"


def test_a_start_that_comes_too_late_expires_everything_and_sends_nothing(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    cli.people(3)
    monkeypatch.setattr(ledger_run, "wait_until", lambda *_: time.sleep(2.5))  # the machine slept
    sent = cli(*SEND, "--at", iso(1.0), "--latest", iso(2.0))
    assert sent.code == 5
    assert server.journal.total == 0
    assert {(line.state, line.reason) for line in cli.lines()} == {(State.EXPIRED, "deadline")}


def test_ctrl_c_while_waiting_leaves_everything_queued(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    server = cli.server()
    cli.people(3)
    monkeypatch.setattr(time, "sleep", interrupted)
    stopped = cli(*SEND, "--at", iso(3_600))
    assert stopped.code == 130
    assert f"To send it at once, or --at another TIME:\n  bulksms resume {LEDGER}\n" in stopped.err
    assert queued(cli) == 3
    monkeypatch.undo()
    cli.at(server)
    monkeypatch.chdir(cli.folder)
    assert cli("resume", LEDGER, "--yes").code == 0
    assert server.journal.total == 3


@on_terminals
def test_a_terminal_shows_how_long_it_waits_and_ctrl_c_leaves_it_clean(
    cli: "CliHarness", terminal: "TerminalFactory"
) -> None:
    cli.server()
    cli.people(1)
    screen = terminal(*SEND, "--at", iso(3_600), columns=80)
    screen.until("Starts in ")
    screen.interrupt()
    assert screen.end() == 130
    assert "\r\x1b[KStopped waiting; nothing was sent." in screen.shown, "on a line of its own"
    assert not [line for line in screen.lines if len(line) > 80 and not line.startswith(("  ", "fingerprint"))]


def test_outside_the_hours_nothing_is_planned_or_sent(cli: "CliHarness", local_noon: Callable[[int], None]) -> None:
    server = cli.server()
    cli.people(2)
    local_noon(22)
    refused = cli(*SEND, "--hours", "08:00-20:00")
    assert (refused.code, refused.out, server.journal.total) == (3, "", 0)
    assert "outside the sending hours 08:00-20:00" in refused.err
    assert "--next-day waits until " in refused.err
    assert cli.files == {"people.csv"}


def test_with_next_day_a_run_waits_for_the_hours_and_goes_on(
    cli: "CliHarness", local_noon: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    cli.people(3)
    local_noon(22)
    waited = []

    def wait(moment: float, _: object) -> None:
        waited.append(datetime.fromtimestamp(moment).astimezone().hour)
        assert server.journal.total == 0
        local_noon(12)

    monkeypatch.setattr(ledger_run, "wait_until", wait)
    assert cli(*SEND, "--hours", "08:00-20:00", "--next-day").code == 0
    assert waited == [8]
    assert server.journal.total == 3


def test_when_the_hours_end_the_rest_stays_queued_unless_the_next_day_is_allowed(
    cli: "CliHarness", local_noon: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.server()
    cli.people(3)
    # The hours end between the question and the start.
    monkeypatch.setattr(ledger_run, "register_start", lambda *_, **__: local_noon(22))
    stopped = cli(*SEND, "--hours", "08:00-20:00")
    assert (stopped.code, server.journal.total, queued(cli)) == (5, 0, 3)
    assert "(outside_hours)" in stopped.err
    assert f"bulksms resume {LEDGER}" in stopped.err
    kept = cli("resume", LEDGER)
    assert (kept.code, server.journal.total) == (3, 0), "the hours hold for resume, too"
    monkeypatch.setattr(ledger_run, "wait_until", lambda *_: local_noon(12))
    local_noon(12)
    went_on = cli("resume", LEDGER, "--yes", "--next-day")
    assert (went_on.code, server.journal.total) == (0, 3)
    assert "The sending hours have ended; 3 are left." in went_on.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--latest", "23:59"), "--latest is about a start --at a time"),
        (("--next-day",), "--next-day is about the sending hours"),
        (("--at", "30m"), "no moment"),
        (("--at", "2020-01-01T08:00"), "has passed already"),
        (("--hours", "8-20"), "no range of hours"),
        (("--at", "{+3600}", "--latest", "{+60}"), "is not after --at"),
        (("--at", "{+3600}", "--latest", "{+7200}", "--deadline", "23:59"), "the same limit"),
        (("--at", "{+28800}", "--hours", "11:00-14:00"), "is outside the sending hours"),
    ],
)
def test_what_contradicts_itself_is_refused(cli: "CliHarness", options: tuple[str, ...], words: str) -> None:
    cli.server()
    cli.people(1)
    given = [iso(float(each[2:-1])) if each.startswith("{") else each for each in options]
    refused = cli(*SEND, *given)
    assert (refused.code, refused.out) == (2, "")
    assert words in refused.err
    assert "hint: " in refused.err


def test_a_rehearsal_does_not_wait_for_the_hours(cli: "CliHarness", local_noon: Callable[[int], None]) -> None:
    cli.people(2)
    local_noon(22)
    assert cli("send", "people.csv", "--sandbox", "--hours", "08:00-20:00").code in (0, 1, 4)
