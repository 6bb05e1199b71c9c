"""The command line: the commands, and the rooms below them that they are made of.

Invariants: stdout is data, stderr is talk. A mistake of the user is one sentence and a hint, never a traceback. A
command's code is imported when it is asked for, so that `--help` and `status` start at once.
"""

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from bulksms import __version__
from bulksms.cli.ui.console import info, print_error, say
from bulksms.cli.ui.process import (
    TerminationError,
    end_on_signals,
    failure_of,
    ignore_signals,
    is_missed,
    prepare_streams,
    restored_signals,
)
from bulksms.errors import BulksmsError, LedgerError, UsageError
from bulksms.ledger import damage_error, ledger_at
from bulksms.report.summary import ExitCode, error_exit

COMMANDS: Mapping[str, str] = {
    "new": "Write a commented mailing file: a prepared alert.",
    "send": "Read, check, ask, send, and write the ledger.",
    "plan": "Read and check, and keep the ledger without sending.",
    "approve": "Let a plan of another account be sent.",
    "resume": "Continue what an earlier run left.",
    "work": "Work on a started run from one more machine.",
    "retry": "Send again what failed or expired, after a question.",
    "resolve": "Settle by hand what is unknown.",
    "status": "Show the state of a ledger, also beside a living run.",
    "stop": "Let a living run drain, from another shell.",
    "pause": "Let all machines of a run begin nothing new.",
    "cancel": "Stop it and withdraw what is queued: for the wrong text.",
    "report": "List each message: table, CSV, JSONL or HTML.",
    "history": "List the ledgers of a folder or a database.",
    "check": "Reach the server, TLS, token and path without sending.",
    "verify": "Check a ledger's integrity and invariants.",
    "purge": "Remove names and texts for good, and keep the counts.",
    "export": "Write a ledger in a database to a file, as a copy.",
    "import": "Move a ledger from a file into a database.",
    "config": "Show each setting and where it came from.",
    "completion": "Print what lets a shell complete the commands and options.",
    "sandbox": "Run the simulator on loopback.",
}
"""Each command and what it does, in the order of the help."""

PRINTING = frozenset({"status", "report", "history", "check", "verify", "config", "completion"})
"""The commands that do nothing but print: without their output they have done nothing."""


class Commands(click.Group):
    """The commands, imported one by one when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of a message's life."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with its declared options; what it does is imported when it is invoked."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        from bulksms.cli.options.commands import KINDS  # noqa: PLC0415 - the list of commands starts without them
        from bulksms.cli.options.declaration import OptionsCommand  # noqa: PLC0415

        return OptionsCommand(cmd_name, KINDS[cmd_name], KINDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest command in the sentence."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - needed after a mistake only

            near = get_close_matches(args[0], COMMANDS, 1)
            meant = f"Did you mean `bulksms {near[0]}`?" if near else "`bulksms --help` lists the commands."
            raise UsageError(f"There is no command {args[0]!r}.", hint=meant)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """As click does, but nothing that the system says of a file reaches click, which would end with code 1.

        Raises LedgerError for such an error, UsageError if what a command printed is lost and printing was all it did.
        """
        try:
            result = super().invoke(ctx)
        except OSError as error:
            raise _system_error(error) from error
        failure = failure_of(sys.stdout)
        if failure is not None and is_missed(failure):
            sentence = f"Standard output cannot be written to: {failure.strerror}."
            if ctx.invoked_subcommand in PRINTING:
                raise UsageError(sentence, hint="Send it to another place, such as a file on a disk with space.")
            say(f"warning: {sentence}")
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: bulksms send samples/outage.csv --sandbox --yes",
)
@click.version_option(__version__, prog_name="bulksms")
def commands() -> None:
    """Send SMS to many people through the Adaxes REST API, and know afterwards who has it.

    Every attempt is on disk before its request can leave; the ledger tells the truth after any crash.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line as a process of its own, and exit with the code of the contract."""
    prepare_streams()
    end_on_signals()
    try:
        code = _run(arguments)
    except KeyboardInterrupt:  # between two of our own steps
        code = ExitCode.INTERRUPTED
    ignore_signals()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line in a process that goes on afterwards; the exit code."""
    with restored_signals():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        try:
            code = commands.main(args=arguments, prog_name="bulksms", standalone_mode=False)
        finally:
            ignore_signals()
    except BulksmsError as error:
        print_error(error)
        return error_exit(error)
    except click.ClickException as error:
        _say_usage(error)
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        say("Stopped before anything was sent.")
        is_termination = TerminationError in (type(error), type(error.__cause__))
        return ExitCode.TERMINATED if is_termination else ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a fault of ours is reported in a sentence, too
        if (damaged := _damaged_ledger(sys.argv[1:] if arguments is None else arguments)) is not None:
            print_error(damaged)
            return ExitCode.LEDGER
        return _report_internal_error(error)
    return int(code or 0)


def _damaged_ledger(arguments: Sequence[str]) -> LedgerError | None:
    """What is wrong with a ledger among the arguments: what it says may be such that no command can deal with it."""
    for path in map(Path, arguments):
        with suppress(OSError, ValueError):
            try:
                if not path.is_file() or not ledger_at(path).is_ledger():
                    continue
                violated = next((name for name, problem in ledger_at(path).verify() if problem), None)
            except LedgerError as error:
                return error
            if violated is not None:
                return damage_error(path, f"not true of it: {violated}")
    return None


def _system_error(error: OSError) -> LedgerError:
    """The system's words about a file that no room has reported itself."""
    name = f"The file {error.filename}" if isinstance(error.filename, str) else "A file"
    return LedgerError(
        f"{name} cannot be used: {error.strerror or type(error).__name__}.",
        hint="Look at the disk and at the folder's rights; `bulksms status LEDGER` shows what was sent.",
    )


def _say_usage(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        info(error.format_message())
        return
    say(f"error: {_sentence(error)}")
    say(f"hint: {_usage_hint(error)}")


def _sentence(error: click.ClickException) -> str:
    text = (error.message if isinstance(error, click.NoSuchOption) else error.format_message()).strip()
    return text if text.endswith(".") else f"{text}."


def _usage_hint(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return f"Did you mean {error.possibilities[0]}?"
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else "bulksms"
    return f"`{path} --help` shows what it takes."


def _report_internal_error(error: Exception) -> ExitCode:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(where.filename)}:{where.lineno}"  # noqa: PTH119 - a name in a message
    say(f"error: internal error: {type(error).__name__} in {place}: {error}.")
    say("hint: The ledger is intact, see `bulksms status`. Report this with what BULKSMS_TRACEBACK=1 shows.")
    if os.environ.get("BULKSMS_TRACEBACK"):
        traceback.print_exception(error)
    return ExitCode.INTERNAL_ERROR
