"""The simulator of an Adaxes server: `bulksms sandbox` serves it until Ctrl-C, `send --sandbox` rehearses with it.

It may have a throw-away database beside it. A rehearsal sends for real to a simulator in this process, and compares its
log with the ledger.
"""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import click

from bulksms import AccessToken, Endpoint
from bulksms.api.plans import save_plan
from bulksms.cli.flows.read_input import InputChoice, read_into, reading_shown, rehearsal_ledger_for
from bulksms.cli.flows.run import RunRequest, run_ledger, run_loop
from bulksms.cli.options.commands import SandboxOptions, SendOptions
from bulksms.cli.ui.console import info, say
from bulksms.cli.ui.preview import show_preview
from bulksms.cli.ui.prompts import require_limits
from bulksms.cli.ui.result import RunResult
from bulksms.errors import UsageError
from bulksms.ledger import MessageRecord, ledger_at, new_draft, open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings
from bulksms.report.summary import ExitCode
from bulksms.sandbox import FaultPlan, Journal, Sandbox, compare, serve

DATABASE = "sandbox"
"""The name of the throw-away database."""


def run_sandbox(options: SandboxOptions) -> None:
    """Serve until Ctrl-C."""
    plan = FaultPlan.from_option(options.faults)
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        database: Mapping[str, str] = {}
        if options.postgresql:
            from bulksms.sandbox.postgresql import PostgresqlServer  # noqa: PLC0415 - for this option only

            server = stack.enter_context(PostgresqlServer())
            server.create_database(DATABASE)
            database = server.environment

        def ready(url: str) -> None:
            click.echo(url)
            say("The simulator listens; Ctrl-C ends it. To send to it from another shell:")
            _print_settings({"BULKSMS_URL": url, "BULKSMS_TOKEN": "sandbox", **database})
            if database:
                say(f"A ledger for several machines is then called postgresql:///{DATABASE}?ledger=NAME.")

        try:
            asyncio.run(
                serve(
                    ready=ready,
                    faults=plan,
                    latency=options.latency,
                    seed=options.seed,
                    port=options.port,
                    journal_file=options.journal,
                )
            )
        except OSError as error:
            raise UsageError(
                f"The simulator cannot start: {error.strerror or error}.",
                hint="Choose another --port (0 takes a free one), and a --journal in a folder that can be written to.",
            ) from error


def _print_settings(variables: Mapping[str, str]) -> None:
    for variable, value in variables.items():
        info(f"  $env:{variable} = '{value}'" if sys.platform == "win32" else f"  export {variable}={value}")


TOKEN = "sandbox"  # noqa: S105 - no secret: it opens nothing


def rehearse(choice: InputChoice, settings: RunSettings, options: SendOptions) -> RunResult:
    """Plan into a ledger made anew, send it to the sandbox, and compare what was received with what the ledger says.

    The run is the real one; URL and token are the sandbox's. A difference between the two is an internal error.
    """
    path = rehearsal_ledger_for(choice, options.ledger)
    ledger_at(path).remove()
    with new_draft(path) as draft:
        preview = read_into(draft, choice, reading_shown(quiet=options.output.quiet))
        if not options.output.quiet:
            show_preview(preview, info, settings, "the sandbox")
        require_limits(
            preview.to_send, preview.fingerprint, max_recipients=options.max_recipients, expect=options.expect
        )
        save_plan(draft, preview)
    result, journal = run_loop(_run_on_sandbox(path, settings, quiet=options.output.quiet))
    return _compared(path, result, journal)


async def _run_on_sandbox(path: Path, settings: RunSettings, *, quiet: bool) -> tuple[RunResult, Journal]:
    async with Sandbox(faults=FaultPlan.preset(), token=TOKEN, keep_entries=False) as sandbox:
        endpoint = Endpoint.at(sandbox.url, AccessToken(TOKEN))
        request = RunRequest(path, endpoint, replace(settings, hours=None), "rehearsal", quiet, {"sandbox": True})
        return await run_ledger(request), sandbox.journal


def _compared(path: Path, result: RunResult, journal: Journal) -> RunResult:
    with open_ledger(path) as reader:
        comparison = compare(
            journal,
            ((it.recipient, _judged_state(it), it.possible_duplicate, it.text) for it in reader.messages()),
        )
    return replace(
        result,
        rehearsal=comparison.line(),
        exit_code=result.exit_code if comparison.agrees else ExitCode.INTERNAL_ERROR,
    )


def _judged_state(message: MessageRecord) -> State:
    """What is queued again, as after a 500, may have been received: a rehearsal that was stopped then is no error."""
    return State.UNKNOWN if message.state is State.QUEUED and message.attempts else message.state
