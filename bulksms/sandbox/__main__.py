"""The simulator as a process of its own: `python -m bulksms.sandbox --port 0 --journal FILE`.

The first line on standard output is its URL; it ends on TERM and Ctrl-C.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from bulksms.errors import UsageError
from bulksms.sandbox.faults import FaultPlan
from bulksms.sandbox.server import serve


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bulksms.sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=_latency, default=0.0, metavar="SECONDS|LOW-HIGH")
    parser.add_argument("--faults", type=_faults, default=None, metavar="preset|FILE")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the latencies, and of the recipients that meet faults"
    )
    parser.add_argument("--token", default="sandbox")
    parser.add_argument("--journal", type=Path, default=None, metavar="FILE")
    return parser.parse_args()


def _latency(text: str) -> float | tuple[float, float]:
    low, dash, high = text.partition("-")
    return (float(low), float(high)) if dash else float(low)


def _faults(text: str) -> FaultPlan:
    try:
        return FaultPlan.from_option(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error} {error.hint}") from error


async def _run(arguments: argparse.Namespace) -> None:
    task = asyncio.current_task()
    if sys.platform != "win32" and task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await serve(
        ready=lambda url: print(url, flush=True),  # noqa: T201 - the promised first line
        faults=arguments.faults,
        latency=arguments.latency,
        token=arguments.token,
        seed=arguments.seed,
        port=arguments.port,
        journal_file=arguments.journal,
    )


def main() -> None:
    """Run until a signal ends it."""
    arguments = _arguments()
    try:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_run(arguments))
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
