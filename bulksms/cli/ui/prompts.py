"""Prompts: nobody is sent anything without a person's word, given at the terminal or with `--yes`."""

import asyncio
import select
import sys
import threading

import click

from bulksms.cli.ui.console import fitted, info, on_terminal, say
from bulksms.cli.ui.live_display import REDRAW_EVERY
from bulksms.cli.ui.process import heard_keyboard
from bulksms.errors import PlanError, UsageError

TYPED_ABOVE = 1_000
"""Above so many recipients the number itself must be typed, and without a terminal `--yes` alone is not enough."""
DRAWING_PAUSED = 2 * REDRAW_EVERY
"""Seconds before a question beside a run: the drawing has paused by then, and the question is below it."""
LOOK_EVERY = 0.1
"""Seconds between two looks whether somebody typed a line, or nobody waits for it any more."""
TYPED_TRIES = 3
"""Wrong numbers after which it is taken for a no."""


def require_limits(to_send: int, fingerprint: str, *, max_recipients: int | None, expect: str | None) -> None:
    """Hold the plan against what the operator expected. Raises PlanError."""
    if max_recipients is not None and to_send > max_recipients:
        raise PlanError(
            f"The plan has {to_send:,} recipients; --max-recipients allows {max_recipients:,}. Nothing was sent.",
            hint="Look at the input, or raise --max-recipients.",
        )
    if expect is not None and expect.lower() != fingerprint:
        raise PlanError(
            f"The plan's fingerprint is {fingerprint}, not the expected one. Nothing was sent.",
            hint="The input or the text has changed since that preview; look at it again with --dry-run.",
        )


async def confirm_after_canary() -> bool:
    """The first few were accepted: ask whether they look right on the telephones."""
    return await _confirm_while_running("The canary was accepted. Go on with all the others?")


async def confirm_after_test() -> bool:
    """The server took the test message: ask whether it arrived."""
    return await _confirm_while_running("The test message was accepted. Did it arrive?")


async def _confirm_while_running(question: str) -> bool:
    """Ask beside a run, which may be stopped meanwhile: a cancelled question waits for no answer."""
    await asyncio.sleep(DRAWING_PAUSED)
    over = threading.Event()
    try:
        return await asyncio.to_thread(_answer_to, question, over)
    finally:
        over.set()


def _answer_to(question: str, over: threading.Event) -> bool:
    """Yes or no, as `click.confirm` takes it; no at the end of the input, and when it is over."""
    with heard_keyboard():
        return _read_answer(question, over)


def _read_answer(question: str, over: threading.Event) -> bool:
    while True:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        while not _is_ready():
            if over.is_set():
                info("")
                return False
        typed = sys.stdin.readline()
        if (word := typed.strip().lower()) in ("y", "yes"):
            return True
        if word in ("n", "no", ""):
            return False
        say("error: Type y or n.")


if sys.platform == "win32":
    import msvcrt
    import time

    def _is_ready() -> bool:
        """Whether a key was pressed; waits a moment for it."""
        time.sleep(LOOK_EVERY)
        return msvcrt.kbhit()

else:

    def _is_ready() -> bool:
        """Whether a line can be read; waits a moment for it."""
        return bool(select.select([sys.stdin], [], [], LOOK_EVERY)[0])


def confirm(to_send: int, url: str, *, yes: bool, limited: bool, twice: int = 0) -> str:
    """Ask before anything is sent; who confirmed, in words for the ledger.

    `limited` says that --max-recipients or --expect was given, `twice` how many may get it a second time. Raises
    UsageError where nobody can be asked and nothing confirms, click.Abort if the person says no.
    """
    if yes:
        if to_send > TYPED_ABOVE and not limited and not on_terminal():
            raise UsageError(
                f"--yes alone is not enough for {to_send:,} recipients without a terminal.",
                hint=f"Add --max-recipients {to_send}, or --expect with the fingerprint of a preview.",
            )
        return "--yes"
    if not on_terminal():
        raise UsageError("There is no terminal to ask at.", hint="Add --yes to send without a question.")
    again = f", {twice:,} of them perhaps a second time" if twice else ""
    question = fitted(f"Send {to_send:,} {'message' if to_send == 1 else 'messages'} to {url}{again}?", sys.stderr)
    if not (_is_typed(to_send, question) if to_send > TYPED_ABOVE else click.confirm(question, err=True)):
        raise click.Abort
    return "at the terminal"


def _is_typed(number: int, question: str) -> bool:
    """Whether the number itself is typed, with or without separators; a slip may be fixed, a no is a no."""
    click.echo(question, err=True)
    for _ in range(TYPED_TRIES):
        typed = click.prompt(f"Type {number:,} to send, or Enter to stop", err=True, default="", show_default=False)
        plain = "".join(character for character in typed if character not in " ,.'_\u00a0\u202f")
        if plain == str(number):
            return True
        if plain.casefold() in ("", "n", "no", "q", "quit"):
            return False
        click.echo(f"{typed.strip()!r} is not {number:,}.", err=True)
    return False
