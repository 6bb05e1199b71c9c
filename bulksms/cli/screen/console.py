"""Console: tables and lines for people, data for machines.

Law: rich is imported only when a person looks at a terminal.
"""

import errno
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import click

from bulksms.message import State
from bulksms.report.files import write_privately

STYLES: Mapping[str, str] = {
    State.ACCEPTED: "green",
    State.FAILED: "red",
    State.UNKNOWN: "yellow",
    State.EXPIRED: "red",
}
"""What is told apart at a glance, where there are colours; the words say it as well."""


_QUOTED = re.compile(r"`[^`]*`")
_TIE = "\0"
"""Stands for a blank at which no line is broken."""


def on_terminal() -> bool:
    """Whether a person can be asked: both what is typed and what is said are a terminal's."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def unbroken_pipe() -> Iterator[None]:
    """Whoever reads our output may go away, and a terminal may be closed: that changes nothing, nor the exit code."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        # The interpreter must not try to flush it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: dict[str, Any], *, indent: int | None = 2) -> None:
    """One JSON object on stdout, in one line without an `indent`; escaped where it is no UTF-8 that is wanted there."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    click.echo(json.dumps(value, ensure_ascii=not is_unicode, indent=indent))


def columns_of(stream: TextIO) -> int | None:
    """How many characters a line of the terminal takes; None for anything else."""
    if not stream.isatty():
        return None
    with suppress(OSError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return None


def fitted(text: str, stream: TextIO, indent: str = "") -> str:
    """Broken between words where a terminal would break inside one; for anything else as it is.

    What stands in backticks is to be pasted, and stays on one line. Lines after the first begin with `indent`.
    """
    columns = columns_of(stream)
    if columns is None:
        return text
    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _TIE), text)
    lines = (
        textwrap.fill(
            line, max(20, columns - 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for line in whole.split("\n")
    )
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
        sys.stdout.buffer.write(chunk.encode())
    sys.stdout.buffer.flush()
