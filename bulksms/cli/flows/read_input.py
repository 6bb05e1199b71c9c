"""Read input: from the options of the command line to a draft of the plan."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bulksms.api import plans
from bulksms.api.plans import NotSendableError, PlanOptions
from bulksms.cli.flows.lookups import LookUpChoice
from bulksms.cli.options.groups import InputOptions as InputFlags
from bulksms.cli.options.groups import LookupOptions
from bulksms.cli.ui.console import info, require_replaceable, say
from bulksms.cli.ui.live_display import Reading, look_up_bar, no_bar, no_look_up_bar, reading_bar
from bulksms.cli.ui.preview import show_mistakes, show_warnings
from bulksms.directory import Audience
from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, Finding, Input, InputOptions, open_input, write_rejects
from bulksms.input.decoding import read_text
from bulksms.ledger import Draft, LedgerName, LedgerReader, LedgerUrl
from bulksms.planning.follow_up import IdentityMap, PossibleRecipients, open_earlier
from bulksms.planning.plan import Preview, Source, count_of

STANDARD_INPUT = "-"
Origin = Input | PossibleRecipients | Audience
"""Whatever rows can come from."""
Bar = Callable[[int | None], AbstractContextManager[Reading]]


@dataclass(frozen=True, slots=True)
class InputChoice:
    """What to read, and how: the input's part of a command line.

    `source` is None for the people of `sent_in` and for the members of groups. `look_up` is what the directory is
    asked about them.
    """

    source: str | None
    options: InputOptions
    plan: PlanOptions
    rejects: Path | None = None
    force: bool = False
    """Whether the file of `rejects` may be replaced."""
    sent_in: tuple[LedgerName, ...] = ()
    look_up: LookUpChoice | None = None
    ledger_stem: str | None = None
    """How the name of the ledger begins, where that is not the input's name."""

    @classmethod
    def of(cls, source: str | None, flags: InputFlags, lookup: LookupOptions, look_up: LookUpChoice | None) -> Self:
        """What these options say of the input. Raises UsageError if they contradict each other."""
        if flags.text is not None and flags.text_file is not None:
            raise UsageError("Both --text and --text-file are given.", hint="Choose one of them.")
        _require_one_source(source, flags, lookup)
        one_text = flags.text is not None or flags.text_file is not None
        text, text_findings = (flags.text, ()) if flags.text_file is None else _read_text(flags.text_file)
        options = InputOptions(
            format=flags.format,
            encoding=flags.encoding,
            delimiter=flags.delimiter,
            sheet=flags.sheet,
            include_hidden_rows=flags.include_hidden_rows,
            recipient_column=flags.recipient_column,
            # A column that a settings file names is not asked for where one text for all was given.
            text_column=None if one_text and not flags.on_command_line("text_column") else flags.text_column,
            text=text,
            text_findings=text_findings,
            values=dict(flags.set),
            no_template=flags.no_template,
            max_segments=flags.max_segments,
            gsm7_replace=flags.gsm7 == "replace",
            piped=source == STANDARD_INPUT,
            match=lookup.match,
            country=lookup.country,
        )
        plan = PlanOptions(flags.skip_invalid, flags.suppress, flags.not_sent_in, flags.show)
        return cls(source, options, plan, flags.rejects, flags.force, flags.sent_in, look_up)

    @property
    def name(self) -> str:
        """What the ledger and the messages call the input; bytes of a name that are no text are shown as escapes."""
        if self.source == STANDARD_INPUT:
            return "standard input"
        return os.fsencode(str(self.source)).decode(errors="backslashreplace")

    @property
    def file(self) -> Path | None:
        """The input's file, if it is one."""
        return None if self.source in (None, STANDARD_INPUT) else Path(str(self.source))


