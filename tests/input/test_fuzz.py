"""Whatever bytes come in: rows, bad rows, or a refusal in words. No traceback, no hang, no row from nowhere."""

import io
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, Format, InputOptions, Row, open_input

ROOT = Path(__file__).parents[2]
SCRAPS = (
    b'"',
    b'""',
    b",",
    b";",
    b"\t",
    b"|",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xfe\xff",
    b"\xff\xfe",
)
MORE_SCRAPS = (
    b"{",
    b"}",
    b"[",
    b"[" * 3000,
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"((",
    b"))",
    b"%a%",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"=",
    b"#",
    b"sep=;\n",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"gsm7_replace": True},
    {"max_segments": 1},
    {"text": "for all", "max_segments": 1},
    {"text": "Hello ((text|you)) %s ((guid))"},
    {"text": "Hello ((text))", "gsm7_replace": True},
    {"encoding": "windows-1252"},
    {"encoding": "utf-7"},
    {"encoding": "utf-16"},
    {"recipient_column": "name"},
)


@cache
def real_files(form: Format) -> tuple[bytes, ...]:
    """The corpus and the samples, but for what is large."""
    paths = sorted([*(ROOT / "tests/input/corpus").glob(f"*.{form}"), *(ROOT / "samples").glob(f"*.{form}")])
    return tuple(data for path in paths if len(data := path.read_bytes()) < 6000)


def mutated(chance: random.Random, form: Format) -> bytes:
    """A real file with a few things put in, taken out, doubled or taken from another one, mostly after the header."""
    if chance.random() < 0.05:
        form = "jsonl" if form == "csv" else "csv"
    data = chance.choice(real_files(form))
    for _ in range(chance.randrange(1, 6)):
        header = data.find(b"\n") + 1 if chance.random() < 0.85 else 0
        begin = chance.randrange(header, len(data) + 1)
        end = min(len(data), begin + chance.choice((0, 1, 1, 2, 8, 60)))
        what = chance.randrange(6)
        if what == 0:
            new = chance.choice(SCRAPS + MORE_SCRAPS)
        elif what == 1:
            new = chance.choice("é…😀ж\u200b\u2028\x85(").encode()
        elif what == 2:
            new = data[begin:end] * chance.randrange(3)
        elif what == 3:
            other = chance.choice(real_files(form))
            new = other[chance.randrange(len(other) + 1) :][:60]
        elif what == 4:
            new = chance.randbytes(chance.randrange(1, 3))
        else:
            new = b""
        data = data[:begin] + new + data[end:]
    return data


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("part", range(4))
@settings(max_examples=1250, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 62), options=st.sampled_from(OPTIONS))
def test_no_file_trips_the_reading(form: Format, part: int, seed: int, options: dict[str, Any]) -> None:
    data = mutated(random.Random(seed * 4 + part), form)  # noqa: S311 - the same files each time, nothing secret
    numbers: list[int] = []
    try:
        with open_input(io.BytesIO(data), InputOptions(format=form, **options)) as opened:
            for row in opened:
                numbers.append(row.row)
                check(row, len(opened.columns))
            assert all(finding.problem for finding in opened.findings)
    except (InputError, UsageError) as refusal:
        assert f"{refusal}{refusal.hint}".isprintable()  # noqa: PT017 - either way is right, in its own way
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= sum(map(data.count, (b"\n", b"\r"))) + 1


def check(row: Row | BadRow, width: int) -> None:
    """See that a row can be sent, or kept."""
    if isinstance(row, Row):
        row.text.encode()
        assert row.text.strip()
        assert 1 <= row.segments <= 255
        assert "\x00" not in row.text + row.recipient.given
        return
    assert row.findings
    assert len(row.cells) == width
    for finding in row.findings:
        assert f"{finding.problem}{finding.value}{finding.hint}".isprintable()
    "".join((*row.cells, row.recipient, row.text)).encode()
