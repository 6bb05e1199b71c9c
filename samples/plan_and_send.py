"""Plan a file into a ledger, look at it, send it. The same program again goes on with what is left."""

import asyncio
import os
from pathlib import Path

import bulksms


def plan(source: Path, ledger: Path) -> None:
    """Everything is read and checked before anything can be sent."""
    options = bulksms.InputOptions(text="((name|Hello)), the lift is out of order until 18:00.")
    with bulksms.open_input(source, options) as people:
        preview = bulksms.plan(people, ledger, bulksms.PlanOptions(skip_invalid=True))
    print(f"{preview.to_send} of {preview.rows} rows, {preview.segments} SMS segments")


async def send(ledger: Path) -> None:
    """Leaving the block drains the run, whatever happens in it; the ledger says what is known of each message."""
    token = bulksms.AccessToken(os.environ["BULKSMS_TOKEN"])
    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], token)
    async with bulksms.open_run(ledger, endpoint) as run:
        await run.work()
    print(run.summary.equation())


if __name__ == "__main__":
    ledger = Path("people.ledger.db")
    if not ledger.exists():
        plan(Path("people.csv"), ledger)
    asyncio.run(send(ledger))
