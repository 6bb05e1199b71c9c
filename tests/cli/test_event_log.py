"""--event-log: start, end and what needs attention are in the system's log; the ids of ends are the exit codes."""

import logging
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.cli.flows import announcement
from bulksms.cli.flows.announcement import ATTENTION, STARTED, EventLog, Severity, report_to_windows
from bulksms.ledger import RunStatus
from bulksms.sandbox import Fault
from tests.platforms import on_terminals as on_posix

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SEND = ("send", "people.csv", "--yes", "--event-log")


class Listener:
    """A socket where journald or syslog would listen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    @property
    def entries(self) -> list[str]:
        """What was written since the last look."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Syslog, and no journald."""
    # The name of a socket is shorter than those of the folders of tests may be.
    with tempfile.TemporaryDirectory() as folder:
        there = Listener(Path(folder) / "log")
        monkeypatch.setattr(announcement, "JOURNAL", Path(folder) / "none")
        monkeypatch.setattr(announcement, "SYSLOG", (Path(folder) / "no-such-log", there.path))
        yield there
        there.close()


@on_posix
def test_start_and_end_are_in_syslog_with_the_exit_code_as_id(cli: "CliHarness", listener: Listener) -> None:
    server = cli.server()
    cli.people(2, mark="[drop_after]")
    assert cli(*SEND).code == 4
    begun, ended = listener.entries
    ledger = re.escape(str(cli.folder / "people.ledger.db"))
    assert re.fullmatch(
        rf"<14>bulksms\[\d+\]: event 1000: Run started: 2 to send to {server.url}; ledger {ledger}\.", begun
    )
    assert re.fullmatch(
        r"<12>bulksms\[\d+\]: event 4: Run 1 ended with exit code 4: finished; the outcome of some messages is "
        rf"unknown\. 2 = 2 unknown; ledger {ledger}\.",
        ended,
    )


@on_posix
def test_a_good_end_is_information_and_a_stop_is_an_error(cli: "CliHarness", listener: Listener) -> None:
    cli.server()
    cli.people(1)
    assert cli(*SEND).code == 0
    assert listener.entries[-1].startswith("<14>")
    cli.people(3, "others.csv", mark="[result_failed]")
    assert cli("send", "others.csv", "--yes", "--event-log", "--canary", "1").code == 5
    last = listener.entries[-1]
    assert last.startswith("<11>")
    assert "event 5: " in last
    assert "Stopped (canary_failed)." in last


@on_posix
def test_a_run_that_is_refused_is_reported_by_its_exit_code(cli: "CliHarness", listener: Listener) -> None:
    cli.server()
    cli.people(1)
    assert cli(*SEND).code == 0
    assert len(listener.entries) == 2
    assert cli(*SEND).code == 3, "everybody has it"
    (refused,) = listener.entries
    assert "event 3: Ended with exit code 3: input or plan refused" in refused
    assert cli(*SEND, "--dry-run", "--new").code == 0
    assert listener.entries == [], "a dry run is no event"


@on_posix
def test_journald_gets_fields(cli: "CliHarness", listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcement, "JOURNAL", listener.path)
    cli.server()
    cli.people(1)
    assert cli(*SEND).code == 0
    fields = [dict(line.split("=", 1) for line in entry.splitlines()) for entry in listener.entries]
    assert [one["BULKSMS_EVENT"] for one in fields] == ["1000", "0"]
    assert [one["PRIORITY"] for one in fields] == ["6", "6"]
    assert {one["SYSLOG_IDENTIFIER"] for one in fields} == {"bulksms"}
    assert fields[1]["MESSAGE"].startswith("Run 1 ended with exit code 0: all accepted.")


@on_posix
def test_without_any_log_one_sentence_says_so_and_the_run_goes_on(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcement, "JOURNAL", Path("/nowhere"))
    monkeypatch.setattr(announcement, "SYSLOG", ())
    cli.server()
    cli.people(1)
    result = cli(*SEND)
    assert result.code == 0
    words = "warning: this system has neither an event log nor journald nor syslog; --event-log writes nothing."
    assert result.err.count(words) == 1


