"""Rehearsal: `send --sandbox` sends for real to a stand-in server in this process, and compares the books."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bulksms import AccessToken, Endpoint
from bulksms.cli import say
from bulksms.cli.doing import loop
from bulksms.cli.doing.awake import kept_awake
from bulksms.cli.doing.reading import InputChoice, read_into, reading_shown, rehearsal_ledger_for
from bulksms.cli.doing.running import RunRequest, run_ledger
from bulksms.cli.screen.asking import require_limits
from bulksms.cli.screen.preview import show_preview
from bulksms.cli.screen.result import RunResult
from bulksms.config import RunSettings
from bulksms.ledger.draft import Draft
from bulksms.ledger.file import remove
from bulksms.ledger.reader import LedgerReader
from bulksms.library.plans import keep
from bulksms.report.summary import Exit
from bulksms.sandbox import FaultPlan, Journal, Sandbox, compare

TOKEN = "sandbox"  # noqa: S105 - no secret: it opens nothing


def rehearse(choice: InputChoice, settings: RunSettings, values: dict[str, Any]) -> RunResult:
    """Plan into a ledger made anew, send it to the sandbox, and compare what was received with what the ledger says.

    The run is the real one; URL and token are the sandbox's. Books that differ are a defect of ours.
    """
    path = rehearsal_ledger_for(choice, values["ledger"])
    remove(path)
    with Draft(path) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=values["quiet"]))
        if not values["quiet"]:
            show_preview(preview, say, settings, "the sandbox")
        require_limits(
            preview.to_send, preview.fingerprint, max_recipients=values["max_recipients"], expect=values["expect"]
        )
        keep(draft, preview)
    with kept_awake():
        result, journal = loop.run(_run(path, settings, quiet=values["quiet"]))
    return _compared(path, result, journal)


async def _run(path: Path, settings: RunSettings, *, quiet: bool) -> tuple[RunResult, Journal]:
    async with Sandbox(faults=FaultPlan.preset(), token=TOKEN, keep_entries=False) as sandbox:
        endpoint = Endpoint.at(sandbox.url, AccessToken(TOKEN))
        request = RunRequest(path, endpoint, settings, "rehearsal", quiet, {"sandbox": True})
        return await run_ledger(request), sandbox.journal


def _compared(path: Path, result: RunResult, journal: Journal) -> RunResult:
    with LedgerReader(path) as reader:
        comparison = compare(
            journal,
            ((line.recipient, line.state, line.may_have_sent_twice, line.text) for line in reader.lines()),
        )
    return replace(
        result, rehearsal=comparison.line(), exit_code=result.exit_code if comparison.agrees else Exit.DEFECT
    )
