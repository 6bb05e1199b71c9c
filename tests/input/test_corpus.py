"""Each file of the corpus gives the findings that the table beside it expects, no more and no fewer."""

import csv
import json
from pathlib import Path

import pytest

from bulksms.errors import InputError, UsageError
from bulksms.input import CODES, BadRow, Finding, InputOptions, Severity, open_input

CORPUS = Path(__file__).parent / "corpus"


def table() -> list[tuple[str, str, str]]:
    with (Path(__file__).parent / "corpus.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [(name, options, expected) for name, options, expected in rows]


def outcome(path: Path, options: InputOptions) -> str:
    """What became of a file, in the words of the table."""
    findings: list[Finding] = []
    good = 0
    try:
        with open_input(path, options) as opened:
            for row in opened:
                findings += row.findings if isinstance(row, BadRow) else row.warnings
                good += not isinstance(row, BadRow)
            findings = opened.findings + findings
    except UsageError:
        return "usage"
    except InputError as refusal:
        return "refused " + str(refusal).rsplit("(", 1)[1].split()[0]
    return "; ".join([f"{good} good", *(f"{one.code} {one.row or '-'} {one.column or '-'}" for one in findings)])


@pytest.mark.parametrize(("name", "options", "expected"), table())
def test_each_file_has_exactly_the_findings_of_the_table(name: str, options: str, expected: str) -> None:
    if name.endswith(".xlsx"):
        pytest.importorskip("python_calamine")
    given = {} if options == "-" else json.loads(options)
    got = outcome(CORPUS / name, InputOptions(**given))
    assert sorted(got.split("; ")) == sorted(expected.split("; "))


def test_the_table_names_every_file_once() -> None:
    named = [name for name, _, _ in table()]
    assert sorted(named) == sorted(path.name for path in CORPUS.iterdir() if path.name != ".gitattributes")
    assert len(named) >= 120


def test_the_corpus_has_every_code_but_those_that_need_another_kind_of_file() -> None:
    seen = {word for _, _, expected in table() for word in expected.split() if word in CODES}
    of_the_directory = {"E013", "E014", "E114", "E115", "E116", "E117", "E118", "E119", "W210", "W211"}
    assert set(CODES) - seen == {"E001", "E011", "E120", "W301", "W302"} | of_the_directory


@pytest.mark.parametrize(("name", "options", "expected"), [row for row in table() if row[2].startswith(("ref", "us"))])
def test_whatever_is_refused_is_reported_in_one_sentence(name: str, options: str, expected: str) -> None:
    if name.endswith(".xlsx"):
        pytest.importorskip("python_calamine")
    kind = UsageError if expected == "usage" else InputError
    given = InputOptions(**({} if options == "-" else json.loads(options)))
    # Some are found at opening, some only at reading on.
    with pytest.raises(kind) as refusal, open_input(CORPUS / name, given) as opened:
        list(opened)
    assert 10 < len(str(refusal.value)) < 300
    assert str(refusal.value).isprintable()


def test_errors_block_and_warnings_do_not() -> None:
    for code in CODES:
        expected = Severity.WARNING if code.startswith("W") else Severity.ERROR
        finding = Finding(code, "so it is")
        assert finding.severity is expected
        assert finding.name == CODES[code].name