@on_posix
def test_a_log_that_stops_listening_is_reported_once_and_changes_nothing(cli: "CliHarness", listener: Listener) -> None:
    cli.server()
    cli.people(1)
    listener.close()
    result = cli(*SEND, "--json")
    assert result.code == 0
    assert "warning: the system's log cannot be written to: Connection refused." in result.err


def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Severity, str]]:
    """Everything that is reported to a log of this system from now on."""
    entries: list[tuple[int, Severity, str]] = []
    monkeypatch.setattr(announcement, "_system_log", lambda: lambda *entry: entries.append(entry))
    return entries


def test_an_outage_and_its_end_need_attention_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = written(monkeypatch)
    log = announcement.event_log(wanted=True)
    status: dict[str, Any] = {"run": 1, "elapsed": 1.0, "overall": None, "recent": None, "concurrency": 1}
    status |= {"ceiling": 1, "adapts": True, "in_flight": 0}
    for away in (None, 1.0, 2.0, None, None):
        log.look(RunStatus(**status, unavailable_for=away, gives_up_in=None if away is None else 599.0))
    assert entries == [
        (ATTENTION, Severity.WARNING, "The server takes nothing; the run waits for another 9 min 59 s."),
        (ATTENTION, Severity.INFORMATION, "The server takes messages again."),
    ]


def test_an_outage_of_a_run_is_reported(cli: "CliHarness", monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[tuple[int, Severity, str]] = []
    server = cli.server()

    def write(event: int, severity: Severity, words: str) -> None:
        entries.append((event, severity, words))
        if "The server takes nothing" in words:
            server.sandbox.everybody = None

    monkeypatch.setattr(announcement, "_system_log", lambda: write)
    server.sandbox.everybody = Fault.STATUS_503
    cli.people(30)
    assert cli(*SEND, "--max-outage", "60").code == 0
    assert [event for event, _, _ in entries][0 :: len(entries) - 1] == [STARTED, 0]
    assert any("The server takes nothing" in words for _, _, words in entries)


def test_warnings_of_the_program_need_attention_and_name_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = written(monkeypatch)
    with announcement.reporting_to_event_log(wanted=True):
        logger = logging.getLogger("bulksms")
        logger.warning({"event": "hook failed", "level": "error", "timestamp": "now", "row": 7, "recipient": "CN=Anna"})
        logger.warning("plain")
        logger.info("nothing to see")
    assert entries == [
        (ATTENTION, Severity.WARNING, "hook failed: row=7"),
        (ATTENTION, Severity.WARNING, "plain"),
    ]


class Windows:
    """advapi32 as far as it is used."""

    def __init__(self, *, opens: bool = True, takes: bool = True) -> None:
        self.opens, self.takes = opens, takes
        self.entries: list[tuple[int, int, str]] = []
        self.closed = 0

        def register(server: None, source: str) -> int:
            assert (server, source) == (None, "bulksms")
            return 4711 if opens else 0

        self.RegisterEventSourceW = register

    def ReportEventW(self, handle: Any, kind: int, category: int, event: int, *rest: Any) -> int:  # noqa: N802
        user, strings, size, lines, data = rest
        assert (handle.value, category, user, strings, size, data) == (4711, 0, None, 1, 0, None)
        self.entries.append((kind, event, lines[0]))
        return int(self.takes)

    def DeregisterEventSource(self, handle: Any) -> None:  # noqa: N802
        assert handle.value == 4711
        self.closed += 1


def test_windows_gets_the_type_the_id_and_the_words() -> None:
    windows = Windows()
    report_to_windows(windows, 4, Severity.WARNING, "Run 1 ended: Müller")
    report_to_windows(windows, 5, Severity.ERROR, "Run 2 ended")
    assert windows.entries == [(2, 4, "Run 1 ended: Müller"), (1, 5, "Run 2 ended")]
    assert windows.closed == 2


@pytest.mark.parametrize("windows", [Windows(opens=False), Windows(takes=False)])
def test_windows_that_takes_nothing_is_a_warning(windows: Windows, capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog(lambda *entry: report_to_windows(windows, *entry))
    log.attention("once")
    log.attention("twice")
    assert capsys.readouterr().err.count("warning: the system's log cannot be written to") == 1
