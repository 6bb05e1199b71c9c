"""Person: what an operator does in a night, to a run that is under way and between two runs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bulksms
from bulksms.api.runs import recovery_in
from bulksms.errors import BulksmsError, LedgerError, LedgerLockedError, PlanError
from bulksms.ledger import Author, Ledger, Retry
from bulksms.ledger.selection import Selection
from bulksms.ledger.sqlite.store import SqliteLedger
from bulksms.model.message import State
from tests.simulation import seams

if TYPE_CHECKING:
    from tests.simulation.night import Night

AUTHOR = Author("operator", "here", "--yes", "in the night")
BETWEEN = (
    *("nothing", "nothing", "retry", "retry exhausted", "retry unknown", "resolve", "cancel without a run", "purge"),
    *("older copy", "log lost"),
)
SELECTIONS = {
    "retry": "failed,expired",
    "retry exhausted": "failed:attempts_exhausted,expired",
    "retry unknown": "unknown",
}
"""What is sent again."""


class Person:
    """The one who sends."""

    def __init__(self, night: "Night") -> None:
        self._night = night
        self._answer = night.choices.of("answer to questions", ("yes", "yes", "late", "no"))
        self._earlier: dict[Path, bytes] = {}
        """The ledger's files as they were after an earlier run, and its attempts then."""
        self._earlier_attempts = 0

    @property
    def _ledger(self) -> Path:
        return self._night.known.path

    def _ledger_now(self) -> Ledger:
        return SqliteLedger(self._ledger, self._night.loop.system())

    def hooks(self) -> bulksms.Hooks:
        """What a run asks a person."""
        return bulksms.Hooks(after_canary=self._confirm, after_test=self._confirm)

    async def _confirm(self) -> bool:
        answer = "yes" if self._night.is_calm else self._answer
        self._night.note("operator", f"is asked, and says {answer}")
        if answer == "late":
            await asyncio.sleep(300.0)
        return answer != "no"

    async def ask(self, what: str, run: Any) -> None:
        """Ask something of a run that is under way, or of its ledger."""
        night, ledger = self._night, self._ledger_now()
        night.note("operator", what)
        night.cover(what)
        if what == "decisions beside it":
            self._decide_beside()
        elif what == "looked at":
            self._look()
        else:
            if run is not None and not night.loop.net._cuts:
                noticed = night.loop._now + (seams.INTERVAL if "shell" in what else 0.0)
                night.witness.keep_quiet(noticed + night.witness.slack + 0.5, float("inf"), f"after {what}")
            match what:
                case "stop from a shell":
                    ledger.send_command(bulksms.ControlCommand.STOP, AUTHOR)
                case "stop now from a shell":
                    ledger.send_command(bulksms.ControlCommand.STOP_NOW, AUTHOR)
                case "cancel from a shell":
                    ledger.send_command(bulksms.ControlCommand.CANCEL, AUTHOR)
                case "cancel" if run is not None:
                    run.cancel()
                case "stop, then stop now" if run is not None:
                    run.stop()
                    await asyncio.sleep(0.3)
                    run.stop(now=True)
                case _ if run is not None:
                    run.stop(now=what == "stop now")

    def _decide_beside(self) -> None:
        """While a run lives nothing can be decided about its ledger."""
        ledger = self._ledger_now()
        if not self._is_living():
            return
        decisions: dict[str, Callable[[], None]] = {
            "resolve": lambda: ledger.resolve({1: State.ACCEPTED}, AUTHOR),
            "purge": lambda: ledger.purge(AUTHOR),
            "cancel": lambda: ledger.cancel(AUTHOR),
            "recover": lambda: ledger.recover(recovery_in(self._night.settings), "operator"),
        }
        for what, decide in decisions.items():
            self._refused(f"Nothing is decided about a ledger while a run lives: {what}", LedgerLockedError, decide)

    def _is_living(self) -> bool:
        """Whether a run lives, which everybody has to see that looks."""
        night = self._night
        works = any(end is None and name not in night.loop.dead for name, (_, end) in night.working.items())
        is_living = self._ledger_now().is_living()
        if works and not is_living:
            night.outcome.broken.append("A run that lives is seen. Nobody sees it")
        return works and is_living

    def _refused(self, promise: str, kind: type[BulksmsError], act: Callable[[], None]) -> None:
        try:
            act()
        except kind:
            return
        except BulksmsError as error:
            self._night.outcome.broken.append(f"{promise}. It was refused with {error!r}")
            return
        self._night.outcome.broken.append(f"{promise}. It was not refused")

    def _look(self) -> None:
        """A reader beside a run sees true numbers, and that it lives."""
        self._is_living()
        with bulksms.open_ledger(self._ledger) as reader, reader.one_moment():
            reader.check_counters()
            total = sum(reader.counts().counts.values())
        if total != self._night.known.total:
            self._night.outcome.broken.append(f"Nobody is lost for a reader. It sees {total}")

    async def between(self) -> None:
        """What is done between two runs."""
        night = self._night
        action = night.choices.of(f"after life {night.lives}", BETWEEN)
        earlier, attempts = self._earlier, self._earlier_attempts
        is_older = self._ledger in earlier and night.machine.notes.exists() and night.known.attempts() > attempts
        self._earlier, self._earlier_attempts = night.known.files(), night.known.attempts()
        if action == "nothing":
            return
        night.cover(action)
        night.note("operator", action)
        chance = night.choices.chance(f"after life {night.lives}, how")
        if action in SELECTIONS:
            self._send_again(Selection.parse(SELECTIONS[action]))
        elif action == "resolve":
            self._resolve(chance)
        elif action == "cancel without a run":
            self._cancel()
        elif action == "purge":
            self._purge_too_early()
        elif action == "older copy" and is_older:  # of a ledger that was saved under another name there is none
            await self._put_in_place("An older copy of a ledger sends nothing", earlier, PlanError)
        elif action == "log lost" and night.known.log.exists():
            # It is there only after a death; what is in it, the file alone does not know.
            files = {night.known.path: night.known.path.read_bytes()}
            await self._put_in_place("Without the log of a dead run nothing is sent", files, LedgerError)

    def _send_again(self, selection: Selection) -> None:
        night = self._night
        self._recover()
        with bulksms.open_ledger(self._ledger) as reader:
            chosen = [it for it in reader.messages() if selection.takes(it.state, it.reason)]
        if chosen:
            night.known.by_a_person |= {it.recipient for it in chosen if it.state is State.UNKNOWN}
            deadline = seams.BEGIN + night.loop._now + 100_000.0
            night.selection = Retry(AUTHOR, selection, None, len(chosen), deadline)

    def _recover(self) -> None:
        """As the commands do that decide about a ledger: nothing is `sending` afterwards."""
        recovery = recovery_in(self._night.settings)
        try:
            self._ledger_now().recover(recovery, "operator")
        except BulksmsError as error:
            self._night.note("operator", f"is refused: {error}")

    def _resolve(self, chance: Any) -> None:
        night = self._night
        self._recover()
        with bulksms.open_ledger(self._ledger) as reader:
            unknown = [it for it in reader.messages() if it.state is State.UNKNOWN]
            if not unknown:
                return
            picked = chance.sample(unknown, chance.randint(1, len(unknown)))
            numbers = reader.numbers_in({it.row for it in picked})
        outcomes = {number: chance.choice([State.ACCEPTED, State.FAILED]) for number in numbers}
        self._ledger_now().resolve(outcomes, AUTHOR)
        night.known.by_a_person |= {it.recipient for it in picked}

    def _cancel(self) -> None:
        self._ledger_now().cancel(AUTHOR)
        with bulksms.open_ledger(self._ledger) as reader:
            if reader.counts().counts[State.QUEUED]:
                self._night.outcome.broken.append("After cancel nothing is queued. Without a run something is")

    def _purge_too_early(self) -> None:
        """What is still to be sent is not forgotten."""
        with bulksms.open_ledger(self._ledger) as reader:
            is_unfinished = reader.counts().unfinished
        if is_unfinished and not self._night.known.log.exists():
            self._refused(
                "What is still to be sent cannot be purged", PlanError, lambda: self._ledger_now().purge(AUTHOR)
            )

    async def _put_in_place(self, promise: str, files: dict[Path, bytes], kind: type[BulksmsError]) -> None:
        """Put these files in the place of the ledger, try to send, and put it back."""
        night = self._night
        latest, requests = night.known.files(), night.witness.journal.total
        night.known.put(files)
        name = f"process-{night.lives}-of-a-copy"
        task = night.start(name, {})
        await asyncio.wait([task])
        error = task.exception()
        if not isinstance(error, kind) or night.witness.journal.total > requests:
            night.outcome.broken.append(f"{promise}. It ended with {error!r}")
        night.note(name, f"refuses: {error}")
        night.known.put(latest)

    async def last_act(self) -> None:
        """Names and texts are removed at the end: what is left is true, names nobody, and sends nothing."""
        night, known = self._night, self._night.known
        if night.outcome.broken or not night.choices.happens("purge at the end", 0.25):
            return
        night.note("operator", "purge")
        night.cover("purge at the end")
        with bulksms.open_ledger(known.path) as reader:
            before = reader.counts()
        try:
            self._ledger_now().purge(AUTHOR)
        except PlanError:
            if not before.unfinished:
                raise
            return
        with bulksms.open_ledger(known.path) as reader:
            after = reader.counts()
        if after != before:
            night.outcome.broken.append(f"A purge keeps the counts. They were {before}, and are {after}")
        if found := [str(path) for path, content in known.files().items() if b"CN=P0" in content]:
            night.outcome.broken.append(f"After a purge no file names anybody. {found} does")
        wrong = [f"{name}: {what}" for name, what in self._ledger_now().verify() if what]
        night.outcome.broken += [f"A ledger that was purged is whole. {it}" for it in wrong]
        task = night.start("process-after-purge", {})
        await asyncio.wait([task])
        if not isinstance(task.exception(), PlanError):
            night.outcome.broken.append(f"From a ledger that was purged nothing is sent. {task.exception()!r}")
