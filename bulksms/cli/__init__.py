"""The command line: one file a command; what the commands are made of stands in the rooms below them.

Laws: stdout is data, stderr is talk. A mistake of the user is one sentence and a hint, never a traceback. A command's
code is imported when it is asked for, so that `--help` and `status` start at once.
"""

import importlib
import io
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

from bulksms.errors import BulksmsError, InputRefused, LedgerTrouble, PlanRefused, ServerTrouble, UsageError
from bulksms.report.summary import Exit
from bulksms.version import VERSION

COMMANDS: Mapping[str, str] = {
    "send": "Read, check, ask, send, and write the ledger.",
    "plan": "Read and check, and keep the ledger without sending.",
    "resume": "Continue what an earlier run left.",
    "retry": "Send again what failed or expired, after a question.",
    "resolve": "Settle by hand what is unknown.",
    "status": "Say how a ledger stands, also beside a living run.",
    "stop": "Let a living run drain, from another shell.",
    "cancel": "Stop it and withdraw what is queued: for the wrong text.",
    "report": "Tell of each message: table, CSV, JSONL or HTML.",
    "history": "List the ledgers of a folder.",
    "check": "Reach the server, TLS, token and path without sending.",
    "verify": "Check a ledger's integrity and the laws that can be seen in it.",
    "purge": "Remove names and texts for good, and keep the counts.",
    "config": "Show each setting and where it came from.",
    "completion": "Print what lets a shell complete the commands and options.",
    "sandbox": "Run the stand-in server on loopback.",
}
"""Each command and what it does, in the order of the help."""

EXITS: Mapping[type[BulksmsError], Exit] = {
    UsageError: Exit.USAGE,
    InputRefused: Exit.REFUSED,
    PlanRefused: Exit.REFUSED,
    LedgerTrouble: Exit.LEDGER,
    ServerTrouble: Exit.STOPPED,
}


class Commands(click.Group):
    """The commands, imported one by one when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of a message's life."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's own file."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"bulksms.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

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
        """As click does, but a reader of our output that goes away is no failure (click makes it exit code 1)."""
        from bulksms.cli.screen.console import unbroken_pipe  # noqa: PLC0415 - the help starts without it

        with unbroken_pipe():
            return super().invoke(ctx)

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
@click.version_option(VERSION, prog_name="bulksms")
def commands() -> None:
    """Send SMS to many people through the Adaxes REST API, and know afterwards who was told.

    Every attempt is on disk before its request can leave; the ledger tells the truth after any crash.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code of the contract."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console or pipe that cannot show a character gets its code; that is no reason to fail after a run.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        code = commands.main(args=arguments, prog_name="bulksms", standalone_mode=False)
    except BulksmsError as error:
        tell(error)
        return next(code for kind, code in EXITS.items() if isinstance(error, kind))
    except click.ClickException as error:
        _say_usage(error)
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("Stopped before anything was sent.")
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a defect is told as one, in a sentence
        return _defect(error)
    return int(code or 0)


def say(text: str) -> None:
    """Talk to the person: one line on stderr. A terminal that was closed is no reason to stop."""
    with suppress(OSError):
        # Named, because click's own stderr goes past a display that is being drawn there.
        click.echo(text, file=sys.stderr)


def tell(error: BulksmsError) -> None:
    """What went wrong, in a sentence, and what to do about it."""
    _say_fitted(f"error: {error}")
    if error.hint:
        _say_fitted(f"hint: {error.hint}")


def _say_fitted(text: str) -> None:
    from bulksms.cli.screen.console import fitted  # noqa: PLC0415 - the help starts without it

    with suppress(ValueError):  # stderr may be closed
        say(fitted(text, sys.stderr))


def _say_usage(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message())
        return
    _say_fitted(f"error: {_sentence(error)}")
    _say_fitted(f"hint: {_usage_hint(error)}")


def _sentence(error: click.ClickException) -> str:
    text = (error.message if isinstance(error, click.NoSuchOption) else error.format_message()).strip()
    return text if text.endswith(".") else f"{text}."


def _usage_hint(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return f"Did you mean {error.possibilities[0]}?"
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else "bulksms"
    return f"`{path} --help` shows what it takes."


def _defect(error: Exception) -> Exit:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(where.filename)}:{where.lineno}"  # noqa: PTH119 - a name in a message
    say(f"error: This is a defect of bulksms: {type(error).__name__} in {place}: {error}.")
    say("hint: The ledger is as true as ever, see `bulksms status`. BULKSMS_TRACEBACK=1 shows where it happened.")
    if os.environ.get("BULKSMS_TRACEBACK"):
        traceback.print_exception(error)
    return Exit.DEFECT
