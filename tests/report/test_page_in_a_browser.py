"""The page in a real browser, with the network off: nothing is asked for, nothing complains, nothing hostile runs."""

import asyncio
import importlib.util
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.cli.ui.console import write_privately
from bulksms.ledger import DraftRow, open_ledger
from bulksms.report.page import Wanted, as_page
from tests.report.browser import Page, browser, found

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.report.harness import LedgerFactory

PROGRAM = found()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: apt-get install chromium")

HOSTILE = "<script>document.title='ran'</script><img src=https://example.com/x onerror=\"document.title='ran'\">\u202e"
ROWS = """Array.from(document.querySelectorAll("#all tbody tr")).filter((row) => row.checkVisibility())
    .map((row) => Number(row.cells[0].textContent))"""


def hostile_page(ledgers: "LedgerFactory") -> Path:
    """Nine messages: each kind of outcome, and names and texts that would like to run."""
    names = ("Émile", "anna", "Zoë", HOSTILE, "Bogdan", "עברית", "Carla 10", "Carla 9", "last")
    rows = [
        ledgers.person(number, f"CN={name},DC=example,DC=com", f"{name} {HOSTILE}", note=HOSTILE)
        for number, name in enumerate(names, 1)
    ]
    answers = [
        [ledgers.ACCEPTED],
        [ledgers.AGAIN, ledgers.ACCEPTED],
        [ledgers.LOST],
        [ledgers.refused(HOSTILE, HOSTILE)],
        [ledgers.AWAITING],
        [ledgers.accepted(HOSTILE)],
        [ledgers.DOUBTFUL, ledgers.ACCEPTED],
        [ledgers.EXHAUSTED],
    ]
    ledger = ledgers.plan(rows, columns=["note"], source=HOSTILE)
    settings = {"account": HOSTILE, "workers": 3}
    ledgers.run(ledger, ledgers.course(answers, "interrupted", settings, user=HOSTILE))
    return write_page(ledger)


def contacts_page(ledgers: "LedgerFactory") -> Path:
    """Five messages of an input that has names, numbers and addresses; one is accepted."""

    def row(number: int, recipient: str, **columns: str) -> DraftRow:
        return ledgers.person(number, recipient, **columns)

    rows = [
        row(1, "CN=a,DC=x", **{"Given name": "Anna", "Surname": "Bee", "Mobile phone": "+49 151 1"}),
        row(
            2,
            "CN=z,DC=x",
            **{"Given name": "Zoë", "Surname": "Ab", "Mobile phone": "+49 151 2", "E-Mail": "z@example.com"},
        ),
        row(3, "CN=c,DC=x", **{"Given name": "Carla"}),
        row(4, "CN=Roe\\, Max,DC=x", note=""),
        row(5, "CN=Last One,DC=x", note=""),
    ]
    answers = [
        [ledgers.LOST],
        [ledgers.refused("CN=z,DC=x has no number.")],
        [ledgers.ACCEPTED],
        [ledgers.refused("CN=Roe\\, Max,DC=x has no number.")],
    ]
    ledger = ledgers.plan(rows, columns=["Given name", "Surname", "Mobile phone", "E-Mail", "note"])
    return write_page(ledgers.run(ledger, ledgers.course(answers, "interrupted")))


def write_page(ledger: Path) -> Path:
    page = ledger.with_suffix(".html")
    with open_ledger(ledger) as reader, reader.one_moment():
        write_privately(page, as_page(reader, Wanted(reader.messages, False, datetime.now(UTC), shlex.quote)))
    return page


@asynccontextmanager
async def opened(file: Path, width: int = 1_280) -> AsyncIterator[Page]:
    """The page in a browser of its own; at the end it has asked for nothing and complained of nothing."""
    assert PROGRAM is not None
    async with browser(PROGRAM) as page:
        await page.resize(width)
        await page.open(file.as_uri())
        yield page
        assert page.requests == [file.as_uri()]
        assert not page.errors
        assert str(await page.evaluate("document.title")).endswith(" handed to Adaxes")


async def type_in(page: Page, words: str) -> list[int]:
    """Search for the words; the rows that are left."""
    await page.evaluate(
        f"search.value = {json.dumps(words)}; search.dispatchEvent(new Event('input')); "
        "new Promise((done) => setTimeout(done, 200))"
    )
    rows: list[int] = await page.evaluate(ROWS)
    return rows


