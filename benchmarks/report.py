"""The page of a report: how long it takes to make, how large it is, and whether a browser stays quick with it.

`python -m benchmarks.report --messages 2000 20000 50000` writes ledgers as large runs leave them, makes the page of
each with `bulksms report --format html` in a process of its own, and opens it in Chromium without a window. It prints
the seconds and the most memory that making it takes, the page's megabytes, and the milliseconds that one waits in the
browser: until the page is there, for each of a few searches, and for a sort (median of the rounds). Without Chromium
on this machine only the first part.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.browser import Page, browser, found
from bulksms.ledger.draft import Draft, DraftRow

TEXT = "{name}, outage since 02:40: the VPN gateway at {site} is down. Please join https://bridge.example.com/{site}"
NAMES = "Anna Bogdan Carla Deepak Elif Farah Giulia Hannah Ines Jörg Katrin Liam Mateo Nadia Ömer Priya".split()  # noqa: SIM905 - words
BEGAN = 1_763_951_700.0
SECOND_RUN = 90.0
"""Seconds between the end of the first run and the start of the second."""


def write_ledger(path: Path, messages: int, seed: int = 4711) -> Path:
    """A ledger of so many messages as two runs leave it: most accepted, and some of everything else."""
    with Draft(path) as draft:
        draft.add(_planned(number) for number in range(1, messages + 1))
        draft.index()
        summary = json.dumps({"rows": messages, "to_send": messages, "bad_rows": 0, "segments": messages})
        fingerprint = draft.fingerprint()
        draft.keep(source="people.csv", columns=["name", "site"], fingerprint=fingerprint, summary=summary, version="0")
    with closing(sqlite3.connect(path)) as connection:
        attempts = "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)"
        connection.executemany(attempts, _attempts(messages, random.Random(seed)))
        connection.executemany(_SETTLE, map(_settled, _last(_attempts(messages, random.Random(seed)))))
        connection.execute("UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = name)")
        connection.execute("UPDATE plan SET url = 'https://adaxes.example.com/restApi'")
        connection.executemany(_RUN, [_run(connection, number) for number in (1, 2)])
        connection.commit()
    return path


_SETTLE = """
UPDATE message SET attempts = ?, state = ?, reason = ?, http_status = ?, error_code = ?, error = ?,
    first_attempt_at = ?, finished_at = ?, latency_ms = ? WHERE number = ?
