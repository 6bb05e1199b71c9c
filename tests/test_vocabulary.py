"""One word for one thing: words that the project has given up are in no code, test, documentation or output.

The list holds what a newcomer could neither search for nor guess. Beside each word is what to write instead.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).relative_to(ROOT)
SUFFIXES = {".py", ".md", ".toml", ".yml", ".yaml", ".html", ".css", ".js", ".cfg"}
FOLDERS = ("bulksms", "tests", "docs", "benchmarks", "samples", ".ci", ".github")

WORDS: Mapping[str, str] = {
    # Literary words for what the field has a term for
    "told": "sent, reported, shown; 'sent a message' of a person",
    "said": "named, given, printed; `result` for the result of a call",
    "stand|stands|stood|standing": "is, are; counts; 'simulator' for the stand-in server",
    "heed|heeds|heeded": "apply, follow",
    "wish|wishes": "command, setting",
    "complaint|complaints|complain": "error, throttled answer",
    "mend|mends|mended|mending": "fix, repair",
    "law|laws": "invariant",
    "road|roads|crowd|desk|bookkeeper": "the name of the harness: AdmissionHarness, EngineHarness, CliHarness",
    "book|books": "record, recorder, log",
    "halt|halts": "stop, StopSignal",
    "brake|braked|gate|gates": "circuit breaker",
    "defect|defects": "internal error, bug",
    "intake": "input",
    "worth a look": "warning",
    # Calques
    "whoever|whomever|whosoever": "name who it is: the caller, the operator, the recipient",
    "such a part": "N% of ...",
    "of whom": "whose, for which messages",
    "given back": "requeued",
    "goes alone|go alone": "probe",
    # Names of options, files, states and reasons before they were released
    "claims": "start registry, starts",
    "told-in|not-told-in": "--sent-in, --not-sent-in",
    "skip-bad": "--skip-invalid",
    "max-pause": "--max-outage",
    "may have sent twice": "possible_duplicate",
    "gave_up|gave-up": "attempts_exhausted",
    "lost_answer": "no_answer",
    "doubtful_answer": "ambiguous_answer",
    "refused_elsewhere": "rejected_before_api",
    "ownrows": "InMemoryRows",
    "ledgertrouble|inputrefused|planrefused|servertrouble|ledgerlocked": "LedgerError, InputError, ...",
}
"""Each word, with its forms, and what to write instead. One with `_` or `-` counts only if it is written so."""

ALLOWED: Mapping[str, str] = {r"Little's law": "the name of a theorem"}
"""Lines in which a word may be, as patterns, each with the reason."""

FORMS = {form: instead for words, instead in WORDS.items() for form in words.split("|")}
LETTERS = re.compile("[^a-z]+")


def files() -> Iterator[Path]:
    """Every text of the project, relative to its root."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in sorted([*inside, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]):
        relative = path.relative_to(ROOT)
        if path.suffix in SUFFIXES and relative != HERE and "results" not in relative.parts:
            yield relative


def room(path: Path) -> str:
    """The room that a file belongs to: two folders deep in the package and the tests, else its first folder."""
    depth = 2 if path.parts[0] in ("bulksms", "tests") and len(path.parts) > 2 else 1
    return "/".join(path.parts[:depth]) if len(path.parts) > 1 else "."


def old_words(line: str) -> list[str]:
    """The old words in a line, whether it is prose, `snake_case` or an option."""
    exact = line.lower()
    if not exact.strip():
        return []
    words = f" {LETTERS.sub(' ', exact)} "
    return [form for form in FORMS if (form in exact if set(form) & set("_-") else f" {form} " in words)]


def found() -> dict[str, list[str]]:
    """Each old word by room, as `file:line: word (what to write instead)`."""
    allowed = re.compile("|".join(ALLOWED)) if ALLOWED else None
    rooms: dict[str, list[str]] = {}
    for path in files():
        listed = rooms.setdefault(room(path), [])
        listed += [f"{path}: {form!r} (write: {FORMS[form]})" for form in old_words(str(path))]
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            if allowed is None or not allowed.search(line):
                listed += [f"{path}:{number}: {form!r} (write: {FORMS[form]})" for form in old_words(line)]
    return rooms


FOUND = found()


@pytest.mark.parametrize("name", FOUND)
def test_old_words_are_gone(name: str) -> None:
    words = FOUND[name]
    assert not words, "\n".join(["", *words])


@pytest.mark.parametrize("line", ["as told_people", "What is Told.", "a stand-in", "Law: one", "--told-in x"])
def test_old_words_are_recognised(line: str) -> None:
    assert old_words(line)


@pytest.mark.parametrize("line", ["standard", "untold", "understanding", "lawn", "bookmark", "aforesaid"])
def test_other_words_are_not(line: str) -> None:
    assert not old_words(line)


if __name__ == "__main__":
    print("\n".join(line for lines in FOUND.values() for line in lines))  # noqa: T201 - for those who rewrite a room
    print(Counter({name: len(lines) for name, lines in FOUND.items()}))  # noqa: T201