def _require_one_source(source: str | None, flags: InputFlags, lookup: LookupOptions) -> None:
    audience = next((f"--{name}" for name in ("group", "ou", "search") if getattr(lookup, name)), None)
    if not flags.sent_in and audience is None:
        if source is None:
            raise UsageError(
                "There is no input.",
                hint="Name a file, - for standard input, a --sent-in LEDGER, a --group, an --ou or a --search.",
            )
        if source == STANDARD_INPUT and flags.format is None:
            raise UsageError("Standard input has no name to tell its format by.", hint="Add --format csv or jsonl.")
        return
    if flags.sent_in and audience is not None:
        hint = "Choose one; --not-sent-in leaves people out."
        raise UsageError(f"Both --sent-in and {audience} are given.", hint=hint)
    option, what = (audience, "A message to a group") if audience is not None else ("--sent-in", "A follow-up")
    if source is not None:
        hint = f"{option} takes the place of an input file; --not-sent-in leaves people out of one."
        raise UsageError(f"Both {source} and {option} are given.", hint=hint)
    for name in ("format", "encoding", "delimiter", "sheet", "include_hidden_rows", "recipient_column", "text_column"):
        if flags.on_command_line(name):
            about = f"--{name.replace('_', '-')} is about an input file, and {option} takes its place."
            raise UsageError(about, hint="Leave it out.")
    if flags.text is None and flags.text_file is None:
        columns = "the ledger's column" if flags.sent_in else "that property of each member"
        raise UsageError(
            f"{what} needs a text of its own.",
            hint=f"Add --text or --text-file; ((column)) takes the value of {columns}.",
        )


def require_no_input_options(*groups: InputFlags | LookupOptions) -> None:
    """Raises UsageError if an option says how to read an input, where a ledger has been named."""
    for options in groups:
        for name in options.FIELDS:
            # How many messages the preview shows is of use there, too.
            if name != "show" and options.on_command_line(name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is about an input, and a ledger's messages are planned already.",
                    hint="Leave it out to send the ledger as it was planned, or name the input file with --new and "
                    "--not-sent-in LEDGER.",
                )


def show_why_refused(preview: Preview) -> None:
    """What is wrong with an input, for a person."""
    if preview.bad:
        show_mistakes(preview, info)
        show_warnings(preview, info)


def read_into(
    draft: Draft, choice: InputChoice, bar: Bar, refused: Callable[[Preview], None] = show_why_refused
) -> Preview:
    """Read the whole input into the draft.

    Raises InputError if it cannot be read, or has a bad row that is not to be skipped, or nobody to send to; of the
    latter two `refused` is called first.
    """
    choice.plan.require_readable()
    with ExitStack() as stack:
        sent_in = [stack.enter_context(open_earlier(path)) for path in choice.sent_in]
        people = stack.enter_context(IdentityMap())
        source = _open(stack, choice, sent_in, people)
        looked_up, progress = _looked_up(stack, choice, source, people, bar)
        reject = _rejecting(stack, choice, source)
        excluded = [] if choice.look_up is None else choice.look_up.excluded()
        try:
            preview = plans.read_into(
                draft, looked_up, choice.plan, people, reject=reject, progress=progress, excluded=excluded
            )
        except NotSendableError as error:
            problem = error
        else:
            _report_rejects(choice, preview)
            return preview
    _report_rejects(choice, problem.preview)
    refused(problem.preview)
    raise InputError(str(problem), hint=_hint(problem, choice))


def _report_rejects(choice: InputChoice, preview: Preview) -> None:
    if choice.rejects is not None:
        say(f"Written: {count_of(preview.bad, 'bad row')} to {choice.rejects}.")


def _hint(problem: NotSendableError, choice: InputChoice) -> str | None:
    """What to do about it, in this program's options."""
    if not problem.preview.bad or choice.plan.skip_invalid:
        return problem.hint
    if choice.rejects is not None:
        return f"All of them are in {choice.rejects}. Fix them, or send the others with --skip-invalid."
    return "Fix them, or send the others with --skip-invalid; --rejects FILE writes the bad ones out."


