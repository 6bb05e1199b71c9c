"""Reading: lazily, in one pass, as the spreadsheet numbers its rows, and byte for byte what the file says."""

import csv
import io
import json
import os
import threading
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, Input, InputOptions, Row, open_input
from bulksms.input.decoding import BLOCK, LONGEST_LINE
from tests.platforms import with_posix_files, with_rights_that_hold

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
CSV = InputOptions(format="csv")
JSONL = InputOptions(format="jsonl")


def read(data: bytes, options: InputOptions = CSV) -> tuple[Input, list[Row | BadRow]]:
    opened = open_input(io.BytesIO(data), options)
    return opened, list(opened)


def good(data: bytes, options: InputOptions = CSV) -> list[Row]:
    _, rows = read(data, options)
    assert all(isinstance(row, Row) for row in rows)
    return cast("list[Row]", rows)


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = io.BytesIO(data), size

    def readable(self) -> bool:
        return True

    def read(self, _size: int = -1) -> bytes:
        return self._data.read(self._size)


def test_a_row_has_everything_as_it_came() -> None:
    data = f'recipient,Name,text,note\n {{{GUID.upper()}}} , Ann ," two\nlines",""\n'.encode()
    row = good(data)[0]
    assert row.row == 2
    assert row.recipient.given == "{" + GUID.upper() + "}"
    assert row.recipient.key == "guid:" + GUID
    assert row.text == " two\nlines"
    assert row.columns == {"Name": " Ann ", "note": ""}
    assert (row.encoding, row.segments, row.warnings) == ("GSM-7", 1, ())


TEXTS = [
    'say "hi"',
    "two\nlines",
    "two\r\nlines",
    "\U0001f525 and \U0001f469\u200d\U0001f692",
    "\u202b\u0634\u0643\u0631\u0627\u202c",
    "a\u200bb\ufeff",
    "tab\there",
    " blanks ",
    "a,b;c|d",
    "'=1+1",
    "\\n \\",
    "100%",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_through_csv_and_json_unchanged(text: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["guid", "text"], [GUID, text]])
    assert good(file.getvalue().encode())[0].text == text
    assert good(json.dumps({"guid": GUID, "text": text}).encode(), JSONL)[0].text == text
    assert good(json.dumps({"guid": GUID, "text": text}, ensure_ascii=False).encode(), JSONL)[0].text == text


cells = st.text(st.sampled_from('ab" ,;\n\r\t|äж😀\u2028%(')).filter(str.strip)


