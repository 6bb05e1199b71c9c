"""Decoding: a file that somebody named, and its bytes as lines of text.

Invariants: one pass, one block at a time. Byte-order mark, else strict UTF-8; a file that turns out not to be UTF-8 is
read on as Windows-1252 if everything before was ASCII (then both readings agree on it), and refused otherwise. Whatever
the operating system says of a file becomes one sentence with a hint.
"""

import codecs
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from bulksms.input.finding import Finding, refused, shortened

BLOCK = 1 << 18
LONGEST_LINE = 1 << 20
"""Characters; a longer line is a sign that this is no text file, and would be held in memory whole."""

_BEGINNING = 64
"""Bytes by which other kinds of file are recognised."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with the other's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook or a zip file", "save it as CSV UTF-8, or give --format xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV UTF-8"),
    (b"\x1f\x8b", "compressed", "unpack it first"),
    (b"%PDF", "a PDF", "export the data as CSV UTF-8"),
)
# `str.splitlines` takes these for line ends, too; CSV and JSON do not.
_OTHER_LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


class Text:
    """The lines of a file, each with its end, decoded as they are read."""

    def __init__(self, stream: BinaryIO, name: str, encoding: str | None) -> None:
        """Look at the beginning of the file.

        Raises:
            InputError: it is empty, or not text at all.

        """
        self.name = name
        self.position = 0
        """How many bytes have been read."""
        self.row = 0
        """How many rows its reader has made of the lines so far."""
        self.fallback: tuple[int, str] | None = None
        """The row and the line with the first character for which it was taken to be Windows-1252."""
        self._stream = stream
        self._first = self._read()
        while 0 < len(self._first) < _BEGINNING and (more := self._read()):
            self._first += more  # a pipe may give less than was asked for
        if not self._first:
            raise refused("E002", f"{name} is empty", "is it the right file?")
        marked = next((known for mark, known in _MARKS if self._first.startswith(mark)), None)
        if encoding is None and marked is None:
            self._refuse_binary()
        self.encoding = encoding or marked or "utf-8"
        self._may_fall_back = encoding is None and marked is None
        self._fallback_to_tell = False
        self._lines = 0
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        self._iterator = chain.from_iterable(self._line_blocks())

    def _read(self) -> bytes:
        try:
            data = self._stream.read(BLOCK)
        except OSError as error:
            raise refused(
                "E001",
                f"{self.name} cannot be read: {error.strerror or error}",
                "copy it to a local disk and try again",
            ) from None
        self.position += len(data)
        return data

    def _refuse_binary(self) -> None:
        for signature, what, hint in _SIGNATURES:
            if self._first.startswith(signature):
                raise refused("E004", f"{self.name} is {what}, not a text file", hint)
        beginning = self._first[:_BEGINNING]
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if len(beginning) >= 4 and not any(beginning[start::2]):
                hint = f"save it as UTF-8, or give --encoding {encoding}"
                raise refused("E003", f"{self.name} seems to be UTF-16 without a byte-order mark", hint)

    def lines(self) -> Iterator[str]:
        """Read on, line by line; lines end with LF, CR LF or CR.

        Raises:
            InputError: the file cannot be read or decoded, or a line is too long.

        """
        return self._iterator

    def first_line(self) -> str:
        """Look at the first line that is not blank, without taking it away; empty if there is none."""
        taken: list[str] = []
        for line in self._iterator:
            taken.append(line)
            if line.strip():
                break
        self._iterator = chain(taken, self._iterator)
        return taken[-1].strip() if taken else ""

    def _line_blocks(self) -> Iterator[list[str]]:
        tail = ""
        for block in self._blocks():
            lines = _split(tail + block)
            # Half a line, or one whose CR may be followed by LF.
            tail = lines.pop() if lines and not lines[-1].endswith("\n") else ""
            if len(tail) > LONGEST_LINE:
                sentence = f"Line {self._lines + len(lines) + 1} of {self.name} is too long for a line of text"
                raise refused("E011", sentence, "is it the right file?")
            yield from self._checked(lines)
            self._lines += len(lines)
        if tail:
            yield from self._checked([tail])

    def _checked(self, lines: list[str]) -> Iterator[list[str]]:
        if self._fallback_to_tell:
            for index, line in enumerate(lines):
                if not line.isascii():
                    self._fallback_to_tell = False
                    yield lines[:index]
                    self.fallback = (self.row + 1, line)
                    yield lines[index:]
                    return
        yield lines

    def _blocks(self) -> Iterator[str]:
        data = self._first
        self._first = b""
        text = self._decoded(data).removeprefix("\ufeff")
        while data:
            yield text
            data = self._read()
            text = self._decoded(data)
        yield text

    def _decoded(self, data: bytes) -> str:
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raw = bytes(error.object)
            if not self._may_fall_back or not raw[: error.start].isascii():
                raise self._undecodable(raw, error.start) from None
        except UnicodeError:
            raise self._undecodable(data, 0) from None
        else:
            self._may_fall_back = self._may_fall_back and text.isascii()
            return text
        self._may_fall_back = False
        self._fallback_to_tell = True
        self.encoding = "windows-1252"
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        return self._decoded(raw)

    def _undecodable(self, data: bytes, place: int) -> Exception:
        line = self._lines + data[:place].count(b"\n") + 1
        byte = f"byte 0x{data[place]:02X}" if place < len(data) else "what is there"
        return refused(
            "E003",
            f"{self.name} cannot be read as {self.encoding}: {byte} in or near line {line} is no such text",
            "save it as CSV UTF-8, or name its encoding: --encoding windows-1252",
        )


def _split(text: str) -> list[str]:
    if any(end in text for end in _OTHER_LINE_ENDS):
        return list(io.StringIO(text, newline=""))
    return text.splitlines(keepends=True)


def open_file(path: Path) -> BinaryIO:
    """Open a file that somebody named.

    Raises:
        InputError: it is missing, a folder, locked, or may not be read.

    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise refused("E001", f"There is no file {path}", "check the name and the folder") from None
    except IsADirectoryError:
        raise refused("E001", f"{path} is a folder", "name the file in it") from None
    except PermissionError:
        if path.is_dir():  # what Windows says of a folder
            raise refused("E001", f"{path} is a folder", "name the file in it") from None
        raise refused("E001", f"{path} may not be read, or another program holds it", "is it open in Excel?") from None
    except (OSError, ValueError) as error:
        raise refused("E001", f"{path} cannot be opened: {error}", "check the name and the folder") from None


def read_text(path: Path) -> tuple[str, tuple[Finding, ...]]:
    """The text in a file, decoded as an input is: UTF-8, UTF-16 or, with a finding, Windows-1252.

    The last line end is the editor's and not the message's.

    Raises:
        InputError: the file cannot be read, is empty or is not text.

    """
    with open_file(path) as stream:
        text = Text(stream, path.name, None)
        whole = "".join(text.lines())
    findings: tuple[Finding, ...] = ()
    if text.fallback is not None:
        problem = f"{path.name} is not UTF-8 and was read as Windows-1252"
        hint = "look at the letters outside ASCII; if they are wrong, save the file as UTF-8"
        findings = (Finding("W201", problem, value=shortened(text.fallback[1].strip()), hint=hint),)
    return whole.removesuffix("\n").removesuffix("\r"), findings
