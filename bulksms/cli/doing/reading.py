"""Reading: from the options of the command line to a draft of the plan."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bulksms.cli import say
from bulksms.cli.doing.looking_up import LOOK_UP_OPTIONS, LookUpChoice
from bulksms.cli.screen.preview import show_mistakes, show_warnings
from bulksms.cli.screen.reading_bar import Reading, look_up_bar, no_bar, no_look_up_bar, reading_bar
from bulksms.cli.settings.setting import on_command_line
from bulksms.directory import GroupMembers
from bulksms.errors import InputRefused, UsageError
from bulksms.follow_up import ToldPeople, open_earlier
from bulksms.intake import BadRow, Input, InputOptions, open_input, write_rejects
from bulksms.ledger.draft import Draft
from bulksms.ledger.people import People
from bulksms.ledger.reader import LedgerReader
from bulksms.library import plans
from bulksms.library.plans import NotSendable, PlanOptions
from bulksms.planning import FIRST_EXAMPLES, Preview, Source

STANDARD_INPUT = "-"
Origin = Input | ToldPeople | GroupMembers
"""Whatever rows can come from."""
Bar = Callable[[int | None], AbstractContextManager[Reading]]


@dataclass(frozen=True, slots=True)
class InputChoice:
    """What to read, and how: the input's part of a command line.

    `source` is None for the people of `told_in` and for the members of groups. `look_up` is what the directory is
    asked about them.
    """

    source: str | None
    options: InputOptions
    plan: PlanOptions
    rejects: Path | None = None
    told_in: tuple[Path, ...] = ()
    look_up: LookUpChoice | None = None

    @classmethod
    def of(cls, source: str | None, values: dict[str, Any]) -> Self:
        """Take the values of `input_options` together. Raises UsageError if they contradict each other."""
        text, text_file = values["text"], values["text_file"]
        if text is not None and text_file is not None:
            raise UsageError("Both --text and --text-file are given.", hint="Choose one of them.")
        _require_one_source(source, values)
        one_text = text is not None or text_file is not None
        options = InputOptions(
            format=values["format"],
            encoding=values["encoding"],
            delimiter=values["delimiter"],
            sheet=values["sheet"],
            recipient_column=values["recipient_column"],
            # A column that a file of settings names is not asked for where one text for all was given.
            text_column=None if one_text and not on_command_line("text_column") else values["text_column"],
            text=_read_text(text_file) if text_file is not None else text,
            no_template=values["no_template"],
            max_segments=values["max_segments"],
            gsm7_replace=values["gsm7"] == "replace",
            match=values["match"],
        )
        show = FIRST_EXAMPLES if values["show"] is None else values["show"]
        plan = PlanOptions(values["skip_bad"], values["suppress"], values["not_told_in"], show)
        return cls(source, options, plan, values["rejects"], values["told_in"], LookUpChoice.of(values))

    @property
    def name(self) -> str:
        """What the ledger and the messages call the input."""
        return "standard input" if self.source == STANDARD_INPUT else str(self.source)

    @property
    def file(self) -> Path | None:
        """The input's file, if it is one."""
        return None if self.source in (None, STANDARD_INPUT) else Path(str(self.source))


def _require_one_source(source: str | None, values: dict[str, Any]) -> None:
    if not values["told_in"] and not values["group"]:
        if source is None:
            raise UsageError(
                "There is no input.", hint="Name a file, - for standard input, a --told-in LEDGER or a --group."
            )
        if source == STANDARD_INPUT and values["format"] is None:
            raise UsageError("Standard input has no name to tell its format by.", hint="Add --format csv or jsonl.")
        return
    if values["told_in"] and values["group"]:
        raise UsageError("Both --told-in and --group are given.", hint="Choose one; --not-told-in leaves people out.")
    option, what = ("--told-in", "A follow-up") if values["told_in"] else ("--group", "A message to a group")
    if source is not None:
        hint = f"{option} takes the place of an input file; --not-told-in leaves people out of one."
        raise UsageError(f"Both {source} and {option} are given.", hint=hint)
    for name in ("format", "encoding", "delimiter", "sheet", "recipient_column", "text_column"):
        if on_command_line(name):
            about = f"--{name.replace('_', '-')} is about an input file, and {option} takes its place."
            raise UsageError(about, hint="Leave it out.")
    if values["text"] is None and values["text_file"] is None:
        columns = "the ledger's column" if values["told_in"] else "that property of each member"
        raise UsageError(
            f"{what} needs a text of its own.",
            hint=f"Add --text or --text-file; ((column)) takes the value of {columns}.",
        )


def require_no_input_options() -> None:
    """Raises UsageError if an option says how to read an input, where a ledger has been named."""
    names = ("format", "encoding", "delimiter", "sheet", "recipient_column", "text_column", "text", "text_file")
    more = ("no_template", "skip_bad", "rejects", "suppress", "not_told_in", "told_in", "max_segments", "gsm7")
    for name in (*names, *more, *LOOK_UP_OPTIONS):
        if on_command_line(name):
            raise UsageError(
                f"--{name.replace('_', '-')} is about an input, and a ledger's messages are planned already.",
                hint="Leave it out to send the ledger as it was planned, or name the input file with --new.",
            )