@given(st.lists(st.tuples(cells, cells), min_size=1), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_writes_is_what_is_read(rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([["guid", "name", "text"], *((GUID, name, text) for name, text in rows)])
    got = good(file.getvalue().encode())
    assert [(row.columns["name"], row.text) for row in got] == rows
    assert [row.row for row in got] == list(range(2, len(rows) + 2))


@given(st.lists(st.dictionaries(st.sampled_from(["text", "name", "site"]), cells, min_size=3), min_size=1))
def test_what_a_json_writer_writes_is_what_is_read(rows: list[dict[str, str]]) -> None:
    data = "".join(json.dumps({"guid": GUID, **row}) + "\n" for row in rows).encode()
    assert [{"text": row.text, **row.columns} for row in good(data, JSONL)] == rows


@given(
    st.lists(st.sampled_from(["x\n", "y\r\n", "z\r", "\u2028\n", "\x85é\r\n", "😀\n"])),
    st.integers(1, 7),
    st.booleans(),
)
def test_how_a_stream_dribbles_does_not_matter(lines: list[str], size: int, wide: bool) -> None:
    text = "guid,text\n" + f"{GUID},a\n" + "".join(f"{GUID},{line}" for line in lines)
    data = b"\xff\xfe" + text.encode("utf-16-le") if wide else text.encode()
    whole = read(data)[1]
    dribbled = list(open_input(cast("BinaryIO", Dribble(data, size)), CSV))
    assert dribbled == whole


@pytest.mark.parametrize("before", [BLOCK - 3, BLOCK - 2, BLOCK - 1, BLOCK])
@pytest.mark.parametrize("end", ["\r\n", "\n", "é\r\n", "😀\r\n"])
def test_the_border_of_two_blocks_cuts_nothing_apart(before: int, end: str) -> None:
    start = f"guid,text,pad\n{GUID},x,".encode()
    filler = b"y" * 1000 + b"\n" + f"{GUID},x,".encode()
    data = start + filler * ((before - len(start)) // len(filler))
    data += b"z" * (before - len(data)) + end.encode() + f"bob,last,{end}".encode()
    rows = read(data)[1]
    assert all(isinstance(row, Row) for row in rows[:-1])
    assert isinstance(rows[-1], BadRow)
    assert rows[-1].row == len(rows) + 1


def test_rows_are_read_as_they_are_asked_for() -> None:
    asked = 0

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            nonlocal asked
            asked += 1
            return (b"guid,text\n" if asked == 1 else b"") + f"{GUID},hello\n".encode() * (size // 50)

    rows = iter(open_input(cast("BinaryIO", Endless()), CSV))
    for _ in range(10):
        next(rows)
    assert asked <= 2


def test_memory_does_not_grow_with_the_rows() -> None:
    class Rows(io.RawIOBase):
        def __init__(self, blocks: int) -> None:
            self.blocks = blocks
            self.block = f"{GUID},hello,Ann\n".encode() * 2000

        def read(self, _size: int = -1) -> bytes:
            self.blocks -= 1
            return self.block if self.blocks > 0 else b""

    def peak(blocks: int) -> int:
        stream = Rows(blocks)
        stream.block, block = b"guid,text,name\n" + stream.block, stream.block
        tracemalloc.start()
        rows = open_input(cast("BinaryIO", stream), CSV)
        stream.block = block
        for _ in rows:
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(24) < 1.2 * peak(6)


def test_the_first_row_that_windows_1252_changes_is_shown() -> None:
    filler = b"".join(b"%s,x%d\n" % (GUID.encode(), number) for number in range(20_000))
    data = b"guid,text\n" + filler + f'{GUID},"one\ntwo"\n{GUID},Grüße\n{GUID},Äh\n'.encode("cp1252")
    opened, rows = read(data)
    assert [(finding.code, finding.row, finding.value) for finding in opened.findings] == [
        ("W201", 20_003, GUID + ",Grüße")
    ]
    assert isinstance(rows[-1], Row)
    assert rows[-1].text == "Äh"


def test_where_a_file_cannot_be_decoded_is_reported() -> None:
    data = b"guid,text\n" + f"{GUID},é\n".encode() * 30_000 + b"\xe9\n"
    with pytest.raises(InputError, match=r"byte 0xE9 in or near line 30002 .*E003"):
        read(data)


def test_a_line_without_an_end_is_not_kept_in_memory() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return b"x" * size

    stream = Endless()
    with pytest.raises(InputError, match="E011"):
        open_input(cast("BinaryIO", stream), CSV)
    assert stream.given < 4 * LONGEST_LINE


def test_broken_quotes_end_the_reading_at_last() -> None:
    data = b"guid,text\n" + f'{GUID},"a"b\n'.encode() * 1500
    opened = open_input(io.BytesIO(data), CSV)
    seen: list[Row | BadRow] = []
    with pytest.raises(InputError, match="broken in 1,000 rows"):
        seen.extend(opened)
    assert len(seen) == 1000


def test_a_quote_that_swallows_the_file_costs_one_row() -> None:
    rest = "".join(f"{GUID},line {number}\n" for number in range(5000))
    rows = read(f'guid,text\n{GUID},"open\n{rest}'.encode())[1]
    assert [row.row for row in rows if isinstance(row, BadRow)] == [2]
    assert len(rows) == 5001


def test_a_record_that_never_ends_is_given_up() -> None:
    data = f'guid,text\n{GUID},"open\n' + 'a","b\n' * 3000
    with pytest.raises(InputError, match="broken"):
        read(data.encode())


def test_a_cell_beyond_all_limits_costs_one_row() -> None:
    rows = read(f"guid,text\n{GUID},{'x' * 200_000}\n{GUID},x\n".encode())[1]
    assert [[finding.code for finding in row.findings] for row in rows if isinstance(row, BadRow)] == [["E107"]]
    assert len(rows) == 2


def test_the_position_tells_how_far_it_is() -> None:
    data = f"guid,text\n{GUID},x\n".encode()
    opened = open_input(io.BytesIO(data), CSV)
    list(opened)
    assert opened.position == len(data)


# -- files


def test_a_file_is_closed_by_its_input_and_a_stream_is_not(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"guid,text\n{GUID},x\n")
    with open_input(path, InputOptions()) as opened:
        assert opened.name == "people.csv"
        assert len(list(opened)) == 1
    with path.open("rb") as stream:
        with open_input(stream, CSV, name="mine") as opened:
            assert opened.name == "mine"
        assert not stream.closed


def test_a_file_that_is_refused_is_closed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("who,text\n")
    for options in (InputOptions(), InputOptions(sheet="x")):
        with pytest.raises((InputError, UsageError)):
            open_input(path, options)  # an open file would warn when it is collected


@pytest.mark.parametrize(
    ("name", "sentence"), [("missing.csv", "There is no file"), ("folder.csv", "is a folder"), ("a\0b.csv", "cannot")]
)
def test_what_cannot_be_opened_is_reported_in_words(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=sentence):
        open_input(tmp_path / name, InputOptions())


@with_rights_that_hold
def test_a_file_that_may_not_be_read_is_reported_in_words(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.touch(mode=0o000)
    with pytest.raises(InputError, match="may not be read"):
        open_input(path, InputOptions())


def test_a_file_that_another_program_holds_is_reported_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "people.csv"
    path.touch()
    monkeypatch.setattr(Path, "open", locked)
    with pytest.raises(InputError, match="another program holds it") as refusal:
        open_input(path, InputOptions())
    assert refusal.value.hint == "Is it open in Excel?"


def test_a_stream_that_fails_is_reported_in_words() -> None:
    class Broken(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match="Standard input cannot be read: Input/output error"):
        open_input(cast("BinaryIO", Broken()), CSV)


def test_a_stream_needs_a_format() -> None:
    with pytest.raises(UsageError, match="format"):
        open_input(io.BytesIO(b"guid\n"), InputOptions())


@with_posix_files
def test_a_pipe_is_read_like_a_file() -> None:
    reading, writing = os.pipe()
    data = f"guid,text\n{GUID},x\n".encode() + f"{GUID},é\n".encode() * 20_000

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        assert sum(1 for _ in open_input(pipe, CSV)) == 20_001
    writer.join()
