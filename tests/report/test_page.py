"""The page: one file that needs nothing else, says what happened and what to do, and executes nothing it shows."""

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

from bulksms.ledger import EVERYTHING, Author, LedgerReader, Selection, open_ledger
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.ledger.sqlite.operator_actions import purge, resolve
from bulksms.model.message import Reason, State
from bulksms.report import page, triage
from bulksms.report.page import Wanted, as_page, shown

if TYPE_CHECKING:
    from tests.report.harness import LedgerFactory

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
    return Wanted(partial(reader.messages, only), only != EVERYTHING, NOW, shlex.quote)


def made(ledger: Path, only: Selection = EVERYTHING) -> str:
    with open_ledger(ledger) as reader, reader.one_moment():
        return "".join(as_page(reader, wanted(reader, only)))


def read(html: str) -> str:
    parser = Text()
    parser.feed(html)
    return re.sub(r"\s+", " ", "".join(parser.text))


def section(html: str, name: str) -> str:
    return read(html.partition(f'<section id="{name}"')[2].partition("</section>")[0].partition(">")[2])


def test_the_headline_is_what_was_handed_over_and_the_equation(ledgers: "LedgerFactory") -> None:
    ledger = ledgers.people(4)
    ledgers.run(ledger, ledgers.course([[ledgers.ACCEPTED], [ledgers.LOST], [ledgers.ACCEPTED]]))
    text = read(made(ledger))
    assert "Handed to Adaxes: 2 of 4" in text
    assert "4 = 1 queued + 2 accepted + 1 unknown" in text
    assert "Exit code 4: finished; the outcome of some messages is unknown." in text
    assert "2025-11-24 02:35:00 UTC" in text
    assert "delivered" not in text.lower()


@pytest.mark.parametrize(
    ("stopped", "words"),
    [
        (None, "Exit code 0: all accepted."),
        ("interrupted", "Exit code 130: interrupted; what is left stays queued."),
        ("server_unavailable", "Exit code 5: stopped early for safety"),
    ],
)
def test_how_it_ended_is_reported_in_words(ledgers: "LedgerFactory", stopped: str | None, words: str) -> None:
    ledger = ledgers.run(ledgers.people(1), ledgers.course([[ledgers.ACCEPTED]], stopped))
    assert words in read(made(ledger))


def test_a_plan_that_nobody_started_is_reported_as_one(ledgers: "LedgerFactory") -> None:
    text = read(made(ledgers.people(2)))
    assert "Planned; nothing was sent yet." in text
    assert "No run has worked on it yet." in text
    assert "Exit code" not in text
    assert "bulksms resume" in text


def test_after_a_crash_what_was_under_way_is_unknown_everywhere(ledgers: "LedgerFactory") -> None:
    ledger = ledgers.run(ledgers.people(4), ledgers.course([[ledgers.ACCEPTED]], dies_with=2))
    html = made(ledger)
    assert "it was killed, or the machine went down" in read(html)
    assert "4 = 1 queued + 1 accepted + 2 unknown" in read(html)
    assert "2 Unknown whether they were sent" in section(html, "attention")
    assert "2 unknown crash" in section(html, "outcomes")
    assert "Run 1. Attempts begun: 3. Outcomes: 1 accepted, 2 unknown what became of it." in section(html, "course")
    assert "sending" not in section(html, "messages")


def test_beside_a_living_run_what_it_works_on_is_neither_unknown_nor_anybodys_task(ledgers: "LedgerFactory") -> None:
    answers = [[ledgers.ACCEPTED], [ledgers.refused("No number.")]]
    ledger = ledgers.run(ledgers.people(5), ledgers.course(answers, dies_with=2))
    lock = RunLock(ledger)
    lock.acquire("a test")
    try:
        html = made(ledger)
    finally:
        lock.release()
    assert "A run is working on it now" in read(html)
    assert "5 = 1 queued + 2 sending + 1 accepted + 1 failed" in read(html)
    assert "Failed: rejected" in section(html, "attention")
    assert "Use the commands once the run has ended" in section(html, "attention")
    assert "Unknown whether" not in html
    assert "Not sent yet" not in html
    assert "Outcomes: 1 accepted, 1 rejected." in section(html, "course")
    assert "it is working now" in section(html, "runs")


