"""Runner: the program with one fault built in, as a process of its own: `python runner.py FAULT ARGUMENTS…`.

FAULT is a JSON object; the ledger's connections, the clock and the threads are watched or bent as it says:

- `{"kill": KIND, "nth": N, "when": MOMENT}`: SIGKILL at the N-th statement of this kind, or at its commit
- `{"fail": KIND, "nth": N, "words": TEXT}`: that statement, and every later one that writes, raises an error
- `{"full": N}`: from the N-th begin on the file may not grow
- `{"threads": true}`: what blocks on the event loop's thread is printed on stderr, one line each
- `{"ordinary": true}`: files' rights hold for the superuser, too; exit code 99 if that cannot be had
- `{"jump": SECONDS}`: the wall clock jumps by so much, to and fro, all the time
"""

import asyncio
import ctypes
import json
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from typing import Any

KINDS = {
    "begin": ("UPDATE message", "state = 'sending'", "first_attempt_at"),
    "settle": ("UPDATE message", "finished_at", "latency_ms"),
    "end": ("UPDATE run", "ended_at"),
    "commit": ("COMMIT",),
}
"""How the statements that a fault can be about are known: by their text."""
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1
"""As `linux/prctl.h` and `linux/capability.h` have them."""
JUMP_EVERY = 0.1
"""Seconds between two jumps of the wall clock."""

fault: dict[str, Any] = {}
seen: Counter[str] = Counter()
real_connect = sqlite3.connect
real_time = time.time


class Connection(sqlite3.Connection):
    """A connection whose statements pass by the fault."""

    is_marked = False
    """The statement that the fault is about is in the open transaction."""
    is_broken = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._before(sql)
        cursor = super().execute(sql, *parameters)
        self._after(sql)
        return cursor

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self._before(sql)
        cursor = super().executemany(sql, *parameters)
        self._after(sql)
        return cursor

    def executescript(self, script: str) -> sqlite3.Cursor:
        print_if_on_the_loop("sqlite", script)
        return super().executescript(script)

    def close(self) -> None:
        print_if_on_the_loop("sqlite", "close")
        super().close()

    def _before(self, sql: str) -> None:
        print_if_on_the_loop("sqlite", sql)
        kind = next((kind for kind, words in KINDS.items() if all(word in sql for word in words)), None)
        if kind is None:
            return
        seen[kind] += 1
        if seen[kind] == fault.get("nth", 1) and kind in (fault.get("kill"), fault.get("fail")):
            self.is_marked = True
            die_if("before_statement")
        if kind == "commit" and self.is_marked:
            die_if("before_commit")
        if "fail" in fault and self.is_marked:
            self.is_broken = True
        if self.is_broken:
            raise sqlite3.OperationalError(fault["words"])
        if kind == "begin" and seen[kind] == fault.get("full"):
            (pages,) = super().execute("PRAGMA page_count").fetchone()
            super().execute(f"PRAGMA max_page_count = {pages}").close()

    def _after(self, sql: str) -> None:
        if self.is_marked:
            die_if("after_commit" if sql == "COMMIT" else "after_statement")


def die_if(moment: str) -> None:
    if fault.get("when") == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def print_if_on_the_loop(what: str, detail: object) -> None:
    """By the thread, not by the time it took; importing is no work of the run."""
    if not fault.get("threads") or asyncio._get_running_loop() is None:
        return
    frame, where = sys._getframe(1), []
    while frame is not None:
        if "importlib" in frame.f_code.co_filename:
            return
        where.append(f"{frame.f_code.co_filename.rpartition(os.sep)[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]  # the last one has none
    sys.stderr.write(f"on the loop: {what} {str(detail)[:60]!r} {' '.join(where[1:8])}\n")


def hear(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"open", "sqlite3.connect", "socket.getaddrinfo", "socket.gethostbyname", "os.remove", "os.rename"}:
        print_if_on_the_loop(event, arguments[0])


def jumping_time() -> float:
    now = real_time()
    return now + float(fault["jump"]) * (int(now / JUMP_EVERY) % 3 - 1)


def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    return real_connect(*arguments, **options, factory=Connection)


def become_ordinary() -> int:
    """Without this capability the superuser is held to the rights of files as everybody is; it counts from exec on."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
        return 99
    return os.execv(sys.executable, [sys.executable, "-m", "bulksms", *sys.argv[2:]])  # noqa: S606 - as it is meant


def main() -> int:
    fault.update(json.loads(sys.argv[1]))
    if fault.get("ordinary"):
        return become_ordinary()
    sqlite3.connect = connect  # type: ignore[assignment]  # it has one shape of the several
    if fault.get("threads"):
        sys.addaudithook(hear)
    if fault.get("jump"):
        time.time = jumping_time
    from bulksms.cli.app import run  # noqa: PLC0415 - its clock is the one that it finds when it is imported

    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
