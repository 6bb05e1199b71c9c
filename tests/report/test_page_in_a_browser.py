"""The page in a real browser, with the network off: nothing is asked for, nothing complains, nothing hostile runs."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.browser import Page, browser, found
from bulksms.ledger.reader import LedgerReader
from bulksms.report.files import write_privately
from bulksms.report.page import Wanted, as_page

if TYPE_CHECKING:
    from tests.report.conftest import Bookkeeper

PROGRAM = found()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: apt-get install chromium")

HOSTILE = "<script>document.title='ran'</script><img src=https://example.com/x onerror=\"document.title='ran'\">\u202e"
ROWS = """Array.from(document.querySelectorAll("#all tbody tr")).filter((row) => row.checkVisibility())
    .map((row) => Number(row.cells[0].textContent))"""


def hostile_page(bookkeeper: "Bookkeeper") -> Path:
    """Nine messages: each kind of outcome, and names and texts that would like to run."""
    names = ("Émile", "anna", "Zoë", HOSTILE, "Bogdan", "עברית", "Carla 10", "Carla 9", "last")
    rows = [
        bookkeeper.person(number, f"CN={name},DC=example,DC=com", f"{name} {HOSTILE}", note=HOSTILE)
        for number, name in enumerate(names, 1)
    ]
    answers = [
        [bookkeeper.ACCEPTED],
        [bookkeeper.AGAIN, bookkeeper.ACCEPTED],
        [bookkeeper.LOST],
        [bookkeeper.refused(HOSTILE, HOSTILE)],
        [bookkeeper.AWAITING],
        [bookkeeper.accepted(HOSTILE)],
        [bookkeeper.DOUBTFUL, bookkeeper.ACCEPTED],
        [bookkeeper.GAVE_UP],
    ]
    ledger = bookkeeper.plan(rows, columns=["note"], source=HOSTILE)
    settings = {"account": HOSTILE, "workers": 3}
    bookkeeper.run(ledger, bookkeeper.course(answers, "interrupted", settings, user=HOSTILE))
    return write_page(ledger)


def write_page(ledger: Path) -> Path:
    page = ledger.with_suffix(".html")
    with LedgerReader(ledger) as reader, reader.one_moment():
        write_privately(page, as_page(reader, Wanted(reader.lines, False, datetime.now(UTC), shlex.quote)))
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
        assert not page.complaints
        assert await page.evaluate("document.title") == "people.ledger.db: 4 of 9 handed to Adaxes"


async def type_in(page: Page, words: str) -> list[int]:
    """Search for the words; the rows that are left."""
    await page.evaluate(
        f"search.value = {json.dumps(words)}; search.dispatchEvent(new Event('input')); "
        "new Promise((done) => setTimeout(done, 200))"
    )
    rows: list[int] = await page.evaluate(ROWS)
    return rows


async def test_it_opens_without_a_network_and_searches_filters_and_sorts(bookkeeper: "Bookkeeper") -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper)) as page:
        assert await page.evaluate("document.querySelector('h1').innerText") == "Handed to Adaxes: 4 of 9"
        assert await page.evaluate(ROWS) == list(range(2, 11))
        assert await type_in(page, "ANNA") == [3]
        assert await type_in(page, "carla") == [8, 9]
        assert await type_in(page, "gave_up carla") == [9]
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


async def test_it_is_worked_by_keys_and_shows_where_they_go(bookkeeper: "Bookkeeper") -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper)) as page:
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


async def test_no_other_script_can_run_in_it(bookkeeper: "Bookkeeper") -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper)) as page:
        for smuggled in (
            "Object.assign(document.createElement('script'), {textContent: \"document.title = 'ran'\"})",
            "Object.assign(document.createElement('script'), {src: 'data:text/javascript,document.title=1'})",
            "Object.assign(document.createElement('style'), {textContent: 'body { display: none }'})",
            "Object.assign(document.createElement('img'), {src: 'https://example.com/x'})",
        ):
            await page.evaluate(f"document.body.append({smuggled}); new Promise((done) => setTimeout(done, 50))")
            assert "Content Security Policy" in page.complaints.pop()
            assert not page.complaints
        assert await page.evaluate("getComputedStyle(document.body).display") == "block"
        del page.requests[1:]  # what was smuggled in asked for them; they were refused


async def test_without_a_script_it_is_complete(bookkeeper: "Bookkeeper") -> None:
    file = await asyncio.to_thread(hostile_page, bookkeeper)
    assert PROGRAM is not None
    async with browser(PROGRAM) as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(file.as_uri())
        assert await page.evaluate(ROWS) == list(range(2, 11))
        assert await page.evaluate("document.querySelectorAll('button').length") == 0
        assert not await page.evaluate("tools.checkVisibility()")
        assert await page.evaluate("document.querySelectorAll('svg.chart').length") == 2


async def test_on_paper_all_rows_are_there_and_nothing_to_click(bookkeeper: "Bookkeeper") -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper)) as page:
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
async def test_it_is_no_wider_than_the_window(bookkeeper: "Bookkeeper", width: int) -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper), width) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        assert await page.evaluate("document.querySelector('#all thead button').checkVisibility()")


async def test_it_is_dark_where_the_reader_wants_it_dark(bookkeeper: "Bookkeeper") -> None:
    async with opened(await asyncio.to_thread(hostile_page, bookkeeper)) as page:
        colours = "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])"
        await page.prefer("light")
        light = await page.evaluate(colours)
        await page.prefer("dark")
        assert await page.evaluate(colours) != light
        assert await page.evaluate(f"{colours}.map((colour) => parseInt(colour.match(/[0-9]+/)[0]))") == [227, 19]