def test_a_rehearsal_says_so_and_asks_for_nothing(ledgers: "LedgerFactory") -> None:
    course = ledgers.course([[ledgers.LOST]], settings={"sandbox": True})
    text = read(made(ledgers.run(ledgers.people(1), course)))
    assert "REHEARSAL" in text
    assert "nothing was sent to anybody" in text
    assert "Rehearsal: the simulator accepted 0 of 1" in text
    assert "by other means" not in text
    assert "bulksms resolve" not in text


def test_what_needs_attention_comes_with_what_to_do(ledgers: "LedgerFactory") -> None:
    answers = [[ledgers.LOST], [ledgers.EXHAUSTED], [ledgers.refused("No number.")], [ledgers.AWAITING]]
    ledger = ledgers.people(6, "my people.ledger.db")
    ledgers.run(ledger, ledgers.course([*answers, [ledgers.DOUBTFUL, ledgers.ACCEPTED]]))
    text = section(made(ledger), "attention")
    quoted = shlex.quote(str(ledger))
    for words in (
        "1 Unknown whether they were sent",
        f"bulksms resolve {quoted} --accepted 2",
        f"bulksms resolve {quoted} --failed 2",
        f"bulksms retry {quoted} --only unknown",
        "1 Failed: attempts exhausted",
        f"bulksms retry {quoted} ",
        "1 Failed: rejected",
        "No number.",
        "1 Awaiting approval",
        "1 May have been sent twice",
        "1 Not sent yet",
        f"bulksms resume {quoted}",
    ):
        assert words in text
    assert (
        text.index("Unknown whether")
        < text.index("exhausted")
        < text.index("Failed: rejected")
        < text.index("sent twice")
    )


def test_outcomes_are_grouped_by_what_was_reported_but_for_the_name(ledgers: "LedgerFactory") -> None:
    names = [f"CN=Person {number},DC=example,DC=com" for number in (1, 2, 3)]
    answers = [[ledgers.refused(f"{name} has no number.")] for name in names]
    ledger = ledgers.people(5)
    ledgers.run(ledger, ledgers.course([*answers, [ledgers.accepted("Odd number.")], [ledgers.ACCEPTED]]))
    text = section(made(ledger), "outcomes")
    assert "3 failed rejected 404 notFound … has no number. 2" in text
    assert "1 accepted 200 Odd number. 5" in text
    assert "1 accepted 200 6" in text


