"""Announcement: other programs learn how a run begins and ends, and what needs a person meanwhile.

`--on-finish` runs a command of the operator, for a mail, a chat or a ticket. `--event-log` writes to the log of the
system: the Windows Event Log, journald or syslog. `--log-file` has the events of the engine, for people or as JSON.

Invariants: whatever fails here is a warning and changes nothing, least of all the exit code. None of them gets a secret
or a text.
"""

import io
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import structlog

from bulksms.cli.options.values import arguments_of
from bulksms.cli.ui.console import say
from bulksms.cli.ui.process import TolerantOutput, text_over
from bulksms.cli.ui.result import RunResult
from bulksms.errors import BulksmsError, UsageError
from bulksms.ledger import LedgerName, RunStatus
from bulksms.report.shapes import as_json
from bulksms.report.summary import MEANINGS, ExitCode, error_exit
from bulksms.report.text import duration, printable

SECONDS = 60.0
"""How long the command may take: the exit code of this program waits for it."""
SECRETS = ("BULKSMS_TOKEN", "BULKSMS_PASSWORD")

SOURCE = "bulksms"
"""Under which name the entries are in the system's log."""
STARTED = 1_000
ATTENTION = 1_001
"""Ids of entries that are about no end; those of an end are the exit codes."""
JOURNAL = Path("/run/systemd/journal/socket")
"""Where journald listens (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/)."""
SYSLOG = (Path("/dev/log"), Path("/var/run/syslog"))
"""Where syslog listens on Linux and on macOS (syslog(3))."""
USER_FACILITY = 1


class Severity(Enum):
    """How bad it is: the number of syslog (RFC 5424) and the type of ReportEventW."""

    ERROR = 3, 0x0001
    WARNING = 4, 0x0002
    INFORMATION = 6, 0x0004


Write = Callable[[int, Severity, str], None]
"""Writes one entry: its id, how bad it is, and a line. Raises OSError."""


def run_on_finish(result: RunResult, command: str | None) -> None:
    """Run the command of `--on-finish`, if there is one, with the result on its standard input."""
    if command is None:
        return
    summary = result.summary
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    environment |= {
        "BULKSMS_EXIT_CODE": str(int(result.exit_code)),
        "BULKSMS_LEDGER": str(summary.ledger.absolute()),
        "BULKSMS_REHEARSAL": "1" if summary.is_rehearsal else "",
    }
    trouble = _run(command, as_json(summary.result()), environment, SECONDS)
    if trouble is not None:
        say(f"warning: the command of --on-finish {trouble}; this changes nothing about the run.")


def _run(command: str, text: str, environment: Mapping[str, str], seconds: float) -> str | None:
    """Run the command with this text on its standard input; what went wrong, None if nothing did."""
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command
            arguments_of(command), input=text.encode(), env=environment, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {seconds:g} s and was ended"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    return None if done.returncode == 0 else f"failed with exit code {done.returncode}"


class EventLog:
    """The log of the system, or nothing at all; `event_log` makes it."""

    def __init__(self, write: Write | None) -> None:
        self._write = write
        self._is_away = False

    @property
    def exists(self) -> bool:
        """Whether anything is written."""
        return self._write is not None

    def started(self, ledger: LedgerName, messages: int, url: str) -> None:
        """A run begins."""
        self._say(
            STARTED, Severity.INFORMATION, f"Run started: {messages:,} to send to {url}; ledger {_place(ledger)}."
        )

    def ended(self, result: RunResult) -> None:
        """A run has ended; the id is the exit code."""
        summary, code = result.summary, ExitCode(result.exit_code)
        rehearsal = "Rehearsal" if summary.is_rehearsal else "Run"
        stopped = "" if summary.stopped is None else f" Stopped ({summary.stopped})."
        words = f"{rehearsal} {summary.run} ended with exit code {int(code)}: {MEANINGS[code]}.{stopped}"
        self._say(code, _severity(code), f"{words} {summary.equation()}; ledger {_place(summary.ledger)}.")

    def refused(self, error: BulksmsError) -> None:
        """A run did not begin, or ended without a result; the id is the exit code."""
        code = error_exit(error)
        self._say(code, Severity.ERROR, f"Ended with exit code {int(code)}: {MEANINGS[code]}. {error}")

    def look(self, status: RunStatus) -> None:
        """How a run is now: an outage that begins, and its end, need attention."""
        is_away = status.unavailable_for is not None
        if is_away and not self._is_away:
            patience = (
                "" if status.gives_up_in is None else f"; the run waits for another {duration(status.gives_up_in)}"
            )
            self.attention(f"The server takes nothing{patience}.")
        if self._is_away and not is_away:
            self._say(ATTENTION, Severity.INFORMATION, "The server takes messages again.")
        self._is_away = is_away

    def attention(self, words: str) -> None:
        """Something needs a person."""
        self._say(ATTENTION, Severity.WARNING, words)

    def _say(self, event: int, severity: Severity, words: str) -> None:
        if self._write is None:
            return
        try:
            self._write(event, severity, printable(" ".join(words.split())))
        except OSError as error:
            self._write = None
            say(f"warning: the system's log cannot be written to: {error.strerror}. The run goes on without it.")


