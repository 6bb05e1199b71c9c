"""A machine as a process of its own, so that it can be killed: `machine.py LEDGER SERVER start|join [SETTING=VALUE …]`.

It prints one line when it begins to work and one JSON object at the end. `hesitate` is how many seconds it waits
between an intent and its request.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

import bulksms
from bulksms.engine.worker import AdmissionQueue
from bulksms.ledger import ledger_name
from bulksms.model.run_settings import RunSettings, Timings
from bulksms.policy.admission import Permit

QUICK = Timings(backoff_base=0.05, backoff_cap=0.2, attempt_spacing=0.0, first_poll=0.05, longest_poll_pause=0.2)


def hesitate(seconds: float) -> None:
    """Wait so long between each intent and its request."""
    recheck = AdmissionQueue.recheck

    async def late(queue: AdmissionQueue, permit: Permit, waited: float = 0.0) -> Permit:
        await asyncio.sleep(seconds)
        return await recheck(queue, permit, waited)

    AdmissionQueue.recheck = late  # type: ignore[method-assign, assignment]  # a method in its place


async def work(ledger: str, server: str, how: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run, and tell how it ended."""
    hesitate(given.pop("hesitate", 0.0))
    endpoint = bulksms.Endpoint.at(server, bulksms.AccessToken("sandbox"))
    settings = RunSettings().changed({"workers": 8, "timeout": 10.0, **given})
    name = ledger_name(ledger)
    async with bulksms.open_run(name, endpoint, settings, joins=how == "join", timings=QUICK) as run:
        print("works", flush=True)  # noqa: T201 - the harness waits for it
        await run.work()
    summary = run.summary
    return {
        "run": summary.run,
        "stopped": summary.stopped,
        "exit_code": int(summary.exit_code),
        "done": run.pool.counters.done,
    }


def main() -> int:
    """The exit code of the run; 3 if it was refused."""
    ledger, server, how, *given = sys.argv[1:]
    values = {name: json.loads(value) for name, _, value in (each.partition("=") for each in given)}
    try:
        result = asyncio.run(work(ledger, server, how, values))
    except bulksms.BulksmsError as error:
        result = {"exit_code": 6 if isinstance(error, bulksms.LedgerError) else 3, "error": str(error)}
    print(json.dumps(result), flush=True)  # noqa: T201 - as above
    return int(result["exit_code"])


if __name__ == "__main__":
    sys.exit(main())
