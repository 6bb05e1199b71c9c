"""Duplicate guard: nobody is sent the same text from another ledger unless a person says so with `--new`.

The same plan is refused; a plan whose people overlap with what other ledgers sent, or may have, says so. Invariants:
checked before a person is asked, registered after that and before the first request. This user's own record must not
keep an alert from going out when it cannot be written; a folder that was named with `--start-registry` has to hold. The
safe way is named first, as a command that can be copied; `--new` alone comes second, as what it is.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bulksms.cli.options.declaration import Options
from bulksms.cli.ui.console import command_line, info, quoted, say
from bulksms.errors import PlanError, UsageError
from bulksms.ledger import LedgerName, LedgerSnapshot, ledger_at, ledger_name
from bulksms.planning.follow_up import Overlaps, Queued, find_overlaps, ledgers_in
from bulksms.planning.ledger_history import Histories
from bulksms.planning.plan import count_of
from bulksms.planning.start_registry import DatabaseStarts, StartRecord, StartRegistry, Starts
from bulksms.report.text import local_minute
from bulksms.system import operator, state_folder

Answer = TypeVar("Answer")


def own_record() -> Path:
    """Where this user's record of what was started lies on this machine."""
    return state_folder() / "started"


def start_record_of(ledger: LedgerName, fingerprint: str, identity: str | None, url: str, messages: int) -> StartRecord:
    """What would be claimed for this ledger."""
    user, host = operator()
    return StartRecord(fingerprint, url, identity, str(ledger.absolute()), user, host, messages)


def require_not_started(own: StartRecord, registry: Path | None, *, new: bool = False) -> None:
    """Raises PlanError if another ledger started the same plan, UsageError if `--start-registry` cannot be read."""
    if new:
        return
    for against in _each(own, registry, lambda starts: starts.earlier_start(own)):
        if against is not None:
            raise _refusal(against, own)


def register_start(own: StartRecord, registry: Path | None, *, new: bool = False) -> None:
    """Claim the plan for this ledger. Raises PlanError if another one was first, UsageError as above."""
    found = []
    for against in _each(own, registry, lambda starts: starts.register(own, in_spite=new)):
        if against is not None and not new:
            raise _refusal(against, own)
        found.append(against)
    for words in dict.fromkeys(str(against) for against in found if against is not None):
        say(f"The same plan was started from {words}; --new starts it all the same.")


def histories(registry: Path | None, *, new: bool = False) -> Histories:
    """Where runs and their progress are noted. Raises UsageError if `--start-registry` cannot be used."""
    kept_in = [_of_this_user(lambda it: it.history), _shared(registry, lambda it: it.history)]
    return Histories([history for history in kept_in if history is not None], in_spite=new)


def require_latest(ledger: LedgerName, snapshot: LedgerSnapshot, noted: Histories) -> None:
    """Raises PlanError if the ledger is an older copy, LedgerError if a dead run's log is missing."""
    if snapshot.counts.is_log_lost:
        ledger_at(ledger).require_log()
    noted.require_latest(ledger, snapshot.plan.identity, snapshot.runs, snapshot.counts)


def known_ledgers(registry: Path | None) -> list[Path]:
    """The ledgers that were started on this machine, by this user's record and by the shared one.

    Raises UsageError if the shared one cannot be used.
    """
    _, host = operator()
    found = _shared(registry, lambda starts: list(starts.ledgers_on(host))) or []
    with suppress(OSError):
        found += StartRegistry(own_record()).ledgers_on(host)
    return [path for path in dict.fromkeys(found) if path.is_file()]


def _each(own: StartRecord, registry: Path | None, look: Callable[[Starts], Answer]) -> Iterator[Answer | None]:
    """Ask each place where a start of this ledger is noted: first those where the starts of others are noted, too."""
    ledger = ledger_name(own.ledger)
    yield None if isinstance(ledger, Path) else look(DatabaseStarts(ledger.database))
    yield _shared(registry, look)
    yield _of_this_user(look)


def _of_this_user(look: Callable[[StartRegistry], Answer]) -> Answer | None:
    """Ask this user's record; if that is impossible, it warns and does nothing else."""
    folder = own_record()
    try:
        return look(_kept_in(folder))
    except OSError as error:
        say(f"warning: this user's record of what was sent, {folder}, cannot be used: {error.strerror}.")
        return None


def _kept_in(folder: Path) -> StartRegistry:
    """The record, without what is old. Where no home is known its path would begin with `~`."""
    if not folder.is_absolute():
        raise FileNotFoundError(errno.ENOENT, "this user has no home")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    starts = StartRegistry(folder)
    starts.forget_old()
    return starts


