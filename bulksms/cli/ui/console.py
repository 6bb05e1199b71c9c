"""Console: what bulksms tells the person, tables and lines, data for machines, and commands ready to copy.

Invariants: stdout is data, stderr is talk. A terminal that was closed stops nothing. rich is imported only when a
person looks at a terminal. A command that is printed can be pasted where it is printed, and means there what it says.
"""

import os
import re
import shlex
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import click

from bulksms.cli.ui.process import failure_of
from bulksms.errors import BulksmsError, UsageError
from bulksms.model.message import State

if TYPE_CHECKING:
    from msgspec import Struct


Shell = Literal["posix", "powershell", "cmd"]
_PLAIN = re.compile(r"[\w.:\\/=+-]+")
"""What both shells of Windows take as one argument without quotes."""
_POWERSHELL_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")
"""PowerShell takes typographic single quotes for its own (about_Quoting_Rules)."""
_IN_A_SENTENCE = re.compile(r"(?<=`)bulksms(?= [a-z])")


def shell_at_hand() -> Shell:
    """Which shell will read what is printed; on Windows cmd gives its children PROMPT, and PowerShell does not."""
    if sys.platform != "win32":
        return "posix"
    return "cmd" if "PROMPT" in os.environ else "powershell"


_URL = re.compile(r"(?<!['\"\w])postgres(?:ql)?://[^\s'\"`]*[?&][^\s'\"`.]*(?:\.\w[^\s'\"`.]*)*")
"""The URL of a ledger in a hint: a shell takes `?` and `&` for signs of its own."""


def quoted(argument: str, shell: Shell | None = None) -> str:
    """An argument ready to paste. In cmd `%NAME%` is replaced even in quotes, so such a name cannot be written."""
    match shell or shell_at_hand():
        case "posix":
            return shlex.quote(argument)
        case "powershell":
            plain = _PLAIN.fullmatch(argument) is not None
            return argument if plain else f"'{_POWERSHELL_QUOTES.sub(lambda it: it[0] * 2, argument)}'"
        case "cmd":
            return argument if _PLAIN.fullmatch(argument) else f'"{argument}"'


def program(shell: Shell | None = None) -> str:
    """How this program was called, so that it can be called again: `bulksms`, its path, or `python -m bulksms`."""
    shell = shell or shell_at_hand()
    called = sys.argv[0]
    if Path(called).name == "__main__.py" and Path(called).parent.name == "bulksms":
        return f"{_command_word(sys.orig_argv[0], shell)} -m bulksms"
    if Path(called).stem.lower() != "bulksms" or Path(called).suffix not in ("", ".exe"):
        return "bulksms"
    found = shutil.which("bulksms")
    if not os.path.dirname(called) or (found is not None and Path(found).resolve() == Path(called).resolve()):  # noqa: PTH120 - of the words
        return "bulksms"
    return _command_word(called, shell)


def _command_word(path: str, shell: Shell) -> str:
    written = quoted(path, shell)
    # PowerShell prints a string in quotes; the call operator runs it.
    return f"& {written}" if shell == "powershell" and written != path else written


def command_line(arguments: Sequence[str]) -> str:
    """A whole command of this program, ready to paste."""
    return " ".join([program(), *map(quoted, arguments)])


def as_called(text: str) -> str:
    """The text with each command in backticks written as this program was called."""
    return _IN_A_SENTENCE.sub(lambda _: program(), text) if "`bulksms " in text else text


STYLES: Mapping[str, str] = {
    State.ACCEPTED: "green",
    State.FAILED: "red",
    State.UNKNOWN: "yellow",
    State.EXPIRED: "red",
}
"""What colours distinguish at a glance; the words say it as well."""


_QUOTED = re.compile(r"`[^`]*`")
_TIE = "\1"
"""A blank at which no line is broken."""


