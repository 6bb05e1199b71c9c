"""Planted bugs: one line of the package replaced by another, to show that the nights have teeth.

`python -m tests.simulation --planted` plays nights with each until one is broken; `test_nights` holds that each still
fits the code, and plays the quick ones.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Planted(NamedTuple):
    """What is wrong, in which file, and how."""

    what: str
    file: str
    before: str
    after: str
    quick: bool = False
    """Found within a few seeds, so that every test run can afford it."""
    also: tuple[str, str] | None = None
    """A second line of the file, where two safeguards hold the same."""

    def planted_in(self, text: str) -> str:
        """The file with the bug. Raises ValueError if it does not fit."""
        for before, after in ((self.before, self.after), *(() if self.also is None else (self.also,))):
            if text.count(before) != 1:
                raise ValueError(f"{self.what!r} does not fit {self.file}")
            text = text.replace(before, after)
        return text


PLANTED: tuple[Planted, ...] = (
    Planted(
        "a second attempt after a doubtful one is not counted",
        "bulksms/ledger/sqlite/writer.py",
        "message.in_doubt is not None and not message.possible_duplicate",
        "False",
    ),
    Planted(
        "a lost answer is sent again",
        "bulksms/policy/retry.py",
        "Evidence.LOST: (Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.AGAIN_COUNTED)",
        "Evidence.LOST: (Verdict.AGAIN_COUNTED, Verdict.AGAIN_COUNTED, Verdict.AGAIN_COUNTED)",
        quick=True,
    ),
    Planted(
        "a body that was cut off is taken as a success",
        "bulksms/policy/retry.py",
        "    if attempt.headers_sent:\n        return Evidence.LOST",
        "    if attempt.headers_sent:\n        return Evidence.SUCCEEDED",
        quick=True,
    ),
    Planted(
        "recovery queues what was sending",
        "bulksms/ledger/sqlite/recovery.py",
        "if recovery.state is State.QUEUED:",
        "if recovery:",
        quick=True,
    ),
    Planted(
        "an outcome does not count",
        "bulksms/ledger/sqlite/recovery.py",
        "State.QUEUED: again, State.UNKNOWN: unknown})",
        "State.QUEUED: again})",
        quick=True,
    ),
    Planted(
        "an outcome leaves no evidence",
        "bulksms/engine/worker.py",
        "previous_state, decision.evidence.value if is_attempt else None",
        "previous_state, decision.evidence.value if is_attempt and attempt.status else None",
    ),
    Planted(
        "intents are written for the whole window",
        "bulksms/engine/worker.py",
        "        permit = await self._queue.acquire(retry=message.number in self._policy.admission.health.failures)\n",
        "        await self._recorder.record_intent(message)\n"
        "        permit = await self._queue.acquire(retry=False)\n",
    ),
    Planted(
        "an operation is queued again after a crash",
        "bulksms/ledger/sqlite/recovery.py",
        "    if not connection.execute(_ADD_EVIDENCE, (State.SENDING,)).rowcount:",
        "    connection.execute(\"UPDATE message SET state = 'queued' WHERE state = 'processing'\")\n"
        "    if not connection.execute(_ADD_EVIDENCE, (State.SENDING,)).rowcount:",
        quick=True,
    ),
    Planted(
        "unknown is not in the exit code",
        "bulksms/report/summary.py",
        "if self.counts[State.UNKNOWN]:",
        "if self.counts[State.SENDING]:",
        quick=True,
    ),
    Planted(
        "readers show what is on disk",
        "bulksms/ledger/sqlite/reader.py",
        "_SENDING = frozenset({State.SENDING})",
        "_SENDING: frozenset[State] = frozenset()",
    ),
    Planted(
        "the request leaves before its intent is on disk",
        "bulksms/engine/worker.py",
        "            is_begun = await on_disk\n",
        "            is_begun = await asyncio.sleep(0, result=True)\n",
    ),
    Planted(
        "the outcome is dropped now and then",
        "bulksms/engine/worker.py",
        "        self._ledger.record_outcome(message, attempt, outcome)\n",
        "        if attempt.status != 422:\n            self._ledger.record_outcome(message, attempt, outcome)\n",
    ),
    Planted(
        "500 counts as not processed",
        "bulksms/policy/retry.py",
        "    500: Evidence.SERVER_FAILED,",
        "    500: Evidence.NOT_PROCESSED,",
    ),
    Planted(
        "502 counts as not processed",
        "bulksms/policy/retry.py",
        "    502: Evidence.SERVER_FAILED,",
        "    502: Evidence.NOT_PROCESSED,",
    ),
    Planted(
        "504 counts as not processed",
        "bulksms/policy/retry.py",
        "    504: Evidence.LOST,",
        "    504: Evidence.NOT_PROCESSED,",
    ),
    Planted(
        "a 204 is a success",
        "bulksms/policy/retry.py",
        "return Evidence.STARTED if is_started else Evidence.LOST",
        "return Evidence.STARTED if is_started else Evidence.REJECTED",
    ),
    Planted(
        "a failed result is a success",
        "bulksms/policy/retry.py",
        "ResultType.FAILED: Evidence.REJECTED",
        "ResultType.FAILED: Evidence.SUCCEEDED",
    ),
    Planted(
        "a suspended result is a success",
        "bulksms/policy/retry.py",
        "ResultType.SUSPENDED: Evidence.SUSPENDED",
        "ResultType.SUSPENDED: Evidence.SUCCEEDED",
    ),
    Planted(
        "a server that failed is tried again for ever",
        "bulksms/policy/retry.py",
        "once_more_only = verdict is Verdict.AGAIN_ONCE_COUNTED and message.in_doubt is not None",
        "once_more_only = False",
    ),
    Planted(
        "given up is failed, whatever came before",
        "bulksms/policy/retry.py",
        "    if doubt is None:\n        return Decision(evidence, State.FAILED, reason)",
        "    if reason:\n        return Decision(evidence, State.FAILED, reason)",
    ),
    Planted(
        "a refusal forgets the doubt",
        "bulksms/policy/retry.py",
        "_doubt_after(attempt, evidence) if evidence in IN_DOUBT else message.in_doubt",
        "_doubt_after(attempt, evidence) if evidence in IN_DOUBT else None",
    ),
    Planted(
        "what was broken off goes back to the queue",
        "bulksms/policy/retry.py",
        "    if evidence in IN_DOUBT:\n        return Decision(evidence, State.UNKNOWN, Reason.INTERRUPTED",
        "    if not evidence:\n        return Decision(evidence, State.UNKNOWN, Reason.INTERRUPTED",
    ),
    Planted(
        "an operation that was forgotten is failed",
        "bulksms/policy/judgement.py",
        "return Decision(Evidence.LOST, State.UNKNOWN, Reason.OPERATION_LOST, in_doubt=Reason.OPERATION_LOST)",
        "return Decision(Evidence.LOST, State.FAILED, Reason.OPERATION_LOST)",
    ),
    Planted(
        "an operation that failed is accepted",
        "bulksms/policy/judgement.py",
        "Evidence.REJECTED: State.FAILED,",
        "Evidence.REJECTED: State.ACCEPTED,",
    ),
    Planted(
        "an operation that does not complete is watched for ever",
        "bulksms/policy/judgement.py",
        "(waited >= timeout and shows_reachable(attempt))",
        "(waited < 0)",
    ),
    Planted(
        "the rate is taken twice as high",
        "bulksms/policy/rate_limiter.py",
        "interval = 1.0 / rate",
        "interval = 0.5 / rate",
    ),
    Planted(
        "the limit of requests in flight is forgotten",
        "bulksms/engine/pool.py",
        "for _ in range(self._settings.workers):",
        "for _ in range(self._settings.workers + 8):",
        # Each of the two holds it alone: there are no more workers, and admission counts what is in flight.
        also=("ConcurrencyLimit(settings.workers, settings.adapt)", "ConcurrencyLimit(settings.workers + 8, False)"),
    ),
    Planted(
        "a stop while the run logs in is not seen",
        "bulksms/engine/worker.py",
        "            if self._stop.is_set:\n                raise Stopping\n            checked",
        "            checked",
    ),
    Planted(
        "requests that wait for a token leave in one burst",
        "bulksms/engine/worker.py",
        "await self._queue.recheck(permit, waited)",
        "await self._queue.recheck(permit)",
    ),
    Planted(
        "withdrawing forgets the doubt",
        "bulksms/ledger/sqlite/recovery.py",
        "WHERE state = ? AND doubt IS NOT NULL",
        "WHERE state = ? AND doubt = 'never'",
    ),
    Planted(
        "the deadline is by a clock of seconds since the start",
        "bulksms/ledger/sqlite/writer.py",
        "        return self._now()\n",
        "        return asyncio.get_running_loop().time()\n",
    ),
    Planted(
        "a canary that fails stops nothing",
        "bulksms/engine/canary.py",
        "if state is not State.ACCEPTED:",
        "if state is State.QUEUED:",
    ),
    Planted(
        "what was released at the end is not written",
        "bulksms/engine/pool.py",
        "self._recorder.record_released(released)",
        "released = ()",
    ),
    Planted(
        "an answer to nobody's request counts",
        "bulksms/adaxes/exchange.py",
        "if self._body is not None and self._body.was_preceded:",
        "if self._body is None:",
    ),
    Planted(
        "a second run takes the lock away",
        "bulksms/ledger/sqlite/lock.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
    ),
    Planted(
        "a message that waits for another attempt is forgotten",
        "bulksms/engine/pool.py",
        "heapq.heappush(self._waiting, (self._now() + seconds, message.number, message))",
        "heapq.heappush([], (self._now() + seconds, message.number, message))",
    ),
    Planted(
        "the operations of an earlier run are not polled",
        "bulksms/engine/pool.py",
        "passes=(True,)",
        "passes=()",
    ),
    Planted(
        "Retry-After is ignored",
        "bulksms/policy/admission.py",
        'is the server\'s word to everybody."""\n        if attempt.status in (429, 503):',
        'is the server\'s word to everybody."""\n        if attempt.status in (430, 504):',
    ),
    Planted(
        "a breaker that opens while the intent is written is not seen",
        "bulksms/policy/admission.py",
        "        if permit.probe:\n            return permit\n",
        "        if permit.granted:\n            return permit\n",
    ),
    Planted(
        "the breaker never closes",
        "bulksms/policy/circuit_breaker.py",
        "        if self.good_probes < HALF_OPEN_PROBES:",
        "        if self.good_probes < HALF_OPEN_PROBES * 1000:",
    ),
    Planted(
        "what a deadline withdraws stays queued",
        "bulksms/engine/pool.py",
        "            if self.stopped is StopReason.DEADLINE:\n                await self._ledger.withdraw",
        "            if self.stopped is StopReason.CANARY_FAILED:\n                await self._ledger.withdraw",
    ),
    Planted(
        "cancel withdraws nothing",
        "bulksms/api/runs.py",
        "        if self._withdraws:",
        "        if self._withdraws and self._is_stopping is None:",
    ),
    Planted(
        "stop from another shell is not seen",
        "bulksms/ledger/sqlite/writer.py",
        "            if command is not None:",
        "            if command is ControlCommand.PAUSE:",
    ),
    Planted(
        "a failed commit is taken for a good one",
        "bulksms/ledger/sqlite/writer.py",
        "            self._broken = database.ledger_error(self.path, error)",
        "            database.ledger_error(self.path, error)",
    ),
    Planted(
        "a commit is rolled back",
        "bulksms/ledger/sqlite/writer.py",
        'connection.execute("COMMIT")',
        'connection.execute("ROLLBACK")',
    ),
    Planted(
        "recovery is skipped",
        "bulksms/ledger/sqlite/database.py",
        "                    recover(connection, recovery, now())",
        "                    ...",
    ),
    Planted(
        "a retry by a person forgets the doubt",
        "bulksms/ledger/sqlite/operator_actions.py",
        "UPDATE message SET state = 'queued', reason = NULL, tries = 0,",
        "UPDATE message SET state = 'queued', reason = NULL, doubt = NULL, tries = 0,",
    ),
    Planted(
        "a token that has expired is not replaced",
        "bulksms/engine/worker.py",
        "        if decision.reauthenticate:\n",
        "        if decision.drop_wait_header:\n",
    ),
    Planted(
        "an operation that failed stays processing",
        "bulksms/engine/worker.py",
        "        if decision.state is not State.PROCESSING:\n",
        "        if decision.state is State.ACCEPTED:\n",
    ),
)


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, planted: Planted) -> None:
        super().__init__(fullname, path)
        self._planted = planted

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(self._planted.planted_in(Path(path).read_text(encoding="utf-8")), path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, planted: Planted) -> None:
        self._planted = planted
        self._module = planted.file.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        path = str(ROOT / self._planted.file)
        return importlib.util.spec_from_file_location(fullname, path, loader=_Loader(fullname, path, self._planted))


def plant(what: str) -> None:
    """Have the package imported with this bug. Raises KeyError for one that is not listed."""
    sys.meta_path.insert(0, _Finder({planted.what: planted for planted in PLANTED}[what]))
