"""Resume every unfinished ledger of a folder, and list the messages that need a person."""

import asyncio
import os
from pathlib import Path

import bulksms

ATTENTION = {bulksms.State.UNKNOWN, bulksms.State.FAILED, bulksms.State.EXPIRED}


async def resume(ledger: Path, endpoint: bulksms.Endpoint) -> None:
    """Send what is left of a ledger; the settings of its last run hold."""
    try:
        async with bulksms.open_run(ledger, endpoint, confirmed_by="the nightly resume") as run:
            await run.work()
    except bulksms.LedgerLockedError:
        print(f"{ledger}: another run is working on it")
    except bulksms.BulksmsError as error:
        print(f"{ledger}: {error} {error.hint or ''}")


def report(ledger: Path) -> None:
    """Print the counts, and each message that needs a person."""
    print(f"{ledger}: {bulksms.status(ledger).equation()}")
    with bulksms.open_ledger(ledger) as reader:
        for message in reader.messages():
            if message.state in ATTENTION or message.possible_duplicate:
                twice = ", possibly sent twice" if message.possible_duplicate else ""
                print(f"  row {message.row}: {message.recipient} is {message.state} ({message.reason}){twice}")


async def main() -> None:
    """One ledger after the other."""
    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], bulksms.AccessToken(os.environ["BULKSMS_TOKEN"]))
    for ledger in sorted(Path.cwd().glob("*.ledger.db")):
        if bulksms.status(ledger).counts[bulksms.State.QUEUED]:
            await resume(ledger.relative_to(Path.cwd()), endpoint)
        report(ledger.relative_to(Path.cwd()))


asyncio.run(main())