"""
_RUN = """
INSERT INTO run VALUES (?, ?, ?, 'https://adaxes.example.com/restApi', '0.1.0', 'anna', 'ops-1', 4711, ?, ?, ?, ?, ?)
"""
_OUTCOMES: dict[str, tuple[Any, ...]] = {
    "succeeded": ("accepted", None, 200, None, None),
    "suspended": ("awaiting_approval", None, 200, None, None),
    "refused": ("failed", "refused", 404, "notFound", "The directory object was not found."),
    "lost": ("unknown", "lost_answer", None, "disconnected", "ServerDisconnectedError"),
    "not_processed": ("failed", "gave_up", 503, None, "The Adaxes service is not available."),
}


def _planned(number: int) -> DraftRow:
    name, site = NAMES[number % len(NAMES)], f"FRA{number % 9}"
    recipient = f"CN={name} Nr {number},OU=Operations,OU=Frankfurt,DC=example,DC=com"
    columns = json.dumps({"name": name, "site": site}, ensure_ascii=False)
    return DraftRow(number + 1, recipient, recipient.lower(), TEXT.format(name=name, site=site), columns, "GSM-7", 1)


def _attempts(messages: int, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    """The lines of evidence: of each message a few tries in a row, the last of which decides."""
    speed = max(messages / 180.0, 8.0)
    for number in range(1, messages + 1):
        part = number / messages
        run = 1 if part < 0.62 else 2
        at = BEGAN + number / speed + chance.random() + (SECOND_RUN if run == 2 else 0.0)
        is_bad_time = 0.3 < part < 0.36
        for attempt in range(1, 6):
            seconds = chance.lognormvariate(-0.9, 0.55) * (3.0 if is_bad_time else 1.0)
            evidence = _proved(chance.random(), is_bad_time=is_bad_time)
            status, error = _OUTCOMES[evidence][2], _OUTCOMES[evidence][4]
            yield number, attempt, run, at, at + seconds, status, evidence, error, seconds * 1_000
            if evidence != "not_processed":
                break
            at += seconds + chance.random() * 2.0**attempt


def _proved(chance: float, *, is_bad_time: bool) -> str:
    if is_bad_time and chance > 0.4:
        return "not_processed"
    borders = {0.975: "succeeded", 0.98: "suspended", 0.99: "refused", 0.993: "lost", 1.0: "not_processed"}
    return next(evidence for border, evidence in borders.items() if chance <= border)


def _last(attempts: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for _, tries in groupby(attempts, key=itemgetter(0)):
        yield list(tries)[-1]


def _settled(row: tuple[Any, ...]) -> tuple[Any, ...]:
    number, attempt, _, began_at, ended_at, _, evidence, _, milliseconds = row
    return attempt, *_OUTCOMES[evidence], began_at, ended_at, milliseconds, number


def _run(connection: sqlite3.Connection, number: int) -> tuple[Any, ...]:
    first, last, settled = connection.execute(
        "SELECT MIN(began_at), MAX(ended_at), COUNT(DISTINCT message) FROM attempt WHERE run = ?", (number,)
    ).fetchone()
    times = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (first, last))
    settings = json.dumps({"workers": 32, "account": "bulk@example.com"})
    stopped, confirmed_by = ("interrupted", "at the terminal") if number == 1 else (None, "resume")
    return number, *times, settings, confirmed_by, stopped, last - first, settled


def make(ledger: Path, page: Path) -> tuple[float, float]:
    """Seconds that the command takes, and the most megabytes that its process ever held."""
    began = time.perf_counter()
    command = [sys.executable, "-c", _MAKE, "report", str(ledger), "--format", "html", "-o", str(page)]
    told = subprocess.check_output(command, text=True)
    # Kilobytes, but bytes on macOS (getrusage(2)).
    return time.perf_counter() - began, int(told) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


_MAKE = """
import resource, sys
from bulksms.cli import run
assert run(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_AFTER_NEXT_PAINT = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
_SEARCH = """(async () => {
    const box = document.getElementById("search");
    const began = performance.now();
    box.value = WORDS;
    box.dispatchEvent(new Event("input"));
    await new Promise((done) => setTimeout(done, 121));
    await PAINT;
    return performance.now() - began - 121;
})()"""
_SORT = """(async () => {
    const began = performance.now();
    document.querySelectorAll("#all thead button")[COLUMN].click();
    await PAINT;
    return performance.now() - began;
})()"""
SEARCHES = ("anna", "anna fra1", "nobody at all", "")


async def use(page: Page, address: str) -> dict[str, float]:
    """Open it and do what one does; milliseconds of each."""
    began = time.perf_counter()
    await page.open(address)
    await page.evaluate(_AFTER_NEXT_PAINT)
    took = {"open": (time.perf_counter() - began) * 1_000}
    for words in SEARCHES:
        search = _SEARCH.replace("WORDS", json.dumps(words)).replace("PAINT", _AFTER_NEXT_PAINT)
        took[f"search {words!r}"] = await page.evaluate(search)
    for column, name in ((1, "recipient"), (6, "took")):
        sort = _SORT.replace("COLUMN", str(column)).replace("PAINT", _AFTER_NEXT_PAINT)
        took[f"sort by {name}"] = await page.evaluate(sort)
    return took


async def rounds_of(program: str, address: str, rounds: int) -> dict[str, float]:
    """The median of the rounds, each in a browser of its own."""
    results = []
    for _ in range(rounds):
        async with browser(program) as page:
            await page.resize(1280)
            results.append(await use(page, address))
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def main() -> None:
    """Run the rounds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[2_000, 20_000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="leave ledgers and pages in this folder")
    options = parser.parse_args()
    program = found()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {program or 'no Chromium'}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for messages in sorted(options.messages):
            ledger, page = folder / f"{messages}.ledger.db", folder / f"{messages}.html"
            write_ledger(ledger, messages)
            seconds, megabytes = make(ledger, page)
            print(f"{messages:,} messages: made in {seconds:.1f} s with {megabytes:,.0f} MB; ", end="")
            print(f"{page.stat().st_size / 1e6:.1f} MB", flush=True)
            if program is not None:
                took = asyncio.run(rounds_of(program, page.absolute().as_uri(), options.rounds))
                print("    " + ", ".join(f"{name} {milliseconds:,.0f} ms" for name, milliseconds in took.items()))


if __name__ == "__main__":
    main()
