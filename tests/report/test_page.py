"""The page: one file that needs nothing else, says how it stands and what to do, and obeys nothing that it shows."""

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from bulksms.ledger.decisions import Author, resolve
from bulksms.ledger.lock import RunLock
from bulksms.ledger.purge import purge
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.selection import EVERYTHING, Selection
from bulksms.message import Reason, State
from bulksms.report import attention, page
from bulksms.report.page import Wanted, as_page, shown

if TYPE_CHECKING:
    from tests.report.conftest import Bookkeeper

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HOSTILE = (
    "<script>document.title='ran'</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></table><h1>Handed to Adaxes: 9 of 9",
    "{{ 7 * 7 }}{% raw %}",
    "</style></script><!--",
    "&lt;b&gt; &amp;",
)
UNSEEN = ("\u202eevil\u202c", "zero\u200bwidth", "\x1b[31mred", "\x85next", "\u2028line", "\ufeffmark", "\u061cmark")


_APART = frozenset({"bdi", "dd", "div", "dt", "li", "p", "td", "th", "tr"})


class Text(HTMLParser):
    """What a reader sees, and the tags and attributes that there are."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.extend(attrs)
        if tag in _APART:
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def wanted(reader: LedgerReader, only: Selection = EVERYTHING) -> Wanted:
    return Wanted(partial(reader.lines, only), only != EVERYTHING, NOW, shlex.quote)


def made(ledger: Path, only: Selection = EVERYTHING) -> str:
    with LedgerReader(ledger) as reader, reader.one_moment():
        return "".join(as_page(reader, wanted(reader, only)))


def read(html: str) -> str:
    parser = Text()
    parser.feed(html)
    return re.sub(r"\s+", " ", "".join(parser.text))


def section(html: str, name: str) -> str:
    return read(html.partition(f'<section id="{name}"')[2].partition("</section>")[0].partition(">")[2])


def test_the_headline_is_what_was_handed_over_and_the_equation(bookkeeper: "Bookkeeper") -> None:
    ledger = bookkeeper.people(4)
    bookkeeper.run(ledger, bookkeeper.course([[bookkeeper.ACCEPTED], [bookkeeper.LOST], [bookkeeper.ACCEPTED]]))
    text = read(made(ledger))
    assert "Handed to Adaxes: 2 of 4" in text
    assert "4 = 1 queued + 2 accepted + 1 unknown" in text
    assert "Exit code 4: finished; of some it is unknown whether they were sent." in text
    assert "2025-11-24 02:35:00 UTC" in text
    assert "delivered" not in text.lower()


@pytest.mark.parametrize(
    ("stopped", "words"),
    [
        (None, "Exit code 0: all accepted."),
        ("interrupted", "Exit code 130: interrupted; what is left stays queued."),
        ("away", "Exit code 5: stopped early for safety"),
    ],
)
def test_how_it_ended_is_said_in_words(bookkeeper: "Bookkeeper", stopped: str | None, words: str) -> None:
    ledger = bookkeeper.run(bookkeeper.people(1), bookkeeper.course([[bookkeeper.ACCEPTED]], stopped))
    assert words in read(made(ledger))


def test_a_plan_that_nobody_started_is_told_as_one(bookkeeper: "Bookkeeper") -> None:
    text = read(made(bookkeeper.people(2)))
    assert "Planned; nothing was sent yet." in text
    assert "No run has worked on it yet." in text
    assert "Exit code" not in text
    assert "bulksms resume" in text


def test_after_a_crash_what_was_under_way_is_unknown_everywhere(bookkeeper: "Bookkeeper") -> None:
    ledger = bookkeeper.run(bookkeeper.people(4), bookkeeper.course([[bookkeeper.ACCEPTED]], dies_with=2))
    html = made(ledger)
    assert "it was killed, or the machine went down" in read(html)
    assert "4 = 1 queued + 1 accepted + 2 unknown" in read(html)
    assert "2 Unknown whether they were sent" in section(html, "attention")
    assert "2 unknown crash" in section(html, "outcomes")
    assert "Run 1. Attempts begun: 3. What came of them: 1 accepted, 2 unknown what became of it." in section(
        html, "course"
    )
    assert "sending" not in section(html, "messages")


def test_beside_a_living_run_what_it_works_on_is_neither_unknown_nor_anybodys_task(bookkeeper: "Bookkeeper") -> None:
    answers = [[bookkeeper.ACCEPTED], [bookkeeper.refused("No number.")]]
    ledger = bookkeeper.run(bookkeeper.people(5), bookkeeper.course(answers, dies_with=2))
    lock = RunLock(ledger)
    lock.acquire("a test")
    try:
        html = made(ledger)
    finally:
        lock.release()
    assert "A run is working on it now" in read(html)
    assert "5 = 1 queued + 2 sending + 1 accepted + 1 failed" in read(html)
    assert "Failed: refused" in section(html, "attention")
    assert "The commands are for later" in section(html, "attention")
    assert "Unknown whether" not in html
    assert "Not sent yet" not in html
    assert "What came of them: 1 accepted, 1 refused." in section(html, "course")
    assert "it is working now" in section(html, "runs")


def test_a_rehearsal_says_so_and_asks_for_nothing(bookkeeper: "Bookkeeper") -> None:
    course = bookkeeper.course([[bookkeeper.LOST]], settings={"sandbox": True})
    text = read(made(bookkeeper.run(bookkeeper.people(1), course)))
    assert "A rehearsal" in text
    assert "nobody was told" in text
    assert "bulksms resolve" not in text


def test_what_needs_attention_comes_with_what_to_do(bookkeeper: "Bookkeeper") -> None:
    answers = [[bookkeeper.LOST], [bookkeeper.GAVE_UP], [bookkeeper.refused("No number.")], [bookkeeper.AWAITING]]
    ledger = bookkeeper.people(6, "my people.ledger.db")
    bookkeeper.run(ledger, bookkeeper.course([*answers, [bookkeeper.DOUBTFUL, bookkeeper.ACCEPTED]]))
    text = section(made(ledger), "attention")
    quoted = shlex.quote(str(ledger))
    for words in (
        "1 Unknown whether they were sent",
        f"bulksms resolve {quoted} --accepted 2",
        f"bulksms resolve {quoted} --failed 2",
        f"bulksms retry {quoted} --only unknown",
        "1 Failed: given up",
        f"bulksms retry {quoted} ",
        "1 Failed: refused",
        "No number.",
        "1 Awaiting approval",
        "1 May have been sent twice",
        "1 Not sent yet",
        f"bulksms resume {quoted}",
    ):
        assert words in text
    assert text.index("Unknown whether") < text.index("given up") < text.index("refused") < text.index("sent twice")


def test_outcomes_are_grouped_by_what_was_said_but_for_the_name(bookkeeper: "Bookkeeper") -> None:
    names = [f"CN=Person {number},DC=example,DC=com" for number in (1, 2, 3)]
    answers = [[bookkeeper.refused(f"{name} has no number.")] for name in names]
    ledger = bookkeeper.people(5)
    bookkeeper.run(ledger, bookkeeper.course([*answers, [bookkeeper.accepted("Odd number.")], [bookkeeper.ACCEPTED]]))
    text = section(made(ledger), "outcomes")
    assert "3 failed refused 404 notFound … has no number. 2" in text
    assert "1 accepted 200 Odd number. 5" in text
    assert "1 accepted 200 6" in text


def test_words_that_differ_too_much_are_counted_together(bookkeeper: "Bookkeeper") -> None:
    answers = [[bookkeeper.refused(f"Reason {number}.")] for number in range(45)]
    ledger = bookkeeper.run(bookkeeper.people(45), bookkeeper.course(answers))
    assert "And 5 more, in other words each." in section(made(ledger), "outcomes")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_stands_in_a_ledger_is_shown_and_never_obeyed(bookkeeper: "Bookkeeper", hostile: str) -> None:
    rows = [bookkeeper.person(number, f"CN={hostile},DC=x", hostile, **{hostile: hostile}) for number in (1, 2, 3)]
    rows.append(bookkeeper.person(4, f"CN={hostile}", hostile + "!"))
    name = f"{hostile.replace('/', '')}.ledger.db"
    ledger = bookkeeper.plan(rows, name, source=hostile, columns=[hostile])
    settings = {"account": hostile, "test_to": hostile}
    answers = [[bookkeeper.refused(hostile, hostile)], [bookkeeper.accepted(hostile)], [bookkeeper.LOST]]
    bookkeeper.run(ledger, bookkeeper.course(answers, settings=settings, user=hostile))
    html = made(ledger)
    parser = Text()
    parser.feed(html)
    calm = Text()
    calm.feed(made(bookkeeper.run(bookkeeper.people(4, "calm.ledger.db"), bookkeeper.course(answers))))
    assert parser.tags == calm.tags
    assert {name for name, _ in parser.attributes} == {name for name, _ in calm.attributes}
    assert not [name for name, _ in parser.attributes if name.startswith("on")]
    assert read(html).count(" ".join(hostile.split())) > 10


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_cannot_be_seen_is_shown_as_its_code(bookkeeper: "Bookkeeper", unseen: str) -> None:
    rows = [bookkeeper.person(1, f"CN={unseen}", unseen, name=unseen), bookkeeper.person(2)]
    course = bookkeeper.course([[bookkeeper.refused(unseen)]], user=unseen)
    html = made(bookkeeper.run(bookkeeper.plan(rows, source=unseen), course))
    hidden = [character for character in unseen if not character.isprintable()]
    assert hidden
    for character in hidden:
        assert character not in html
        assert f"<code>\\u{ord(character):04x}</code>" in html


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_escaped_and_loses_nothing(text: str) -> None:
    parser = Text()
    parser.feed(str(escape(shown(text))))
    parser.close()
    codes = "".join(
        character if character.isprintable() or character in "\n\t" else f"\\u{ord(character):04x}"
        for character in text.replace("\r\n", "\n")
    )
    assert "".join(parser.text) == codes
    assert parser.tags <= {"code"}


def test_lines_of_a_text_stay_lines() -> None:
    assert shown("one\r\ntwo\n\tthree") == "one\ntwo\n\tthree"
    assert shown(None) == ""
    assert shown(7) == 7
    assert shown(Markup("<b>")) == "<b>"


def test_the_page_may_load_nothing_and_names_what_runs_by_its_hash(bookkeeper: "Bookkeeper") -> None:
    html = made(bookkeeper.people(1))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert {name for name, value in directives.items() if "sha256-" in value} == {"style-src", "script-src"}
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert "<meta charset" in html[:1_024]
    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert not re.findall(r"<[^>]* style=", html)
    assert html.count("<script") == 1


def test_tables_say_what_their_cells_are(bookkeeper: "Bookkeeper") -> None:
    html = made(bookkeeper.people(3))
    assert '<html lang="en">' in html
    assert html.count('<th scope="row">') >= 3
    assert '<th scope="col"' in html
    assert all(f'href="#{name}"' in html for name in re.findall(r'<section id="(\w+)"', html))


def test_what_people_decided_is_told(bookkeeper: "Bookkeeper") -> None:
    ledger = bookkeeper.run(bookkeeper.people(2), bookkeeper.course([[bookkeeper.LOST], [bookkeeper.ACCEPTED]]))
    assert "What people decided" not in made(ledger)
    with LedgerReader(ledger) as reader:
        outcomes = dict.fromkeys(reader.numbers_in({2}), State.ACCEPTED)
    resolve(ledger, outcomes, Author("anna", "ops-1", "at the terminal", "<b>seen</b>"))
    text = section(made(ledger), "decisions")
    assert "resolve by anna on ops-1: 1 unknown:lost_answer to accepted" in text
    assert "<b>seen</b>" in text


def test_the_page_of_a_purged_ledger_says_so_and_keeps_the_numbers(bookkeeper: "Bookkeeper") -> None:
    ledger = bookkeeper.run(bookkeeper.people(2), bookkeeper.course([[bookkeeper.LOST], [bookkeeper.ACCEPTED]]))
    purge(ledger, Author("anna", "ops-1", "--yes"))
    html = made(ledger)
    assert "Names and texts were removed for good" in read(html)
    assert "2 = 1 accepted + 1 unknown" in read(html)
    assert "purge by anna on ops-1" in section(html, "decisions")
    assert "One text for all" not in html
    assert "bulksms resolve" not in html, "there is nobody any more who could be asked"


def test_one_text_for_all_is_shown_once(bookkeeper: "Bookkeeper") -> None:
    same = bookkeeper.plan([bookkeeper.person(number, text="Outage.") for number in range(1, 9)], "same.ledger.db")
    assert made(same).count("Outage.") == 1
    different = bookkeeper.people(8)
    assert "One text for all" not in made(different)
    assert all(f"Text {number}" in section(made(different), "messages") for number in range(1, 9))


def test_only_chooses_the_messages_and_not_the_numbers(bookkeeper: "Bookkeeper") -> None:
    answers = [[bookkeeper.LOST], [bookkeeper.refused("No number.")], [bookkeeper.ACCEPTED]]
    html = made(bookkeeper.run(bookkeeper.people(3), bookkeeper.course(answers)), Selection.of(State.FAILED))
    assert "3 = 1 accepted + 1 failed + 1 unknown" in read(html)
    assert "Person 2" in section(html, "messages")
    assert "Person 1" not in html
    assert "Person 3" not in html
    assert "Unknown whether" not in html


def test_too_many_messages_are_not_listed_but_pointed_to(
    bookkeeper: "Bookkeeper", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "INLINE", 5)
    answers = [[bookkeeper.LOST], *[[bookkeeper.ACCEPTED]] * 5]
    ledger = bookkeeper.run(bookkeeper.people(6), bookkeeper.course(answers))
    html = made(ledger)
    assert f"bulksms report {ledger} --format csv -o people.csv" in section(html, "messages")
    assert "Person 1" in section(html, "attention")
    assert "Person 2" not in html
    monkeypatch.setattr(page, "INLINE", 6)
    assert "Person 2" in made(ledger)


def test_a_long_list_of_trouble_is_cut_and_pointed_to(
    bookkeeper: "Bookkeeper", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "KEPT", 3)
    monkeypatch.setattr(page, "KEPT", 3)
    ledger = bookkeeper.run(bookkeeper.people(5), bookkeeper.course([[bookkeeper.LOST]] * 5))
    text = section(made(ledger), "attention")
    assert "5 Unknown whether they were sent" in text
    assert "The first 3 of 5 messages" in text
    assert f"bulksms report {ledger} --format csv --only unknown -o people.csv" in text
    assert "Person 3" in text
    assert "Person 4" not in text


def test_rows_go_through_one_at_a_time(bookkeeper: "Bookkeeper", monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken of the ledger is not far ahead of what has been written."""
    taken = 0
    lines = LedgerReader.lines

    def counted(reader: LedgerReader, only: Selection = EVERYTHING) -> Iterator[object]:
        nonlocal taken
        for line in lines(reader, only):
            taken += 1
            yield line

    monkeypatch.setattr(LedgerReader, "lines", counted)
    rows = [
        bookkeeper.person(number)._replace(state=State.SKIPPED, reason=Reason.DUPLICATE) for number in range(1, 401)
    ]
    with LedgerReader(bookkeeper.plan(rows)) as reader:
        pieces = as_page(reader, wanted(reader))
        first = next(piece for piece in pieces if "CN=Person 1,<wbr>DC=example" in piece)
        assert "Person 400" not in first
        assert taken < 400 + 100  # once to count them, and as far as it got
        assert "CN=Person 400," in "".join(pieces)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "Left out nobody"),
        ({"duplicates": 0, "bad_rows": 1_200}, "Left out 1,200 bad"),
        ({"duplicates": 2, "suppressed": 3, "told_before": 4}, "Left out 2 duplicate, 3 suppressed, 4 told before"),
    ],
)
def test_who_was_left_out_is_told_by_why(bookkeeper: "Bookkeeper", counts: dict[str, int], words: str) -> None:
    ledger = bookkeeper.plan([bookkeeper.person(1)], summary=json.dumps({"rows": 9, "to_send": 1, **counts}))
    assert words in section(made(ledger), "plan")


def test_runs_and_plan_are_told(bookkeeper: "Bookkeeper") -> None:
    ledger = bookkeeper.people(2)
    courses = [
        bookkeeper.course([[bookkeeper.ACCEPTED]], "interrupted", {"workers": 32, "account": "bulk@example.com"}),
        bookkeeper.course([[bookkeeper.PROCESSING]], user="bogdan", began_at=bookkeeper.BEGAN + 60),
    ]
    bookkeeper.run(ledger, *courses)
    html = made(ledger)
    with LedgerReader(ledger) as reader:
        assert reader.plan().fingerprint in section(html, "plan")
    runs = section(html, "runs")
    for words in ("Run 1", "anna on ops-1", "--workers 32", "bulk@example.com", "a person interrupted it"):
        assert words in runs
    assert "bogdan on ops-1" in runs
    assert "Run 1. Attempts begun: 1." in section(html, "course")
    assert "Run 2. Attempts begun: 1." in section(html, "course")
    assert "operation operation-7" in section(html, "attention")