def test_words_that_differ_too_much_are_counted_together(ledgers: "LedgerFactory") -> None:
    answers = [[ledgers.refused(f"Reason {number}.")] for number in range(45)]
    ledger = ledgers.run(ledgers.people(45), ledgers.course(answers))
    assert "And 5 more, each in other words." in section(made(ledger), "outcomes")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_is_in_a_ledger_is_shown_and_never_obeyed(ledgers: "LedgerFactory", hostile: str) -> None:
    rows = [ledgers.person(number, f"CN={hostile},DC=x", hostile, **{hostile: hostile}) for number in (1, 2, 3)]
    rows.append(ledgers.person(4, f"CN={hostile}", hostile + "!"))
    name = f"{hostile.replace('/', '')}.ledger.db"
    ledger = ledgers.plan(rows, name, source=hostile, columns=[hostile])
    settings = {"account": hostile, "test_to": hostile}
    answers = [[ledgers.refused(hostile, hostile)], [ledgers.accepted(hostile)], [ledgers.LOST]]
    ledgers.run(ledger, ledgers.course(answers, settings=settings, user=hostile))
    html = made(ledger)
    parser = Text()
    parser.feed(html)
    calm = Text()
    calm.feed(made(ledgers.run(ledgers.people(4, "calm.ledger.db"), ledgers.course(answers))))
    assert parser.tags == calm.tags
    assert {name for name, _ in parser.attributes} == {name for name, _ in calm.attributes}
    assert not [name for name, _ in parser.attributes if name.startswith("on")]
    assert read(html).count(" ".join(hostile.split())) > 10


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_cannot_be_seen_is_shown_as_its_code(ledgers: "LedgerFactory", unseen: str) -> None:
    rows = [ledgers.person(1, f"CN={unseen}", unseen, name=unseen), ledgers.person(2)]
    course = ledgers.course([[ledgers.refused(unseen)]], user=unseen)
    html = made(ledgers.run(ledgers.plan(rows, source=unseen), course))
    hidden = [character for character in unseen if not character.isprintable()]
    assert hidden
    for character in hidden:
        assert character not in html
        assert f"<code>{character.encode('unicode_escape').decode()}</code>" in html


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_is_escaped_and_loses_nothing(text: str) -> None:
    parser = Text()
    parser.feed(str(escape(shown(text))))
    parser.close()
    codes = "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text.replace("\r\n", "\n")
    )
    assert "".join(parser.text) == codes
    assert parser.tags <= {"code"}


def test_lines_of_a_text_stay_lines() -> None:
    assert shown("one\r\ntwo\n\tthree") == "one\ntwo\n\tthree"
    assert shown(None) == ""
    assert shown(7) == 7
    assert shown(Markup("<b>")) == "<b>"


def test_the_page_may_load_nothing_and_names_what_runs_by_its_hash(ledgers: "LedgerFactory") -> None:
    html = made(ledgers.people(1))
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


def test_tables_say_what_their_cells_are(ledgers: "LedgerFactory") -> None:
    html = made(ledgers.people(3))
    assert '<html lang="en">' in html
    assert html.count('<th scope="row">') >= 3
    assert '<th scope="col"' in html
    assert all(f'href="#{name}"' in html for name in re.findall(r'<section id="(\w+)"', html))


def test_what_people_decided_is_reported(ledgers: "LedgerFactory") -> None:
    ledger = ledgers.run(ledgers.people(2), ledgers.course([[ledgers.LOST], [ledgers.ACCEPTED]]))
    assert "What people decided" not in made(ledger)
    with open_ledger(ledger) as reader:
        outcomes = dict.fromkeys(reader.numbers_in({2}), State.ACCEPTED)
    resolve(ledger, outcomes, Author("anna", "ops-1", "at the terminal", "<b>seen</b>"))
    text = section(made(ledger), "decisions")
    assert "resolve by anna on ops-1: 1 unknown:no_answer to accepted" in text
    assert "<b>seen</b>" in text


def test_the_page_of_a_purged_ledger_says_so_and_keeps_the_numbers(ledgers: "LedgerFactory") -> None:
    ledger = ledgers.run(ledgers.people(2), ledgers.course([[ledgers.LOST], [ledgers.ACCEPTED]]))
    purge(ledger, Author("anna", "ops-1", "--yes"))
    html = made(ledger)
    assert "Names and texts were removed for good" in read(html)
    assert "2 = 1 accepted + 1 unknown" in read(html)
    assert "purge by anna on ops-1" in section(html, "decisions")
    assert "One text for all" not in html
    assert "bulksms resolve" not in html, "there is nobody any more who could be asked"


def test_one_text_for_all_is_shown_once(ledgers: "LedgerFactory") -> None:
    same = ledgers.plan([ledgers.person(number, text="Outage.") for number in range(1, 9)], "same.ledger.db")
    assert made(same).count("Outage.") == 1
    different = ledgers.people(8)
    assert "One text for all" not in made(different)
    assert all(f"Text {number}" in section(made(different), "messages") for number in range(1, 9))


