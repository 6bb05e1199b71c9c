"""The mailing file: audience, text and safety of a prepared alert, reviewed by day and sent by night.

Its keys are the options of `send`. The file is written out as the words of a command line, so that each value is
parsed, checked and reported as if it had been typed; what is really typed comes after it and wins.

Invariant: a file never says that something is to be done now (`yes`, `new`), nor with whose credentials.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulksms.cli.options.declaration import DeclaredOption, Options, options_of
from bulksms.cli.options.settings_file import checked, read
from bulksms.errors import LedgerError, UsageError
from bulksms.ledger import Draft, LedgerReader, open_ledger
from bulksms.model.recipient import BadRecipient, parse_recipient
from bulksms.report.text import cut, local, printable

if TYPE_CHECKING:
    from bulksms.input import InputOptions


SUFFIX = ".toml"
INPUT = "input"
VALUES = "values"
EACH_TIME = frozenset({"yes", "new", "dry-run", "sandbox", "expect", "set", "config", "at", "mailing"})
"""Given with each call, so that a file alone never sends anything."""
CREDENTIALS = frozenset(
    {"token-file", "token-command", "password-file", "username", "ca-file", "proxy", "insecure-http"}
)
"""What belongs to the machine that sends, and not to an alert."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """A mailing file: its name, the words of a command line for `send`, and the files that it names."""

    file: Path
    words: tuple[str, ...]
    values: Mapping[str, str]
    files: tuple[Path, ...]


def is_mailing(source: object) -> bool:
    """Whether an argument names a mailing file."""
    return isinstance(source, str) and source.lower().endswith(SUFFIX)


def read_mailing(file: Path, kind: type[Options]) -> Mailing:
    """Read a mailing file for a command with these options.

    Raises UsageError if it cannot be read, or has a key that is no option of a mailing, or a value of the wrong kind.
    """
    table = dict(read(file))
    values = _values(table.pop(VALUES, {}), file)
    source = table.pop(INPUT, None)
    if source is not None and not isinstance(source, str):
        raise UsageError(f"{file}: {INPUT} must be the name of a file.", hint='Such as: input = "staff.csv"')
    known = {each.key: each for each in options_of({"send": kind}) if each.key not in EACH_TIME | CREDENTIALS}
    for key in table:
        _require_known(key, known, file)
    found = checked(table, known, (), file)
    options = {option.name or "": option for option in known.values()}
    words = [word for name, value in found.items() for word in _words(options[name], value)]
    words += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    inputs = [] if source is None else [str(file.parent / source)]
    named = [str(path) for name, value in found.items() for path in _paths(options[name], value)]
    return Mailing(file, (*inputs, *words), values, (*map(Path, [*inputs, *named]),))


def expanded(kind: type[Options], parsed: Mapping[str, Any], words: list[str]) -> list[str]:
    """The words of `send`, with those of a mailing file in the place of its name. Raises UsageError."""
    source = parsed.get("source")
    if not is_mailing(source):
        return words
    mailing = read_mailing(Path(str(source)), kind)
    words.remove(str(source))
    written = list(mailing.words)
    # Both are the same limit, so the one that is typed takes the place of the file's.
    if "--deadline" in written and any(word.partition("=")[0] == "--latest" for word in words):
        place = written.index("--deadline")
        del written[place : place + 2]
    return [*written, "--mailing", str(source), *words]


def _values(table: object, file: Path) -> dict[str, str]:
    """The `[values]` of a mailing: texts and numbers by name."""
    if not isinstance(table, dict) or not all(isinstance(value, str | int | float) for value in table.values()):
        raise UsageError(
            f"{file}: [{VALUES}] must hold texts, one by name.", hint='Such as: [values] and below it: until = "18:00"'
        )
    return {str(name): str(value) for name, value in table.items()}


def _require_known(key: str, known: Mapping[str, DeclaredOption], file: Path) -> None:
    name = key.replace("_", "-")
    if name in known:
        return
    if name in EACH_TIME:
        raise UsageError(
            f"{file}: {key} is not for a mailing file.", hint=f"Give --{name} on the command line, each time."
        )
    if name in CREDENTIALS:
        raise UsageError(
            f"{file}: {key} is about the machine that sends, not about the alert.",
            hint=f"Put {name} into bulksms.toml, or give --{name}.",
        )
    near = get_close_matches(name, [*known, INPUT, VALUES], 1)
    raise UsageError(
        f"{file}: there is no option {key}.",
        hint=f"Did you mean {near[0]}?" if near else "`bulksms send --help` lists the options.",
    )


def _words(option: DeclaredOption, value: Any) -> Sequence[str]:  # noqa: ANN401 - of any option
    if option.is_flag:
        return [f"--{option.key}"] if value else []
    each = value if isinstance(value, list) else [value]
    return [word for one in each for word in (f"--{option.key}", str(one))]


def _paths(option: DeclaredOption, value: Any) -> Sequence[object]:  # noqa: ANN401 - of any option
    if not isinstance(option.type, click.Path):
        return ()
    return value if isinstance(value, list) else [value]


TEMPLATE = """\
# A mailing: reviewed by day, sent by night with `bulksms send {name}`.
# Every option of `bulksms send --help` can be here; what you type on the command line wins.
# `bulksms check {name}` says what would happen now, and sends nothing.