def event_log(*, wanted: bool) -> EventLog:
    """The log of this system, if it is wanted and there is one."""
    return EventLog(_system_log() if wanted else None)


@contextmanager
def reporting_to_event_log(*, wanted: bool) -> Iterator[None]:
    """Tell the system's log what is refused in this block, and warnings; say so if there is no such log."""
    if not wanted:
        yield
        return
    log = event_log(wanted=True)
    if not log.exists:
        say("warning: this system has neither an event log nor journald nor syslog; --event-log writes nothing.")
    logger = logging.getLogger("bulksms")
    for earlier in [handler for handler in logger.handlers if isinstance(handler, _Warnings)]:
        logger.removeHandler(earlier)
    logger.addHandler(_Warnings(log))
    try:
        yield
    except BulksmsError as error:
        log.refused(error)
        raise


class _Warnings(logging.Handler):
    """Tells the system's log what the program logs as a warning or worse."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one event, without the recipient that it may name."""
        event: dict[str, Any] = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        name = event.pop("event")
        facts = (f"{key}={value}" for key, value in event.items() if key not in ("level", "timestamp", "recipient"))
        self._log.attention(" ".join((f"{name}:", *facts)).removesuffix(":"))


def _system_log() -> Write | None:
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - only there

        return partial(report_to_windows, ctypes.WinDLL("advapi32", use_last_error=True))
    if JOURNAL.is_socket():
        return _write_to_journal
    syslog = next((path for path in SYSLOG if path.is_socket()), None)
    return None if syslog is None else partial(_write_to_syslog, syslog)


def report_to_windows(advapi32: Any, event: int, severity: Severity, words: str) -> None:  # noqa: ANN401 - a library
    """Write to the log Application (RegisterEventSourceW, ReportEventW). Raises OSError."""
    import ctypes  # noqa: PLC0415 - only there

    advapi32.RegisterEventSourceW.restype = ctypes.c_void_p
    address: int | None = advapi32.RegisterEventSourceW(None, SOURCE)
    if not address:
        raise OSError(0, "Windows gives no access to its event log")
    handle = ctypes.c_void_p(address)
    try:
        lines = (ctypes.c_wchar_p * 1)(words)
        if not advapi32.ReportEventW(handle, severity.value[1], 0, event, None, 1, 0, lines, None):
            raise OSError(0, "Windows takes no entry")
    finally:
        advapi32.DeregisterEventSource(handle)


def _write_to_journal(event: int, severity: Severity, words: str) -> None:
    fields = {
        "MESSAGE": words,
        "PRIORITY": severity.value[0],
        "SYSLOG_IDENTIFIER": SOURCE,
        "BULKSMS_EVENT": event,
    }
    _send(JOURNAL, "".join(f"{name}={value}\n" for name, value in fields.items()))


def _write_to_syslog(path: Path, event: int, severity: Severity, words: str) -> None:
    """As RFC 3164 has it; the id is in the words."""
    _send(path, f"<{USER_FACILITY * 8 + severity.value[0]}>{SOURCE}[{os.getpid()}]: event {event}: {words}")


def _send(path: Path, text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.sendto(text.encode(errors="backslashreplace"), str(path))


def _severity(code: ExitCode) -> Severity:
    if code is ExitCode.ALL_ACCEPTED:
        return Severity.INFORMATION
    return Severity.WARNING if code in (ExitCode.SOME_FAILED, ExitCode.SOME_UNKNOWN) else Severity.ERROR


def _place(ledger: LedgerName) -> str:
    return str(ledger.absolute())


def configure_log(level: str, form: str, file: Path | None, *, recipients: bool = False) -> None:
    """Listen to the logger `bulksms`; `recipients` lets events name them.

    Raises UsageError if the file cannot be written.
    """
    if form == "json":
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(ensure_ascii=True)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=file is None and sys.stderr.isatty())
    handler = _TalkHandler() if file is None else _file_handler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logger = logging.getLogger("bulksms")
    for earlier in logger.handlers:
        earlier.close()
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.getChild("recipients").setLevel(logging.DEBUG if recipients else logging.CRITICAL)
    logger.propagate = False


class _TalkHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in typeshed only
    """Writes to stderr as it is at the moment: above a display that is being drawn there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Where talk goes now."""
        return sys.stderr


class _FileHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic in typeshed only
    """Writes to a file that is its own, and closes it."""

    def close(self) -> None:
        """No event comes after this one."""
        super().close()
        self.stream.close()


def _file_handler(file: Path) -> _FileHandler:
    """Write to the file as long as the disk takes it: a full one stops no run, and is reported once."""

    def warn(error: OSError) -> None:
        say(f"warning: The log file {file} cannot be written: {error.strerror}. The work goes on without it.")

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise UsageError(f"The log file {file} cannot be written: {error.strerror}.", hint="Choose another.") from error
    output = TolerantOutput(io.FileIO(descriptor, "ab"), retry=True, on_failure=warn)
    return _FileHandler(text_over(output, encoding="utf-8", line_buffering=True))