def read_into(draft: Draft, choice: InputChoice, bar: Bar, refused: Callable[[Preview], None] | None = None) -> Preview:
    """Read the whole input into the draft.

    Raises InputRefused if it cannot be read, or has a bad row that is not to be skipped, or nobody to send to; of the
    latter two `refused` is told before.
    """
    choice.plan.require_readable()
    with ExitStack() as stack:
        told_in = [stack.enter_context(open_earlier(path)) for path in choice.told_in]
        people = stack.enter_context(People())
        source = _open(stack, choice, told_in, people)
        looked_up, progress = _looked_up(stack, choice, source, people, bar)
        reject = _rejecting(stack, choice, source)
        try:
            return plans.read_into(draft, looked_up, choice.plan, people, reject=reject, progress=progress)
        except NotSendable as error:
            problem = error
    if problem.preview.bad:
        show_mistakes(problem.preview, say)
        show_warnings(problem.preview, say)
    if refused is not None:
        refused(problem.preview)
    raise InputRefused(str(problem), hint=_hint(problem, choice))


def _hint(problem: NotSendable, choice: InputChoice) -> str | None:
    """What to do about it, in this program's options."""
    if not problem.preview.bad or choice.plan.skip_bad:
        return problem.hint
    if choice.rejects is not None:
        return f"All of them are in {choice.rejects}. Mend them, or send the others with --skip-bad."
    return "Mend them, or send the others with --skip-bad; --rejects FILE writes the bad ones out."


def _open(stack: ExitStack, choice: InputChoice, told_in: list[LedgerReader], people: People) -> Origin:
    """Whatever the rows come from."""
    if told_in:
        return ToldPeople(told_in, choice.options)
    if choice.look_up is not None and choice.look_up.groups:
        return stack.enter_context(choice.look_up.members(choice.options, people))
    opened = sys.stdin.buffer if choice.file is None else choice.file
    return stack.enter_context(open_input(opened, choice.options, name=choice.name))


def _looked_up(
    stack: ExitStack, choice: InputChoice, source: Origin, people: People, bar: Bar
) -> tuple[Source, Callable[[int], None]]:
    """The source with its people looked up, if that is asked for; and whom to tell of the rows that were read."""
    if choice.look_up is None or isinstance(source, GroupMembers):
        reading = stack.enter_context(bar(_length(source, choice)))
        return source, lambda rows: reading(rows, source.position if isinstance(source, Input) else rows)
    told = stack.enter_context(no_look_up_bar() if bar is no_bar else look_up_bar())
    return stack.enter_context(choice.look_up.looked_up(source, people, told)), lambda _: None


def _rejecting(stack: ExitStack, choice: InputChoice, source: Origin) -> Callable[[BadRow], None] | None:
    if choice.rejects is None:
        return None
    delimiter = source.delimiter if isinstance(source, Input) else None
    for kept in (*choice.plan.suppress, *choice.told_in, *choice.plan.not_told_in):
        if choice.rejects.exists() and kept.samefile(choice.rejects):
            raise UsageError(f"{kept} is needed itself.", hint="Choose another file for --rejects.")
    rejects = write_rejects(choice.rejects, source.columns, delimiter=delimiter, source=choice.file)
    return stack.enter_context(rejects).write


def _length(source: Origin, choice: InputChoice) -> int | None:
    """How far there is to read: bytes of a file, people of a ledger; None if that cannot be told."""
    if isinstance(source, ToldPeople):
        return source.total
    if isinstance(source, GroupMembers):
        return len(source)
    if choice.file is None or not source.position:
        return None
    return choice.file.stat().st_size


def _read_text(file: Path) -> str:
    """The text for all; one line end at its end is the editor's, not the message's."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"The text file {file} cannot be read: {error.strerror}.", hint="Look at its name.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The text file {file} is not UTF-8.", hint="Save it as UTF-8.") from error
    return text.removesuffix("\n").removesuffix("\r")


def ledger_for(choice: InputChoice, named: Path | None) -> Path:
    """The ledger of an input: `people.ledger.db` in the working directory. Raises UsageError if it has no name."""
    return named if named is not None else Path(f"{_stem(choice)}.ledger.db")


def new_ledger_for(choice: InputChoice, named: Path | None) -> Path:
    """A ledger that is not there yet: `people.<UTC time>.ledger.db`, unless a free name was given."""
    if named is not None:
        return named
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Path(f"{_stem(choice)}.{moment}.ledger.db")


def rehearsal_ledger_for(choice: InputChoice, named: Path | None) -> Path:
    """The ledger of a rehearsal, which is made anew each time."""
    return named if named is not None else Path(f"{_stem(choice)}.sandbox.db")


def _stem(choice: InputChoice) -> str:
    if choice.file is None:
        what = "Standard input" if choice.source is not None else "A follow-up" if choice.told_in else "A group"
        raise UsageError(f"{what} has no name for the ledger.", hint="Add --ledger FILE.")
    return choice.file.stem


def reading_shown(*, quiet: bool = False) -> Bar:
    """Tell a person at a terminal how far the reading is; nobody else wants to know."""
    return no_bar if quiet or not sys.stderr.isatty() else reading_bar