# --- To whom: a file beside this one, or a group. ---
input = "staff.csv"
# recipient-column = "guid"
# group = ["CN=On call,OU=Groups,DC=example,DC=com"]
# suppress = ["never.csv"]

# --- What: ((name)) takes a column of the input, or a value below. ---
text = "The VPN is down until ((until)). Next news at ((next))."
# text-file = "vpn-down.txt"

# --- How carefully. ---
canary = 3                # the first three go one at a time
max-recipients = 500      # refuse more: the wrong file
deadline = "30m"          # then nothing begins any more
# rate = "10/s"
# hours = "08:00-20:00"

# Given at night: bulksms send {name} --set until=18:00 --set next=16:00
# An empty value has to be given, so that none is forgotten.
[values]
until = ""
next = ""
"""
"""What `bulksms new` writes."""


OLD = 30 * 86_400.0
"""Seconds after which a file of a prepared alert is called old: people join and leave."""
TEXT_SHOWN = 60
"""Characters of an earlier text."""


def as_noted(mailing: Mailing, options: "InputOptions") -> dict[str, Any]:
    """What the plan keeps of a mailing, for the next time."""
    return {"file": mailing.file.name, "text": options.text, "values": dict(options.values)}


def differences(draft: Draft, mailing: Mailing, options: "InputOptions") -> Iterator[tuple[str, str]]:
    """What differs from the last time that the mailing was sent: rows of the preview's table."""
    last = _last_ledger(mailing)
    if last is None:
        return
    with open_ledger(last) as reader:
        plan = reader.plan()
        before = _keys(reader)
        earlier = plan.summary.get("mailing", {})
    now = set(draft.recipient_keys())
    parts = ["the same people"]
    if now != before:
        parts = [f"{len(now - before):,} new", f"{len(before - now):,} no longer in it"]
    if earlier.get("text") != options.text:
        parts.append(f"another text, it was: {cut(printable(str(earlier.get('text'))), TEXT_SHOWN)}")
    for name, value in options.values.items():
        if (was := earlier.get("values", {}).get(name)) not in (None, value):
            parts.append(f"{name} was {was}")
    yield "last time", f"{local(plan.created_at)}, {last.name}: {'; '.join(parts)}"


def _keys(reader: LedgerReader) -> set[str]:
    keys = set()
    for record in reader.messages():
        try:
            keys.add(parse_recipient(record.recipient).key)
        except BadRecipient:  # a bad row that was skipped
            continue
    return keys


def _last_ledger(mailing: Mailing) -> Path | None:
    """The newest ledger in this folder from which the mailing was sent for real."""
    found: list[tuple[str, Path]] = []
    for path in Path().glob(f"{mailing.file.stem}*.ledger.db"):
        try:
            with open_ledger(path) as reader:
                plan, runs = reader.plan(), reader.runs()
        except LedgerError:
            continue
        if runs and plan.purged_at is None and plan.summary.get("mailing", {}).get("file") == mailing.file.name:
            found.append((plan.created_at, path))
    return max(found)[1] if found else None


def ages(mailing: Mailing) -> Iterator[str]:
    """The files of a mailing with their ages, in lines; old ones with a warning."""
    for file in dict.fromkeys([mailing.file, *mailing.files]):
        try:
            changed = file.stat().st_mtime
        except OSError as error:
            yield f"error: {file}: {error.strerror}."
            continue
        age = time.time() - changed
        yield f"{file}  changed {local(changed)}, {_days(age)}"
        if age > OLD:
            yield f"warning: {file} is old; people may have joined or left since."


def _days(age: float) -> str:
    days = int(age // 86_400)
    return "today" if days < 1 else f"{days} day{'' if days == 1 else 's'} ago"