async def test_it_opens_without_a_network_and_searches_filters_and_sorts(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers)) as page:
        assert await page.evaluate("document.querySelector('h1').innerText") == "Handed to Adaxes: 4 of 9"
        assert await page.evaluate(ROWS) == list(range(2, 11))
        assert await type_in(page, "ANNA") == [3]
        assert await type_in(page, "carla") == [8, 9]
        assert await type_in(page, "attempts_exhausted carla") == [9]
        assert await page.evaluate("matches.textContent") == "1 of 9 messages"
        assert await type_in(page, "nobody of this name") == []
        assert await type_in(page, "") == list(range(2, 11))
        choose = "state.value = {}; state.dispatchEvent(new Event('change'))"
        await page.evaluate(choose.format("'failed'"))
        assert await page.evaluate(ROWS) == [5, 9]
        await page.evaluate(choose.format("''"))
        assert await page.evaluate("matches.textContent") == "9 messages"
        await by_column(page)


async def by_column(page: Page) -> None:
    """A click on a heading sorts by it, the next turns it round; the headings say so."""
    click = "document.querySelectorAll('#all thead button')[{}].click()"
    sorted_by = "Array.from(document.querySelectorAll('#all thead th'), (cell) => cell.ariaSort)"
    await page.evaluate(click.format(0))
    assert await page.evaluate(ROWS) == list(range(10, 1, -1))
    assert (await page.evaluate(sorted_by))[0] == "descending"
    await page.evaluate(click.format(1))
    by_name: list[int] = await page.evaluate(ROWS)
    assert (await page.evaluate(sorted_by))[:2] == [None, "ascending"]
    assert [row for row in by_name if row in {3, 6, 9, 8, 2, 10, 4}] == [3, 6, 9, 8, 2, 10, 4]  # 9 before 10, É as E
    await page.evaluate(click.format(4))
    await page.evaluate(click.format(4))
    assert set((await page.evaluate(ROWS))[:2]) == {3, 8}
    await page.evaluate(click.format(5))
    assert (await page.evaluate(ROWS))[-1] == 10, "what has no value comes last"
    await page.evaluate(click.format(5))
    assert (await page.evaluate(ROWS))[-1] == 10, "whatever the direction"


async def test_it_is_worked_by_keys_and_shows_where_they_go(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers)) as page:
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await page.evaluate("search.focus()")
        for _ in range(2):  # over the choice of outcomes to the first heading
            await press(page, "Tab", 9)
        focused = "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        assert await page.evaluate(focused) == ["Row", "solid"]
        await press(page, "Enter", 13, text="\r")
        assert await page.evaluate(ROWS) == list(range(10, 1, -1))


async def press(page: Page, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)


async def test_no_other_script_can_run_in_it(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers)) as page:
        for smuggled in (
            "Object.assign(document.createElement('script'), {textContent: \"document.title = 'ran'\"})",
            "Object.assign(document.createElement('script'), {src: 'data:text/javascript,document.title=1'})",
            "Object.assign(document.createElement('style'), {textContent: 'body { display: none }'})",
            "Object.assign(document.createElement('img'), {src: 'https://example.com/x'})",
        ):
            await page.evaluate(f"document.body.append({smuggled}); new Promise((done) => setTimeout(done, 50))")
            assert "Content Security Policy" in page.errors.pop()
            assert not page.errors
        assert await page.evaluate("getComputedStyle(document.body).display") == "block"
        del page.requests[1:]  # what was smuggled in asked for them; they were refused


async def test_without_a_script_it_is_complete(ledgers: "LedgerFactory") -> None:
    file = await asyncio.to_thread(hostile_page, ledgers)
    assert PROGRAM is not None
    async with browser(PROGRAM) as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(file.as_uri())
        assert await page.evaluate(ROWS) == list(range(2, 11))
        visible = "Array.from(document.querySelectorAll('button')).some((button) => button.checkVisibility())"
        assert not await page.evaluate(visible)
        assert not await page.evaluate("tools.checkVisibility()")
        assert await page.evaluate("document.querySelectorAll('svg.chart').length") == 2


async def test_on_paper_all_rows_are_there_and_nothing_to_click(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers)) as page:
        assert await type_in(page, "anna") == [3]
        await page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = false; })")
        await page.call("Emulation.setEmulatedMedia", media="print")
        assert await page.evaluate(ROWS) == list(range(2, 11))
        for hidden in ("nav", "#tools", "summary"):
            assert not await page.evaluate(f"document.querySelector('{hidden}').checkVisibility()")
        height = "document.querySelector('details table').getBoundingClientRect().height"
        assert await page.evaluate(height) > 20, "a closed list is open on paper"
        assert (await page.print()).startswith(b"%PDF")


@pytest.mark.parametrize("width", [360, 390, 800, 1_280])
async def test_it_is_no_wider_than_the_window(ledgers: "LedgerFactory", width: int) -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers), width) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate("document.querySelector('#all thead button').checkVisibility()")


