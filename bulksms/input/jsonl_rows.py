"""JSONL rows: one object a line, its keys are the columns.

Invariant: the keys of the first object are the columns of the input; a later one may have fewer or others, and is then
checked by its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from bulksms.input.decoding import Text
from bulksms.input.finding import BadRow, Finding, Row, refused, shortened
from bulksms.input.row_checker import RowChecker

_MOST_BAD_AT_FIRST = 20
"""Lines before the first object after which the file is taken for something else."""


class _Number(str):
    """A number with a fraction, as it was written."""

    __slots__ = ()


_decode = msgspec.json.Decoder(dict[str, object], float_hook=_Number).decode
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}").search


class JsonRows:
    """The rows of a file of JSON lines, read as they are asked for."""

    delimiter = None

    def __init__(self, text: Text) -> None:
        """Read on to the first object.

        Raises:
            InputError: there is none among the first lines.

        """
        self._text = text
        self._lines = text.lines()
        self._bad_at_first: list[tuple[int, str, Finding]] = []
        self._first = self._first_object()
        self._first_row = text.row
        self.columns = tuple(self._first)

    def _first_object(self) -> dict[str, object]:
        for line in self._lines:
            self._text.row += 1
            if not line.strip():
                continue
            read = _read(self._text.row, line)
            if isinstance(read, dict):
                return read
            if self._text.row == 1 and line.lstrip().startswith("["):
                hint = "`jq -c '.[]' people.json > people.jsonl` writes one object a line"
                raise refused("E004", f"{self._text.name} is a JSON array, not JSON lines", hint)
            self._bad_at_first.append((self._text.row, line, read))
            if len(self._bad_at_first) == _MOST_BAD_AT_FIRST:
                break
        if not self._bad_at_first:
            raise refused("E002", f"{self._text.name} is empty", "is it the right file?")
        row, _, finding = self._bad_at_first[0]
        sentence = f"No line at the beginning of {self._text.name} is a JSON object; line {row}: {finding.problem}"
        raise refused("E004", sentence, 'a line looks like {"directoryObject": "…", "text": "…"}')

    def sample(self) -> list[list[str]]:
        """The first row."""
        return [[_as_text(value) for value in self._first.values()]]

    def rows(self, checker: RowChecker) -> Iterator[Row | BadRow]:
        """Read and check all rows.

        Raises:
            InputError: the rest of the file cannot be read.

        """
        for row, line, finding in self._bad_at_first:
            yield checker.refuse(row, (line.strip(),), finding)
        yield _checked(self._first_row, self._first, checker)
        for line in self._lines:
            self._text.row += 1
            if not line.strip():
                continue
            read = _read(self._text.row, line)
            if isinstance(read, Finding):
                yield checker.refuse(self._text.row, (line.strip(),), read)
            else:
                yield _checked(self._text.row, read, checker)


def _read(row: int, line: str) -> dict[str, object] | Finding:
    """Read one line, or tell what is wrong with it."""
    try:
        values = _decode(line)
        # As many colons as keys: no key was there twice, and the slower look is not needed.
        key = None if line.count(":") == len(values) else _repeated(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return _unreadable(row, line, error)
    if key is None:
        return values
    problem = "the object has this key twice"
    return Finding("E110", problem, row=row, column=shortened(key), value=shortened(line.strip()))


def _repeated(line: str) -> str | None:
    """Find a key that the outermost object has twice; a decoder to dictionaries keeps only the last one."""
    pairs: list[list[tuple[str, object]]] = []

    def keep(found: list[tuple[str, object]]) -> None:
        pairs.append(found)

    json.loads(line, object_pairs_hook=keep)
    seen: set[str] = set()
    for key, _ in pairs[-1]:
        if key in seen:
            return key
        seen.add(key)
    return None


def _unreadable(row: int, line: str, error: Exception) -> Finding:
    value = shortened(line.strip())
    if isinstance(error, RecursionError):
        return Finding("E108", "the values are nested too deeply", row=row, value=value)
    if _SURROGATE(line) and _has_lone_surrogate(line):
        hint = r"a character beyond U+FFFF is a pair such as \ud83d\ude00"
        return Finding("E106", "half of a character pair", row=row, value=value, hint=hint)
    problem = str(error)
    if not problem[:2].isupper():  # as in JSON
        problem = problem[:1].lower() + problem[1:]
    hint = 'a line looks like {"directoryObject": "…", "text": "…"}'
    return Finding("E108", f"not a JSON object: {problem}", row=row, value=value, hint=hint)


def _has_lone_surrogate(line: str) -> bool:
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _checked(row: int, values: Mapping[str, object], checker: RowChecker) -> Row | BadRow:
    """Check one object; numbers and booleans are taken as they are written, null is empty."""
    if all(type(value) is str for value in values.values()):
        return checker.check_row(row, cast("Mapping[str, str]", values))
    layout = checker.layout_of(tuple(values))
    texts = {column: _as_text(value) for column, value in values.items()}
    wrong: list[Finding] = []
    for place, (column, value) in enumerate(values.items()):
        must_be_text = place in (layout.recipient, layout.text)
        if isinstance(value, list | dict) or (must_be_text and value is not None and type(value) is not str):
            expected = "a string" if must_be_text else "a string, number, boolean or null"
            problem = f"the value is {_TYPES[type(value)]}, not {expected}"
            wrong.append(Finding("E109", problem, row=row, column=shortened(column), value=shortened(texts[column])))
    return checker.refuse_row(row, texts, wrong) if wrong else checker.check_row(row, texts)


_TYPES = {list: "a list", dict: "an object", int: "a number", _Number: "a number", bool: "a boolean"}


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return msgspec.json.encode(value).decode()
