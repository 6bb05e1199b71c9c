"""The process around a command: its standard streams, its keyboard and its signals.

Invariants: a write to standard output or error raises nothing, for a stream that is closed, absent, full or read by
nobody any more cannot end a run. What failed first is kept in `failure`, so that the command can say so, and the rest
is dropped. Every other file of the program still raises what the system says. Once the result is known no signal
changes the exit code. A signal that was to be ignored when the program began stays ignored: `nohup` outlives its
terminal. Keys that are typed while nobody is asked are neither shown nor left for the shell, and however the process
ends, the terminal is as it was.
"""

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET})
"""Nobody reads any more, or the terminal was closed: what could not be shown is missed by nobody."""


class TolerantOutput(io.RawIOBase):
    """Writes to `raw` until that fails; `failure` says how. With `retry`, each write is tried again (a log file)."""

    def __init__(
        self,
        raw: io.RawIOBase | None,
        *,
        retry: bool = False,
        on_failure: Callable[[OSError], None] | None = None,
    ) -> None:
        super().__init__()
        self.failure = None if raw is not None else _closed()
        self._raw = raw
        self._retry = retry
        self._on_failure = on_failure

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether it is a terminal that can still be written to."""
        return self._raw is not None and self.failure is None and self._raw.isatty()

    def fileno(self) -> int:
        """The descriptor. Raises UnsupportedOperation if there is none."""
        if self._raw is None:
            raise io.UnsupportedOperation("there is no such stream")
        return self._raw.fileno()

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write what the system takes, or drop it; how many bytes are done with."""
        size = memoryview(data).nbytes
        if self._raw is None or (self.failure is not None and not self._retry):
            return size
        try:
            written = self._raw.write(data)
            while written is None:  # another program has made the descriptor one that does not wait
                select.select([], [self._raw.fileno()], [])
                written = self._raw.write(data)
        except (OSError, ValueError) as error:  # ValueError: it was closed in this process
            self._fail(error if isinstance(error, OSError) else _closed())
            return size
        return written

    def close(self) -> None:
        """Close what lies below, whatever it says to that."""
        if not self.closed:
            super().close()
            if self._retry and self._raw is not None:
                self._raw.close()

    def _fail(self, error: OSError) -> None:
        first, self.failure = self.failure is None, error
        if first and self._on_failure is not None:
            self._on_failure(error)


def prepare_streams() -> None:
    """Make the three standard streams of this process safe to use, whatever they are.

    A descriptor that was closed is occupied by the null device: the next file that is opened, a ledger say, would get
    its number, and be overwritten by output to standard error.
    """
    closed = {number for number in range(3) if _occupied(number)}
    if sys.stdin is None or 0 in closed:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    sys.stdout = _tolerant(sys.stdout, is_closed=1 in closed)
    sys.stderr = _tolerant(sys.stderr, is_closed=2 in closed, line_buffering=True)


def failure_of(stream: TextIO) -> OSError | None:
    """Why the stream could not be written to, after everything is written that waits; None if it could."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    stream.flush()
    raw = getattr(stream.buffer, "raw", None)
    return raw.failure if isinstance(raw, TolerantOutput) else None


def is_missed(failure: OSError | None) -> bool:
    """Whether somebody wanted what could not be written."""
    return failure is not None and failure.errno not in GONE


def text_over(raw: TolerantOutput, *, encoding: str, line_buffering: bool) -> io.TextIOWrapper:
    """A stream of text over it; a character that the other side cannot show is written as its escape."""
    buffer = io.BufferedWriter(cast("io.RawIOBase", raw))
    return io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)


def _closed() -> OSError:
    return OSError(errno.EBADF, "it is closed")


def _occupied(number: int) -> bool:
    """Occupy a descriptor that is closed; whether it was."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        return True
    return False


def _tolerant(stream: TextIO | None, *, is_closed: bool, line_buffering: bool = False) -> TextIO:
    if stream is not None and not isinstance(stream, io.TextIOWrapper):
        return stream  # somebody put another one there
    buffer = None if stream is None else stream.buffer
    raw = None if is_closed else getattr(buffer, "raw", buffer)
    output = TolerantOutput(raw)
    encoding = "utf-8" if stream is None else stream.encoding
    return text_over(output, encoding=encoding, line_buffering=line_buffering or output.isatty())


