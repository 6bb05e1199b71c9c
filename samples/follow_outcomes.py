"""Send messages of the program's own, and follow what becomes of each; stop at the third that failed."""

import asyncio
import os
from pathlib import Path

import bulksms

STAFF = [
    {"recipient": f"CN=Person {number},OU=Staff,DC=example,DC=com", "floor": str(number % 7)} for number in range(40)
]


async def main() -> None:
    """Send, and look."""
    ledger = Path("alarm.ledger.db")
    people = bulksms.InMemoryRows(STAFF, bulksms.InputOptions(text="Fire drill: leave floor ((floor)) now."))
    await asyncio.to_thread(bulksms.plan, people, ledger)

    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], bulksms.AccessToken(os.environ["BULKSMS_TOKEN"]))
    settings = bulksms.RunSettings(workers=8, max_attempts=3, delivery=bulksms.DeliveryMode.AT_MOST_ONCE)
    failed = 0
    async with bulksms.open_run(ledger, endpoint, settings, confirmed_by="the fire alarm") as run:
        async for outcome in run.outcomes():
            if outcome.state is not bulksms.State.ACCEPTED:
                print(f"row {outcome.row} is {outcome.state}: {outcome.error}")
                failed += 1
            if failed == 3:
                break  # the run is drained: answers in flight are awaited, the rest stays queued

    print(run.summary.equation(), "-", run.stopped or "all done")


asyncio.run(main())
