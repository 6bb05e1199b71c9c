"""A recording: every write, sync and request of a real run, in their order, as `strace` saw them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = "openat,pwrite64,write,writev,fsync,fdatasync,ftruncate,unlink,unlinkat,sendto,sendmsg"
SYNCS = frozenset({"fsync", "fdatasync"})
ON_THE_WIRE = frozenset({"sendto", "sendmsg", "write", "writev"})
LINE = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
DESCRIPTOR = re.compile(r"^\d+<(?P<path>[^>]*)>(, )?")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
RECIPIENT = re.compile(rb'"directoryObject": ?("(?:[^"\\]|\\.)*")')
LEDGER = "people.ledger.db"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that the run did: to a file of the ledger, to the folder, or on the wire."""

    kind: str
    """write, truncate, create, remove, sync, folder, request"""
    file: str = ""
    offset: int = 0
    data: bytes = b""
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """The files before the run, and what it did."""

    before: dict[str, bytes]
    events: list[Event]


def is_possible() -> bool:
    """Whether there is a `strace` that may look at a process."""
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return done.returncode == 0


def record(folder: Path, people: int, *, faults: bool, killed: bool) -> Recording:
    """Plan, send under `strace` to a server of its own, and read what was seen.

    With `killed` the run is killed in its middle, and a second one resumes; both are in the recording.
    """
    lines = [f'"CN=Person {number},DC=example,DC=com",Outage of system {number}.' for number in range(people)]
    (folder / "people.csv").write_text("\n".join(["directoryObject,text", *lines, ""]), encoding="utf-8")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "BULKSMS_TOKEN": "sandbox"}
    bulksms = [sys.executable, "-m", "bulksms"]
    plan = [*bulksms, "plan", "people.csv", "--ledger", LEDGER]
    subprocess.run(plan, cwd=folder, env=environment, check=True, capture_output=True)
    before = {path.name: path.read_bytes() for path in folder.glob(f"{LEDGER}*") if _is_kept(path.name)}
    serve = [sys.executable, "-m", "bulksms.sandbox", "--port", "0", "--latency", "0.002-0.02"]
    serve += ["--faults", "preset", "--seed", "3"] if faults else []
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    environment["BULKSMS_URL"] = server.stdout.readline().strip()
    reader = _Reader(folder, set(before))
    try:
        for number, is_killed in enumerate([True, False] if killed else [False]):
            trace = folder / f"trace-{number}"
            strace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-e", "signal=none"]
            send = [*strace, "-o", str(trace), *bulksms, "send", LEDGER, "--yes", "--workers", "8", "--quiet"]
            run = subprocess.Popen(send, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if is_killed:
                _kill_in_the_middle(run, trace, people // 2)
            _, talk = run.communicate()
            if not is_killed and run.returncode not in (0, 1, 4, 5):
                raise RuntimeError(talk.decode())
            reader.read(trace)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
    return Recording(before, reader.events)


def _kill_in_the_middle(run: "subprocess.Popen[bytes]", trace: Path, requests: int) -> None:
    """Kill what `strace` looks at when so many requests have left."""
    path = "".join(f"\\x{byte:02x}" for byte in b"sendSms").encode()
    while run.poll() is None:
        if trace.exists() and trace.read_bytes().count(path) >= requests:
            children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text(encoding="ascii").split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            return
        time.sleep(0.01)


class _Reader:
    """Makes events of the calls that a run has made."""

    def __init__(self, folder: Path, names: set[str]) -> None:
        self.events: list[Event] = []
        self._folder = folder
        self._names = names

    def read(self, trace: Path) -> None:
        """Add what a trace shows."""
        for call, arguments, result in _calls(trace):
            if call in ("openat", "unlink", "unlinkat"):
                name = Path(_bytes(arguments).decode("utf-8", "replace")).name
                if _is_kept(name) and result >= 0:
                    self._name(name, is_removed=call != "openat", is_made="O_CREAT" in arguments)
            elif described := DESCRIPTOR.match(arguments):
                path, rest = Path(_text(described["path"])), arguments[described.end() :]
                if path == self._folder and call in SYNCS:
                    self.events.append(Event("folder"))
                elif _is_kept(path.name):
                    self.events.append(_change(path.name, call, rest))
                elif call in ON_THE_WIRE:
                    found = RECIPIENT.findall(_bytes(rest))
                    self.events += [Event("request", recipient=json.loads(recipient)) for recipient in found]

    def _name(self, name: str, *, is_removed: bool, is_made: bool) -> None:
        if is_removed:
            self._names.discard(name)
            self.events.append(Event("remove", name))
        elif is_made and name not in self._names:
            self._names.add(name)
            self.events.append(Event("create", name))


def _change(name: str, call: str, arguments: str) -> Event:
    """What a call did to one of the ledger's files. Raises ValueError for a call that a ledger is not written with."""
    if call in SYNCS:
        return Event("sync", name)
    if call == "ftruncate":
        return Event("truncate", name, int(arguments))
    if call == "pwrite64":
        return Event("write", name, int(arguments.rpartition(", ")[2]), _bytes(arguments))
    raise ValueError(f"a ledger is written with {call}: {arguments[:80]}")


def _calls(trace: Path) -> Iterator[tuple[str, str, int]]:
    """Each call with its arguments and result, also one that another thread interrupted."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="utf-8").splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = rest.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>", rest)
        if resumed:
            rest = begun.pop(thread, "") + rest[resumed.end() :]
        if found := LINE.match(f"{thread} {rest}"):
            yield found["call"], found["arguments"], int(found["result"])


def _is_kept(name: str) -> bool:
    """Whether a power cut can harm it: the file, its log and its journal; the shared memory is made anew."""
    return name in (LEDGER, f"{LEDGER}-wal", f"{LEDGER}-journal")


def _bytes(arguments: str) -> bytes:
    return b"".join(bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(arguments))


def _text(path: str) -> str:
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path