def _open(stack: ExitStack, choice: InputChoice, sent_in: list[LedgerReader], people: IdentityMap) -> Origin:
    """Whatever the rows come from."""
    if sent_in:
        return PossibleRecipients(sent_in, choice.options)
    if choice.look_up is not None and choice.look_up.parts:
        return stack.enter_context(choice.look_up.audience(choice.options, people))
    opened = sys.stdin.buffer if choice.file is None else choice.file
    return stack.enter_context(open_input(opened, choice.options, name=choice.name))


def _looked_up(
    stack: ExitStack, choice: InputChoice, source: Origin, people: IdentityMap, bar: Bar
) -> tuple[Source, Callable[[int], None]]:
    """The source with its people looked up, if that is asked for; and whom to tell of the rows that were read."""
    if choice.look_up is None or not choice.look_up.asks_about_rows or isinstance(source, Audience):
        reading = stack.enter_context(bar(_length(source, choice)))
        return source, lambda rows: reading(rows, source.position if isinstance(source, Input) else rows)
    progress = stack.enter_context(no_look_up_bar() if bar is no_bar else look_up_bar())
    return stack.enter_context(choice.look_up.looked_up(source, people, progress)), lambda _: None


def _rejecting(stack: ExitStack, choice: InputChoice, source: Origin) -> Callable[[BadRow], None] | None:
    if choice.rejects is None:
        return None
    delimiter = source.delimiter if isinstance(source, Input) else None
    for kept in (*choice.plan.suppress, *choice.sent_in, *choice.plan.not_sent_in):
        if isinstance(kept, Path) and choice.rejects.exists() and kept.samefile(choice.rejects):
            raise UsageError(f"{kept} is needed itself.", hint="Choose another file for --rejects.")
    require_replaceable(choice.rejects, force=choice.force)
    rejects = write_rejects(choice.rejects, source.columns, delimiter=delimiter, source=choice.file)
    return stack.enter_context(rejects).write


def _length(source: Origin, choice: InputChoice) -> int | None:
    """How far there is to read: bytes of a file, people of a ledger; None if unknown."""
    if isinstance(source, PossibleRecipients):
        return source.total
    if isinstance(source, Audience):
        return len(source)
    if choice.file is None or not source.position:
        return None
    return choice.file.stat().st_size


def _read_text(file: Path) -> tuple[str, tuple[Finding, ...]]:
    """The text for all in a file. Raises UsageError: the file is an option's, and not the input."""
    try:
        return read_text(file)
    except InputError as error:
        raise UsageError(str(error), hint=error.hint) from error


def ledger_for(choice: InputChoice, named: LedgerName | None) -> LedgerName:
    """The ledger of an input: `people.ledger.db` in the working directory. Raises UsageError if it has no name."""
    return named if named is not None else Path(f"{_stem(choice)}.ledger.db")


def new_ledger_for(choice: InputChoice, named: LedgerName | None) -> LedgerName:
    """A ledger that is not there yet: `people.<UTC time>.ledger.db`, unless a free name was given."""
    if named is not None:
        return named
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Path(f"{_stem(choice)}.{moment}.ledger.db")


def rehearsal_ledger_for(choice: InputChoice, named: LedgerName | None) -> Path:
    """The ledger of a rehearsal, which is made anew each time. Raises UsageError for one in a database."""
    if isinstance(named, LedgerUrl):
        raise UsageError("A rehearsal keeps its ledger in a file.", hint="Leave --ledger out, or name a file with it.")
    return named if named is not None else Path(f"{_stem(choice)}.sandbox.db")


def _stem(choice: InputChoice) -> str:
    if choice.ledger_stem is not None:
        return choice.ledger_stem
    if choice.file is None:
        what = "Standard input" if choice.source is not None else "A follow-up" if choice.sent_in else "A group"
        raise UsageError(f"{what} has no name for the ledger.", hint="Add --ledger FILE.")
    return choice.file.stem


def reading_shown(*, quiet: bool = False) -> Bar:
    """Tell a person at a terminal how far the reading is; nobody else wants to know."""
    return no_bar if quiet or not sys.stderr.isatty() else reading_bar
