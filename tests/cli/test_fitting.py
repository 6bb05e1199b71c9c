"""Text on a terminal is broken between words, and what is to be pasted is not broken."""

import os
from collections.abc import Iterator
from io import StringIO
from typing import TextIO

import pytest

from bulksms.cli.ui.console import columns_of, fitted
from tests.platforms import on_terminals

pytestmark = on_terminals


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A terminal of 40 columns."""
    import fcntl  # noqa: PLC0415 - not on Windows
    import pty  # noqa: PLC0415
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        yield stream
    os.close(ours)


def test_a_line_breaks_between_words(terminal: TextIO) -> None:
    text = "The run was asked to stop; answers in flight are awaited."
    lines = fitted(text, terminal, "  ").splitlines()
    assert max(map(len, lines)) < 40
    assert lines[1].startswith("  ")
    assert " ".join(" ".join(lines).split()) == text


def test_a_command_in_backticks_stays_on_one_line(terminal: TextIO) -> None:
    command = "`bulksms status people.ledger.db`"
    lines = fitted(f"It has ended by now, and {command} shows its counts.", terminal).splitlines()
    assert len(lines) > 1
    assert any(command in line for line in lines)


def test_lines_stay_lines(terminal: TextIO) -> None:
    assert fitted("one\ntwo", terminal) == "one\ntwo"


def test_what_is_no_terminal_gets_it_as_it_is() -> None:
    text = "word " * 40
    assert columns_of(StringIO()) is None
    assert fitted(text, StringIO()) == text