def _shared(folder: Path | None, look: Callable[[StartRegistry], Answer]) -> Answer | None:
    if folder is None:
        return None
    try:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder that is there")
        return look(StartRegistry(folder, mode=0o666))
    except OSError as error:
        raise UsageError(
            f"The start registry {folder} cannot be used: {error.strerror}. Nothing was sent.",
            hint="--start-registry names a folder that every machine can reach and write to; omit it to go without.",
        ) from error


def _refusal(against: StartRecord, own: StartRecord) -> PlanError:
    ledger = quoted(against.ledger)
    look = (
        f"`bulksms status {ledger}` shows how far that is, `bulksms resume {ledger}` goes on with it; "
        f"with --new --not-sent-in {ledger} the input goes to the others only"
    )
    place = ledger_name(against.ledger)
    if against.host == own.host and isinstance(place, Path) and not place.exists():
        look = "That ledger is gone, and with it who was sent what"
    again = f"`bulksms send {quoted(own.ledger)} --new` sends from this one" if own.identity else "--new sends"
    plan = f"{count_of(against.messages, 'message')} to {against.url}"
    return PlanError(
        f"The same plan ({plan}) was started from {against}; nothing sent now.",
        hint=f"{look}; {again} all of it, to everybody who has it perhaps a second time.",
    )


RECENT = 30 * 86_400.0
"""Seconds: a ledger that nobody has touched for so long is history, and the start registry forgets it as well."""


def warn_of_overlap(queued: Queued, to_send: int, own: LedgerName, registry: Path | None) -> Overlaps:
    """Print what other ledgers that this machine knows sent of this plan, or may have."""
    overlaps = find_overlaps(queued, list(_others(own, registry)))
    for overlap in overlaps.found:
        at = "" if overlap.last_attempt_at is None else f" at {local_minute(overlap.last_attempt_at)}"
        were = "was" if overlap.messages == 1 else "were"
        say(
            f"warning: {overlap.messages:,} of these {to_send:,} {were} sent this text, or may have been, by "
            f"{_shown(overlap.ledger)}{at}."
        )
    return overlaps


def say_how_to_leave_out(overlaps: Overlaps, to_send: int, source: str | None, *options: Options) -> None:
    """The command that sends the plan to the others only, where there are any, and an input to name."""
    if overlaps.found and overlaps.messages < to_send and source not in (None, "-"):
        say("To send to the others only:")
        ledgers = (overlap.ledger for overlap in overlaps.found)
        info(f"  {leaving_out(str(source), *ledgers, typed=as_typed(*options))}")


def leaving_out(source: str, *ledgers: LedgerName | str, typed: Iterable[str] = ()) -> str:
    """The command that sends an input, as `typed`, to those to whom these ledgers did not send, and cannot have."""
    left_out = [word for ledger in ledgers for word in ("--not-sent-in", str(_shown(ledger)))]
    return command_line(("send", source, *typed, "--new", *left_out))


NOT_AGAIN = ("rejects", "force", "show")
"""Options of an input that do not decide what is sent."""


def as_typed(*options: Options) -> list[str]:
    """The words by which this call chose its messages: without them the same input would be another plan."""
    words = []
    for group in options:
        for name, given in group.given.items():
            if name in group.FIELDS and name not in NOT_AGAIN and given.place == "flag":
                values = given.value if isinstance(given.value, tuple) else (given.value,)
                words += [word for it in values for word in ((given.name,) if it is True else (given.name, str(it)))]
    return words


def new_means(messages: int, sent_before: int) -> str:
    """What `--new` alone does, in words."""
    them = "nobody of them was sent it yet" if not sent_before else f"{sent_before:,} of them perhaps a second time"
    return f"--new sends {count_of(messages, 'message')}, {them}"


def _shown(ledger: LedgerName | str) -> LedgerName:
    """As a person would name it here."""
    name = ledger_name(ledger) if isinstance(ledger, str) else ledger
    with suppress(ValueError, OSError):
        return name.relative_to(Path.cwd()) if isinstance(name, Path) else name
    return name


def _others(own: LedgerName, registry: Path | None) -> Iterator[Path]:
    """The other ledgers that were in use lately, each once."""
    seen: set[tuple[int, int]] = set()
    folders = {Path()}
    if isinstance(own, Path):
        folders.add(own.parent)
        with suppress(OSError):
            seen.add(_file(own))
    for path in [*ledgers_in(sorted(folders)), *known_ledgers(registry)]:
        with suppress(OSError):
            file = _file(path)
            if file not in seen and time.time() - path.stat().st_mtime < RECENT:
                seen.add(file)
                yield path


def _file(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