async def test_it_is_dark_where_the_reader_wants_it_dark(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers)) as page:
        colours = "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])"
        await page.prefer("light")
        light = await page.evaluate(colours)
        await page.prefer("dark")
        assert await page.evaluate(colours) != light
        assert await page.evaluate(f"{colours}.map((colour) => parseInt(colour.match(/[0-9]+/)[0]))") == [227, 19]


def axe_core() -> str:
    """The accessibility checker's script, without importing the package, which wants a driver of its own."""
    spec = importlib.util.find_spec("axe_core_python")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_280])
async def test_a_checker_finds_nothing_that_keeps_readers_out(
    ledgers: "LedgerFactory", width: int, scheme: str
) -> None:
    async with opened(await asyncio.to_thread(hostile_page, ledgers), width) as page:
        await page.prefer(scheme)
        await page.evaluate(f"{axe_core()}; null")
        found = await page.evaluate(
            "axe.run().then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 200)}`))"
        )
        assert found == []


async def test_the_first_screen_lists_whom_to_reach_by_other_means(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(contacts_page, ledgers)) as page:
        assert await page.evaluate("people.getBoundingClientRect().top < innerHeight / 2")
        rows = "Array.from(people.rows, (row) => Array.from(row.cells, (cell) => cell.innerText.trim()))"
        assert await page.evaluate(rows) == [
            ["Name", "Mobile phone", "E-Mail", "Row"],
            ["2 not sent: … has no number."],
            ["Zoë Ab", "+49 151 2", "z@example.com", "3"],
            ["Roe, Max", "", "", "5"],
            ["1 not sent: still queued"],
            ["Last One", "", "", "6"],
            ["1 may have it: the request left, and no answer came back"],
            ["Anna Bee", "+49 151 1", "", "2"],
        ]


async def test_the_list_is_copied_as_a_table_and_printed_alone(ledgers: "LedgerFactory") -> None:
    async with opened(await asyncio.to_thread(contacts_page, ledgers)) as page:
        await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copiedText = text; }")
        await page.evaluate("copy.click(); new Promise((done) => setTimeout(done, 50))")
        text: str = await page.evaluate("copiedText")
        assert "Zoë Ab\t+49 151 2\tz@example.com\t3" in text.split("\n")
        assert await page.evaluate("copied.textContent") == "Copied, with a tab between the columns."
        await page.evaluate("navigator.clipboard.writeText = async () => { throw new Error('denied'); }")
        await page.evaluate("copy.click(); new Promise((done) => setTimeout(done, 50))")
        assert "Zoë Ab" in await page.evaluate("getSelection().toString()")
        await page.evaluate("window.print = () => {}; document.getElementById('print').click()")
        await page.call("Emulation.setEmulatedMedia", media="print")
        assert await page.evaluate("people.checkVisibility()")
        assert not await page.evaluate("document.querySelector('main').checkVisibility()")
        assert not await page.evaluate("document.querySelector('.tools').checkVisibility()")
        await page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert await page.evaluate("document.querySelector('main').checkVisibility()")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Europe/Berlin", ["2026-10-25 02:30:00 +02:00", "2026-10-25 02:10:00 +01:00"]),
        ("America/New_York", ["2026-10-24 20:30:00 -04:00", "2026-10-24 21:10:00 -04:00"]),
        ("Asia/Kathmandu", ["2026-10-25 06:15:00 +05:45", "2026-10-25 06:55:00 +05:45"]),
    ],
)
async def test_times_are_local_with_their_offset_and_sort_as_they_happened(
    ledgers: "LedgerFactory", zone: "Callable[[str], None]", name: str, shown: list[str]
) -> None:
    zone(name)
    switch = datetime(2026, 10, 25, 1, 0, tzinfo=UTC).timestamp()
    ledger = ledgers.people(2)
    before = ledgers.course([[replace(ledgers.ACCEPTED, seconds=0.0)]], began_at=switch - 1_800)
    after = ledgers.course([[replace(ledgers.ACCEPTED, seconds=0.0)]], began_at=switch + 600)
    file = await asyncio.to_thread(lambda: write_page(ledgers.run(ledger, before, after)))
    assert PROGRAM is not None
    async with browser(PROGRAM) as page:
        await page.open(file.as_uri())
        times = "Array.from(document.querySelectorAll('#all tbody time'), (time) => time.textContent)"
        assert await page.evaluate(times) == shown
        click = "document.querySelectorAll('#all thead button')[5].click()"
        await page.evaluate(click)
        assert await page.evaluate(times) == shown
        await page.evaluate(click)
        assert await page.evaluate(times) == shown[::-1]
        text: str = await page.evaluate("document.body.innerText")
        assert f"{shown[0]} (2026-10-25 00:30:00 UTC)" in text