def on_terminal() -> bool:
    """Whether a person can be asked: both input and output are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def print_json(value: "Struct", *, indent: int | None = 2) -> None:
    """One JSON object on stdout, in one line without an `indent`."""
    from bulksms.report.shapes import as_json  # noqa: PLC0415 - the help starts without msgspec

    click.echo(as_json(value, indent=indent))


def columns_of(stream: TextIO) -> int | None:
    """How many characters a line of the terminal takes; None for anything else."""
    if not stream.isatty():
        return None
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return None


def fitted(text: str, stream: TextIO, indent: str = "") -> str:
    """Broken between words where a terminal would break inside one; for anything else as it is.

    Text in backticks is to be pasted, and stays on one line. Lines after the first begin with `indent`.
    """
    columns = columns_of(stream)
    if columns is None:
        return text
    from bulksms.report.text import wrapped  # noqa: PLC0415 - the help starts without it

    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _TIE), text)
    width = max(20, columns - 1)
    lines = (part for line in whole.split("\n") for part in wrapped(line, "", indent, width, break_words=False))
    return "\n".join(lines).replace(_TIE, " ")


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[int] = (),
    styles: Mapping[str, str] | None = None,
) -> None:
    """A table on stdout; the columns `numbers` are aligned to the right, `styles` are of cells, on a terminal."""
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells, numbers, styles or {})
        return
    widths = [max(len(cell) for cell in column) for column in zip(headers, *cells, strict=True)]
    for row in [list(headers), *cells]:
        aligned = [
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(aligned).rstrip())


def _print_rich(
    headers: Sequence[str], rows: list[list[str]], numbers: Sequence[int], styles: Mapping[str, str]
) -> None:
    from rich import box  # noqa: PLC0415 - a terminal's
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE, pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, styles.get(cell, "")) for cell in row))
    Console().print(table)


def print_or_write(chunks: Iterable[str], file: Path | None) -> None:
    """Write text as UTF-8 to the file (mode 0600), or to stdout, byte for byte."""
    if file is not None:
        write_privately(file, chunks)
        return
    sys.stdout.flush()
    for chunk in chunks:
        sys.stdout.buffer.write(chunk.encode(errors="backslashreplace"))
    sys.stdout.buffer.flush()


def print_paged(lines: Iterable[str], *, is_paged: bool, is_wide: bool) -> None:
    """Print lines on a terminal, through the pager (`PAGER`, else `less` or `more`) if the screen is too short."""
    rest = iter(lines)
    height = shutil.get_terminal_size().lines - 1
    first = list(islice(rest, height))
    if is_paged and len(first) == height and sys.stdin.isatty() and (more := next(rest, None)) is not None:
        # As git does: colours as they are, and the text stays on the screen; long lines are cut, not folded.
        os.environ.setdefault("LESS", "RXS" if is_wide else "RX")
        click.echo_via_pager(chain(first, [more], rest))
        return
    print_or_write(chain(first, rest), None)


def write_privately(path: Path, chunks: Iterable[str]) -> None:
    """Write text as UTF-8, line ends as they come, mode 0600 (POSIX). Raises UsageError if it cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            if os.name == "posix" and stat.S_ISREG(os.fstat(descriptor).st_mode):  # a device keeps its mode
                os.fchmod(descriptor, 0o600)
            file.writelines(chunks)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Choose another file with -o.") from error


def require_replaceable(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a regular file: it may have been edited by hand. Raises UsageError."""
    if path.is_file() and not force:
        raise UsageError(f"{path} is there already.", hint="Name another file, or replace this one with --force.")


def info(text: str) -> None:
    """Talk to the person: one line on stderr. A terminal that was closed is no reason to stop."""
    with suppress(OSError):
        # Named, because click's own stderr goes past a display that is being drawn there.
        click.echo(as_called(text), file=sys.stderr)


def print_error(error: BulksmsError) -> None:
    """What went wrong, in a sentence, and what to do about it; in the log as well where nobody can see it."""
    say(f"error: {error}")
    if error.hint:
        say(f"hint: {_URL.sub(lambda it: quoted(it[0]), error.hint)}")
    if failure_of(sys.stderr) is not None:
        from bulksms.log import log  # noqa: PLC0415 - as below

        log.error("not shown", sentence=str(error), hint=error.hint)


def say(text: str) -> None:
    """A sentence to the person, in lines that fit the terminal; what is to be copied is in backticks, or for `info`."""
    with suppress(ValueError):  # stderr may be closed
        info(fitted(as_called(text), sys.stderr))
