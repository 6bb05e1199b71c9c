"""Send two files at once, and count the outcomes for a metrics server with a hook."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import bulksms


class Metrics:
    """Counters in the text format of Prometheus."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.latency = 0.0

    def observe(self, outcome: bulksms.Outcome) -> None:
        """The hook. The event loop calls it with every outcome, so it must be quick and must not block."""
        self.messages[outcome.state] += 1
        self.latency += outcome.latency_ms / 1000

    def expose(self) -> str:
        """What a scrape of the metrics gets."""
        lines = [f'sms_messages_total{{state="{state}"}} {count}' for state, count in sorted(self.messages.items())]
        return "\n".join([*lines, f"sms_latency_seconds_sum {self.latency:.3f}"])


async def send(source: Path, endpoint: bulksms.Endpoint, metrics: Metrics) -> bulksms.Summary:
    """Plan and send one file."""
    ledger = source.with_suffix(".ledger.db")
    with bulksms.open_input(source) as people:
        await asyncio.to_thread(bulksms.plan, people, ledger)
    async with bulksms.open_run(ledger, endpoint, hooks=bulksms.Hooks(on_settled=metrics.observe)) as run:
        await run.work()
    return run.summary


async def main() -> None:
    """Any number of runs, each on its own ledger, fit in one event loop."""
    endpoint = bulksms.Endpoint.at(os.environ["BULKSMS_URL"], bulksms.AccessToken(os.environ["BULKSMS_TOKEN"]))
    metrics = Metrics()
    files = [Path("north.csv"), Path("south.csv")]
    for summary in await asyncio.gather(*(send(file, endpoint, metrics) for file in files)):
        print(summary.ledger, summary.equation(), f"exit code {int(summary.exit_code)}")
    print(metrics.expose())


asyncio.run(main())
