"""Two runs in one event loop, a hook, and a report of those who need attention."""

import asyncio
import os
from pathlib import Path

import bulksms

ATTENTION = {bulksms.State.UNKNOWN, bulksms.State.FAILED}


def note(outcome: bulksms.Outcome) -> None:
    """Called in the event loop with each message that was settled: be quick."""
    if outcome.may_have_sent_twice:
        print(f"{outcome.recipient} may have got it twice")


async def send(source: Path, endpoint: bulksms.Endpoint) -> bulksms.Summary:
    """Send one file."""
    ledger = source.with_suffix(".ledger.db")
    with bulksms.open_input(source) as people:
        await asyncio.to_thread(bulksms.plan, people, ledger)
    async with bulksms.open_run(ledger, endpoint, hooks=bulksms.Hooks(on_settled=note)) as run:
        await run.work()
    return run.summary


async def main() -> None:
    """Send both, then tell of whom nobody may forget."""
    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], bulksms.AccessToken(os.environ["BULKSMS_TOKEN"]))
    sent = await asyncio.gather(send(Path("north.csv"), endpoint), send(Path("south.csv"), endpoint))
    for summary in sent:
        print(summary.ledger, summary.equation(), f"exit code {int(summary.exit_code)}")
        with bulksms.LedgerReader(summary.ledger) as reader:
            for line in reader.lines():
                if line.state in ATTENTION:
                    print(line.row, line.recipient, line.state, line.reason)


asyncio.run(main())