if sys.platform == "win32":
    import msvcrt

    class Keyboard:
        """Windows shows a key when it is read, so what was typed meanwhile is read away at the end."""

        is_silent = False

        def mute(self) -> None:
            """Nothing is to be done."""

        def unmute(self) -> None:
            """Drop what was typed."""
            while sys.stdin.isatty() and msvcrt.kbhit():
                msvcrt.getwch()

else:
    import termios

    class Keyboard:
        """The terminal's echo, off while nobody is asked; `kept` is how the terminal was before."""

        def __init__(self) -> None:
            self._kept: tuple[int, list[Any]] | None = None

        @property
        def is_silent(self) -> bool:
            """Whether keys are not shown now."""
            return self._kept is not None

        def mute(self) -> None:
            """Show no keys from now on."""
            terminal = next((number for number in range(3) if os.isatty(number)), None)
            if terminal is None or self._kept is not None or not _is_in_foreground(terminal):
                return
            with suppress(termios.error):
                kept = termios.tcgetattr(terminal)
                silent = [*kept[:3], kept[3] & ~(termios.ECHO | termios.ECHONL), *kept[4:]]
                termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
                self._kept = terminal, kept

        def unmute(self) -> None:
            """Make the terminal as it was, and drop what was typed; a terminal that is another job's now is let be."""
            if self._kept is not None:
                (terminal, attributes), self._kept = self._kept, None
                if _is_in_foreground(terminal):
                    with suppress(termios.error):  # it was closed
                        termios.tcsetattr(terminal, termios.TCSAFLUSH, attributes)

    def _is_in_foreground(terminal: int) -> bool:
        """Whether this process may change the terminal; one that is not its controlling terminal knows no jobs."""
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            return True


_KEYBOARD = Keyboard()
_LEAVING = tuple(getattr(signal, name) for name in ("SIGTSTP", "SIGQUIT") if hasattr(signal, name))
"""What suspends or ends the process without a word to it: Ctrl-Z and Ctrl-\\ (POSIX)."""


@contextmanager
def silent_keyboard() -> Iterator[None]:
    """In this block nobody is asked anything, except in `heard_keyboard`; for the main thread."""
    handled = {number: signal.getsignal(number) for number in _LEAVING}
    handled = {number: handler for number, handler in handled.items() if handler is signal.SIG_DFL}
    for number in handled:
        signal.signal(number, _leave)
    _KEYBOARD.mute()
    try:
        yield
    finally:
        _KEYBOARD.unmute()
        for number, handler in handled.items():
            signal.signal(number, handler)


@contextmanager
def heard_keyboard() -> Iterator[None]:
    """Somebody is asked something in this block; what was typed before it is no answer."""
    is_silent = _KEYBOARD.is_silent
    _KEYBOARD.unmute()
    try:
        yield
    finally:
        if is_silent:
            _KEYBOARD.mute()


def _leave(number: int, _: object) -> None:
    """The terminal belongs to the shell while this process is suspended, and after its end."""
    _KEYBOARD.unmute()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # Here it goes on, after `fg` or `bg`.
    signal.signal(number, _leave)
    _KEYBOARD.mute()


SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""What asks the program to stop: Ctrl-C, TERM, the closed terminal (POSIX), Ctrl-Break (Windows)."""


class TerminationError(KeyboardInterrupt):
    """Another signal than Ctrl-C asks the program to end; nothing but a run outlives that."""


def end_on_signals() -> None:
    """Have every signal end the command as Ctrl-C does: with a sentence, and without a half-written file left."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, _do_nothing):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else _end)


def mute_signals() -> None:
    """A run is over: until another one begins, a signal comes too late."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _do_nothing)


def ignore_signals() -> None:
    """The result is known: no signal takes it away any more, not even while the interpreter ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def restored_signals() -> Iterator[None]:
    """Put back whatever handlers there were, for a process that goes on after the command."""
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _end(number: int, _: object) -> None:
    raise TerminationError(number)


def _do_nothing(number: int, _: object) -> None:
    """Take notice of nothing."""