def test_only_chooses_the_messages_and_not_the_numbers(ledgers: "LedgerFactory") -> None:
    answers = [[ledgers.LOST], [ledgers.refused("No number.")], [ledgers.ACCEPTED]]
    html = made(ledgers.run(ledgers.people(3), ledgers.course(answers)), Selection.of(State.FAILED))
    assert "3 = 1 accepted + 1 failed + 1 unknown" in read(html)
    assert "Person 2" in section(html, "messages")
    assert "Person 1" not in html
    assert "Person 3" not in html
    assert "Unknown whether" not in html


def test_too_many_messages_are_not_listed_but_pointed_to(
    ledgers: "LedgerFactory", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "INLINE", 5)
    answers = [[ledgers.LOST], *[[ledgers.ACCEPTED]] * 5]
    ledger = ledgers.run(ledgers.people(6), ledgers.course(answers))
    html = made(ledger)
    assert f"bulksms report {ledger} --format csv -o people.csv" in section(html, "messages")
    assert "Person 1" in section(html, "attention")
    assert "Person 2" not in html
    monkeypatch.setattr(page, "INLINE", 6)
    assert "Person 2" in made(ledger)


def test_a_long_list_of_trouble_is_cut_and_pointed_to(
    ledgers: "LedgerFactory", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage, "KEPT", 3)
    monkeypatch.setattr(page, "KEPT", 3)
    ledger = ledgers.run(ledgers.people(5), ledgers.course([[ledgers.LOST]] * 5))
    text = section(made(ledger), "attention")
    assert "5 Unknown whether they were sent" in text
    assert "The first 3 of 5 messages" in text
    assert f"bulksms report {ledger} --format csv --only unknown -o people.csv" in text
    assert "Person 3" in text
    assert "Person 4" not in text


def test_rows_go_through_one_at_a_time(ledgers: "LedgerFactory", monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken of the ledger is not far ahead of what has been written."""
    taken = 0
    lines = LedgerReader.messages

    def counted(reader: LedgerReader, only: Selection = EVERYTHING) -> Iterator[object]:
        nonlocal taken
        for line in lines(reader, only):
            taken += 1
            yield line

    monkeypatch.setattr(LedgerReader, "messages", counted)
    rows = [ledgers.person(number)._replace(state=State.SKIPPED, reason=Reason.DUPLICATE) for number in range(1, 401)]
    with open_ledger(ledgers.plan(rows)) as reader:
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
        ({"duplicates": 2, "suppressed": 3, "sent_before": 4}, "Left out 2 duplicate, 3 suppressed, 4 sent before"),
    ],
)
def test_who_was_left_out_is_reported_by_why(ledgers: "LedgerFactory", counts: dict[str, int], words: str) -> None:
    ledger = ledgers.plan([ledgers.person(1)], summary=json.dumps({"rows": 9, "to_send": 1, **counts}))
    assert words in section(made(ledger), "plan")


def test_runs_and_plan_are_reported(ledgers: "LedgerFactory") -> None:
    ledger = ledgers.people(2)
    courses = [
        ledgers.course([[ledgers.ACCEPTED]], "interrupted", {"workers": 32, "account": "bulk@example.com"}),
        ledgers.course([[ledgers.PROCESSING]], user="bogdan", began_at=ledgers.BEGAN + 60),
    ]
    ledgers.run(ledger, *courses)
    html = made(ledger)
    with open_ledger(ledger) as reader:
        assert reader.plan().fingerprint in section(html, "plan")
    runs = section(html, "runs")
    for words in ("Run 1", "anna on ops-1", "--workers 32", "bulk@example.com", "somebody stopped it"):
        assert words in runs
    assert "bogdan on ops-1" in runs
    assert "Run 1. Attempts begun: 1." in section(html, "course")
    assert "Run 2. Attempts begun: 1." in section(html, "course")
    assert "operation operation-7" in section(html, "attention")
