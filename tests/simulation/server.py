"""The server at the other end of the simulated network: ruder than the sandbox's, because it owns its sockets.

Invariant: a request is in the journal before a byte of its answer leaves.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bulksms.engine.stop_signal import CHECK_INTERVAL
from bulksms.sandbox.journal import Journal, Received
from tests.simulation.seams import NightLoop
from tests.simulation.weather import NEVER_PROCESSED, OPERATIONS, PERHAPS_PROCESSED, Fate, Outage, Weather

PORT = 8080
HOST = "adaxes"
RESULT = '{{"resultType":{},"exception":{},"innerMessages":[{}],"actualObjectDN":"CN=X","extraInfo":{{}}}}'
GOOD = RESULT.format(0, "null", "")
SLACK = 1.5
"""Seconds for what is on its way already, in a commit or in a quick network."""
REASON = {200: "OK", 202: "Accepted", 204: "No Content"}
SEND = "/api/directoryObjects/sendSms"


class Quiet(NamedTuple):
    """From when to when nothing may arrive from a process, and why not."""

    begin: float
    end: float
    life: int
    why: str


@dataclass
class Witness:
    """What is known of a night outside of its ledgers: what a server received, what happened, what was broken."""

    loop: NightLoop
    journal: Journal = field(default_factory=Journal)
    history: list[tuple[float, str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    posted_while_processing: list[str] = field(default_factory=list)
    quiet: list[Quiet] = field(default_factory=list)
    slack: float = SLACK
    """As SLACK, in the network of this night: a request may be waiting for its connection."""
    patience: float = 30.0
    """Seconds after which a run does not wait for an answer any more."""
    life: int = 0
    """The process that works now."""
    life_began: float = 0.0
    """When it started: what arrives soon after that may have been sent by the one before."""
    others: frozenset[str] = frozenset()
    """To whom another ledger is sent."""
    deadline: float | None = None
    """Seconds from the first request of the run that works now to its deadline, if it was given one."""
    begins_at: float | None = None
    """When its first request came, by the wall clock; that may have been set only before it began to send."""
    tester: str = ""
    """Who gets the test message, before the deadline is counted."""

    def note(self, who: str, what: str) -> None:
        """Something happened."""
        self.history.append((self.loop._now, who, what))

    def keep_quiet(self, begin: float, end: float, why: str, life: int | None = None) -> None:
        """From now on nothing may arrive in this time from this process, or the one that lives now."""
        self.quiet.append(Quiet(begin, end, self.life if life is None else life, why))

    def _judge_deadline(self, now: float, wall: float, recipient: str) -> None:
        """The deadline is counted from the first request, by a clock that may be set at any time."""
        if self.begins_at is None:
            self.begins_at = wall
            if now - self.loop.jumped_at < self.slack:
                self.deadline = None
        patience = self.slack + CHECK_INTERVAL
        late = None if self.deadline is None else wall - self.begins_at - self.deadline
        if late is not None and late > patience and now - self.loop.jumped_at > patience and not self.loop.net._cuts:
            self.broken.append(f"Nothing leaves after the deadline. A request came {late:.1f} s later, {recipient}")

    def arrived(self, recipient: str) -> None:
        """A request came: whether it may."""
        if recipient in self.others:
            return
        now, wall = self.loop._now, self.loop.wall()
        if recipient != self.tester:
            self._judge_deadline(now, wall, recipient)
        for begin, end, life, why in self.quiet:
            if begin < now < end and life == self.life and not self.loop.net._cuts:
                self.broken.append(f"Nothing leaves {why}. A request came at {now:.4f}, {recipient}")


@dataclass
class Operation:
    """A slow send."""

    recipient: str
    fate: Fate
    polls: int = 0
    is_over: bool = False
    """The server has reported what became of it."""


@dataclass
class Server:
    """Answers as the weather says, and keeps the journal."""

    loop: NightLoop
    weather: Weather
    witness: Witness
    operations: dict[str, Operation] = field(default_factory=dict)
    tokens: dict[str, float] = field(default_factory=dict)
    started_at: float = 0.0
    power: int = 0
    """How often it lost its power: what it worked on then is never done."""
    at_work: int = 0
    taken: Counter[int] = field(default_factory=Counter)
    """Requests that were taken in each second."""
    listening: Any = None
    connections: dict[asyncio.StreamWriter, None] = field(default_factory=dict)

    async def serve(self) -> None:
        """Listen, and go down and up as the storms say."""
        self.listening = await asyncio.start_server(self.handle, port=PORT)
        for storm in sorted(self.weather.storms):
            if not isinstance(storm.what, Outage):
                continue
            await asyncio.sleep(max(0.0, storm.begin - self.loop._now))
            if self.weather.is_calm:
                break
            await self._be_away(storm.what, storm.end)
        await asyncio.Event().wait()

    async def _be_away(self, outage: Outage, until: float) -> None:
        self.witness.note("server", outage)
        if outage is Outage.NAMELESS:
            self.loop.nameless.add(HOST)
        else:
            self.listening.close()
        if outage is Outage.DOWN:
            self.listening.abort_clients()
        elif outage is Outage.POWER:
            self.power += 1
            for writer in list(self.connections):
                writer.transport._finish(None)  # type: ignore[attr-defined]  # simloop's: the other side hears nothing
        await asyncio.sleep(max(0.0, until - self.loop._now))
        self.witness.note("server", "is there again")
        self.started_at = self.loop._now
        if outage is Outage.NAMELESS:
            self.loop.nameless.clear()
        else:
            self.listening = await asyncio.start_server(self.handle, port=PORT)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections[writer] = None
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = request.split(" ")
                if method == "POST" and path.endswith(SEND):
                    await self._send(json.loads(body), headers, writer)
                else:
                    await asyncio.sleep(self.weather.chance.uniform(*self.weather.latency))
                    is_poll = method == "GET" and "/runningOperations/" in path
                    if is_poll:
                        self._poll(path, headers, writer)
                    else:
                        self._log_in(method, path, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.connections.pop(writer, None)
            writer.close()

    def _is_known(self, headers: dict[str, str]) -> bool:
        """Whether the request's token is good."""
        if self.weather.token_seconds is None:
            return True
        expires = self.tokens.get(headers.get("adm-authorization", ""), 0.0)
        return expires > float(self.loop._now)

    async def _send(self, body: dict[str, str], headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        weather, chance = self.weather, self.weather.chance
        recipient, text = body["directoryObject"], body["text"]
        self.witness.arrived(recipient)
        asked = self.witness.life, self.loop._now
        if any(it.recipient == recipient and it.polls and not it.is_over for it in self.operations.values()):
            self.witness.posted_while_processing.append(recipient)
        power, is_known = self.power, self._is_known(headers)
        fate = self._fate(recipient) if is_known else Fate.S401
        latency = chance.uniform(*weather.latency)
        if self.loop._now < self.started_at + weather.slow_start:
            latency *= 10.0
        while weather.at_once is not None and self.at_work >= weather.at_once:  # noqa: ASYNC110 - it may change
            await asyncio.sleep(0.05)
        self.at_work += 1
        try:
            first = chance.random() * latency
            await asyncio.sleep(first)
            if power != self.power:
                return
            delivered = self._delivers(fate)
            self.witness.journal.add(
                Received(
                    number=self.witness.journal.total + 1,
                    at=self.loop.wall(),
                    clock=self.loop._now,
                    recipient=recipient,
                    text=text,
                    authorized=is_known,
                    fault=fate.value,
                    delivered=delivered,
                    status=None,
                )
            )
            self.witness.note(recipient, f"server: {fate.value}{', delivered' if delivered else ''}")
            await asyncio.sleep(latency - first)
        finally:
            self.at_work -= 1
        await self._answer(fate, recipient, writer, asked)

    def _fate(self, recipient: str) -> Fate:
        limit, second = self.weather.per_second, int(self.loop._now)
        if limit is not None:
            if self.taken[second] >= limit:
                return self.weather.chance.choice([Fate.S429, Fate.S429, Fate.S429_AFTER])
            self.taken[second] += 1
        return self.weather.fate(self.loop._now, recipient)

    def _delivers(self, fate: Fate) -> bool:
        return fate not in NEVER_PROCESSED and (fate not in PERHAPS_PROCESSED or self.weather.chance.random() < 0.5)

    async def _answer(  # noqa: C901, PLR0912, PLR0915 - one case a fate
        self, fate: Fate, recipient: str, writer: asyncio.StreamWriter, asked: tuple[int, float]
    ) -> None:
        """Answer what a process (the first of `asked`) asked at a moment (the second)."""
        chance = self.weather.chance
        whole = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}".encode()
        )
        match fate:
            case Fate.OK:
                writer.write(whole)
            case Fate.WARNING:
                warning = '{"source":null,"text":"slow gateway","messageType":1,"innerMessages":[]}'
                self._say(writer, 200, RESULT.format(0, "null", warning))
            case Fate.LATE:
                await asyncio.sleep(90.0)
                writer.write(whole)
            case Fate.REJECTED:
                self._say(writer, 200, RESULT.format(1, '{"message":"no number"}', ""))
            case Fate.SUSPENDED:
                self._say(writer, 200, RESULT.format(2, "null", ""))
            case Fate.DROP_BEFORE | Fate.DROP_AFTER:
                (writer.close if chance.random() < 0.5 else writer.transport.abort)()
            case Fate.RESET:
                writer.write(whole[: chance.randrange(len(whole))])
                await asyncio.sleep(chance.random() * 0.1)
                writer.transport.abort()
            case Fate.CUT:
                writer.write(whole[: len(whole) - chance.randint(1, len(GOOD))])
                await asyncio.sleep(chance.random() * 0.1)
                writer.close()
            case Fate.GARBAGE:
                writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
                writer.close()
            case Fate.EMPTY:
                self._say(writer, 200, "")
            case Fate.OTHER_JSON:
                self._say(writer, 200, '{"status":"ok"}')
            case Fate.S201 | Fate.S204:
                self._say(writer, int(fate), "" if fate is Fate.S204 else GOOD)
            case Fate.NO_ID:
                self._say(writer, 202, "{}")
            case Fate.PAGE | Fate.PAGE_403:
                status = 200 if fate is Fate.PAGE else 403
                self._say(writer, status, "<html><title>Log in</title></html>", "text/html")
            case Fate.HANG:
                await asyncio.sleep(200.0)
                writer.close()
            case Fate.TWICE:
                # In one segment: the second comes while nothing is asked. If it came after the next request had left,
                # it would be the answer to that one for any client of HTTP/1.1.
                writer.write(whole * 2)
            case Fate.UNASKED:
                # As a server says that a connection was idle for too long. It reads nothing more from it.
                writer.write(whole)
                await asyncio.sleep(chance.random() * 3.0)
                self._say(writer, 408, "", more="Connection: close\r\n")
                writer.close()
            case Fate.CONTINUES:
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * chance.randint(1, 3))
                await asyncio.sleep(0.05)
                writer.write(whole)
            case _ if fate in OPERATIONS:
                name = f"operation-{len(self.operations)}"
                self.operations[name] = Operation(recipient, fate)
                self._say(writer, 202, json.dumps(name))
            case _:
                code, _, after = fate.value.partition(" ")
                words = {"message": f"status {code}", "code": "unauthenticated" if code == "401" else f"error{code}"}
                more = f"Retry-After: {self.weather.retry_after:.0f}\r\n" if after else ""
                now, (life, at) = self.loop._now, asked
                is_ours = recipient not in self.witness.others
                if (
                    after
                    and is_ours
                    and at > self.witness.life_began + self.witness.slack
                    and not self.loop.net._cuts
                    and now < at + self.witness.patience - self.witness.slack
                ):
                    begin, end = now + self.witness.slack, now + self.weather.retry_after
                    self.witness.keep_quiet(begin, end, "before `Retry-After` is over", life)
                self._say(writer, int(code), json.dumps(words), more=more)

    def _poll(self, path: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        operation = self.operations.get(path.rpartition("/")[2])
        if not self._is_known(headers):
            self._say(writer, 401, '{"message":"expired","code":"unauthenticated"}')
            return
        if operation is not None:
            operation.polls += 1
            ends = operation.fate is not Fate.OPERATION_STUCK and operation.polls >= self.weather.polls
            operation.is_over = ends or operation.fate is Fate.OPERATION_LOST
        if operation is None or operation.fate is Fate.OPERATION_LOST:
            self._say(writer, 404, '{"message":"no such operation","code":"notFound"}')
            return
        if operation.fate is Fate.OPERATION_TROUBLE and operation.polls % 2 and not self.weather.is_calm:
            if self.weather.chance.random() < 0.5:
                self._say(writer, 503, '{"message":"busy","code":"busy"}')
            else:
                writer.transport.abort()
        elif not operation.is_over:
            self._say(writer, 200, '{"completed":false,"operationResult":null}')
        else:
            self._say(writer, 200, '{"completed":true,"operationResult":' + RESULTS.get(operation.fate, GOOD) + "}")

    def _log_in(self, method: str, path: str, writer: asyncio.StreamWriter) -> None:
        if method == "POST" and self.weather.chance.random() < self.weather.log_in_trouble:
            self._say(writer, 503, '{"message":"busy","code":"busy"}')
        elif method == "POST" and path.endswith("/api/authSessions/create"):
            self._say(writer, 200, '{"sessionId":"s1","expiresAtUtc":"2027-03-29T00:00:00.0000000Z","type":0}')
        elif method == "POST" and path.endswith("/api/auth"):
            name = f"token-{len(self.tokens)}"
            self.tokens[name] = self.loop._now + (self.weather.token_seconds or 1_800.0)
            self.witness.note("server", f"issues {name}")
            self._say(writer, 200, json.dumps({"token": name, "expiresAtUtc": "2027-03-29T00:00:00.0000000Z"}))
        else:
            self._say(writer, 204, "")

    def _say(
        self, writer: asyncio.StreamWriter, status: int, body: str, kind: str = "application/json", more: str = ""
    ) -> None:
        head = f"HTTP/1.1 {status} {REASON.get(status, 'X')}\r\nContent-Type: {kind}\r\n{more}"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


RESULTS = {
    Fate.OPERATION_FAILED: RESULT.format(1, '{"message":"it failed"}', ""),
    Fate.OPERATION_SUSPENDED: RESULT.format(2, "null", ""),
}
