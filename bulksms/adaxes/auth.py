"""Authentication: how a run gets its token, and the next one.

Invariants: one log-in at a time for all workers, and its answer is that of all that waited. After a refusal there
is no second log-in, so that a wrong password never locks an account. No password, session id or token is in any text.
Source: Adaxes REST API, "Authentication" (steps and error codes); the tear-down is seen in public client code.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

from msgspec.structs import replace

from bulksms.adaxes import wire
from bulksms.adaxes.endpoint import AccessToken, Account, Credentials, Token
from bulksms.adaxes.errors import hint_for
from bulksms.adaxes.exchange import Exchange
from bulksms.model.attempt import ApiError, Attempt, Failure
from bulksms.system import System

_MARGIN = 60.0
"""Seconds before its end at which a token is renewed, or a tenth of its life-time if that is shorter."""
_PATIENCE = 15.0
"""Seconds until a renewal that failed by bad luck is tried again, while the old token is still good."""
_SKEW = 5.0
"""Seconds that two clocks may differ before the server's own is believed for life-times."""

_NOT_THERE = frozenset({404, 405, 501})
_COME_AGAIN = frozenset({408, 425, 429})
_REASONS = {
    "invalidcredentials": "The user name or the password is wrong.",
    "accessdenied": "This account is not allowed to log in to Adaxes.",
    "accountisdisabled": "This account is disabled.",
    "accountlockedout": "This account is locked out.",
    "accountexpired": "This account has expired.",
    "logontimeincorrect": "This account is not allowed to log in at this time of day.",
}
_HINTS = {
    "invalidcredentials": "Write the user name as user@domain or DOMAIN\\user, and check the password by hand first.",
    "accessdenied": "An Adaxes administrator can allow it.",
    "accountlockedout": "Wait until it is unlocked, or have it unlocked; every further try makes it worse.",
    "logontimeincorrect": "Run at another time, or use an account without that limit.",
}


@dataclass(frozen=True, slots=True)
class LoginFailure:
    """Why there is no usable token: a sentence and a hint for a person.

    `final` means that asking again cannot help; the client does not do it by itself. Otherwise the server was not
    reached or was too busy, as `attempt` tells, and a later try may succeed.
    """

    sentence: str
    hint: str | None
    final: bool
    attempt: Attempt
    attempts_left: int | None = None


class Ask(Protocol):
    """What makes the requests of a log-in: `Client.request`."""

    def __call__(
        self, method: str, path: str, *, value: object = None, secrets: tuple[str, ...] = (), token: Token | None = None
    ) -> Exchange: ...


class TokenProvider:
    """The token that all requests of a run share, and where the next one comes from."""

    def __init__(self, credentials: Credentials, ask: Ask, system: System) -> None:
        self.current = Token(credentials.value) if isinstance(credentials, AccessToken) else None
        self._account = credentials if isinstance(credentials, Account) else None
        self._ask = ask
        self._system = system
        self._session_id: str | None = None
        self.refused: LoginFailure | None = None
        """Why there will be no usable token any more."""
        self._failed: tuple[int, LoginFailure | None] = (0, None)
        """How many log-ins have failed, and the last one's problem."""
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether there is a token, and it is not about to expire."""
        token = self.current
        return self.refused is None and token is not None and self._system.monotonic() < token.renew_at

    async def ready(self) -> LoginFailure | None:
        """Log in if there is no token yet or it is about to expire; None if all is well."""
        if self.is_ready:
            return None
        before, (failed, _) = self.current, self._failed
        async with self._one_at_a_time:
            if self.refused is not None or self.current is not before:
                return self.refused
            if self.is_ready:
                return None
            if self._failed[0] != failed:
                return self._failed[1]
            problem = await self._log_in()
            now = self._system.monotonic()
            if problem is None or problem.final or before is None or now >= before.expires_at:
                return problem
            before.renew_at = now + _PATIENCE
            return None

    async def renew(self, token: Token | None) -> LoginFailure | None:
        """Replace a token that the server rejected; None if there is a better one by now."""
        failed, _ = self._failed
        async with self._one_at_a_time:
            if self.refused is not None or self.current is not token:
                return self.refused
            if self._failed[0] != failed:
                return self._failed[1]
            # One that was never accepted is refused for good, unless it was used too late even for the first time.
            now = self._system.monotonic()
            never_good = token is not None and not token.was_accepted and now < token.expires_at
            if self._account is None or never_good:
                self.refused = _NEW_TOKEN_REFUSED if self._account is not None else _TOKEN_REFUSED
                return self.refused
            return await self._log_in()

    async def log_out(self) -> None:
        """Log out: the token, then the session. What comes of it is nobody's concern."""
        token, session_id = self.current, self._session_id
        if self._account is None or token is None or session_id is None:
            return
        self.current = self._session_id = None
        for path in (
            f"/api/auth?token={quote(token.value, safe='')}",
            f"/api/authSessions?id={quote(session_id, safe='')}",
        ):
            await self._ask("DELETE", path, secrets=(session_id,), token=token).run()

    async def _log_in(self) -> LoginFailure | None:
        account = self._account
        if account is None:
            return None
        began = self._system.monotonic()
        value = {"username": account.username, "password": account.password}
        session = self._ask("POST", "/api/authSessions/create", value=value, secrets=(account.password,))
        session_id = await self._step(session, "sessionId", account.password)
        if isinstance(session_id, LoginFailure):
            return session_id
        last = self._ask("POST", "/api/auth", value={"sessionId": session_id}, secrets=(account.password, session_id))
        token = await self._step(last, "token", session_id)
        if isinstance(token, LoginFailure):
            return token
        self.current = _dated(token, last, began)
        self._session_id = session_id
        return None

    async def _step(self, exchange: Exchange, wanted: str, secret: str) -> str | LoginFailure:
        """One of the two requests: the member that it is made for, or what is wrong, without the secret sent."""
        attempt = await exchange.run()
        body = wire.read_json(exchange.answer) if attempt.failure is None else None
        found = body.get(wanted) if isinstance(body, dict) else None
        if attempt.status == 200 and isinstance(found, str) and found.isascii() and found.isprintable() and found:
            return found
        problem = _problem(_without(secret, attempt), body)
        self._failed = (self._failed[0] + 1, problem)
        if problem.final:
            self.refused = problem
        return problem


def _dated(value: str, exchange: Exchange, began: float) -> Token:
    """The token with its life-time, which began when it was asked for, on a clock that nobody sets."""
    body = wire.read_json(exchange.answer)
    expires = wire.expiry(body.get("expiresAtUtc"))
    if expires is None:
        return Token(value)
    lifetime = (expires - _server_now(exchange)).total_seconds()
    if lifetime <= 0:
        return Token(value)
    margin = min(_MARGIN, lifetime / 10)
    return Token(value, renew_at=began + lifetime - margin, expires_at=began + lifetime)


def _server_now(exchange: Exchange) -> datetime:
    """The server's clock if it differs from ours, by its `Date` header, which knows whole seconds only."""
    ours = datetime.fromtimestamp(exchange.began_at, UTC)
    try:
        theirs = parsedate_to_datetime(exchange.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return ours
    return theirs if abs((theirs - ours).total_seconds()) > _SKEW else ours


def _without(secret: str, attempt: Attempt) -> Attempt:
    """The attempt as it may be kept: no server has a reason to repeat a password, but some do."""
    error = attempt.api_error
    if error is not None:
        error = ApiError(wire.redact(error.message, (secret,)), error.code and wire.redact(error.code, (secret,)))
    return replace(attempt, snippet=None, api_error=error)


def _problem(attempt: Attempt, body: Any) -> LoginFailure:  # noqa: ANN401 - a stranger's JSON has any shape
    inner = body.get("innerError") if isinstance(body, dict) else None
    inner = inner if isinstance(inner, dict) else {}
    code = str(inner.get("code", "")).lower()
    left = inner.get("attemptsLeft")
    left = left if isinstance(left, int) and not isinstance(left, bool) and left >= 0 else None
    sentence = _REASONS.get(code) or _words(attempt)
    if left is not None:
        sentence += f" {left} more {'try' if left == 1 else 'tries'} before the account is locked."
    return LoginFailure(sentence, _HINTS.get(code) or hint_for(attempt), _is_final(attempt), attempt, left)


def _words(attempt: Attempt) -> str:
    if attempt.status is None:
        return f"The log-in did not reach the server: {attempt.detail or attempt.failure}."
    if attempt.status in _NOT_THERE or attempt.status // 100 == 3:
        return f"There is no log-in at this URL: it answered {attempt.status}."
    if attempt.status == 200 and attempt.failure is None:
        return "The answer to the log-in is none that Adaxes gives."
    words = None if attempt.api_error is None else attempt.api_error.message
    return f"The log-in was answered with {attempt.status}" + (f": {words}" if words else ".")


def _is_final(attempt: Attempt) -> bool:
    """Whether the same log-in can only be answered alike. A lost answer and a busy server say nothing."""
    status, failure = attempt.status, attempt.failure
    if status is None or failure is Failure.PROXY_REFUSED:
        refused = failure is Failure.PROXY_REFUSED and (status or 0) < 500
        return refused or failure in (Failure.BAD_CERTIFICATE, Failure.BAD_URL)
    if status == 200:
        return failure is None
    return (status < 500 or status == 501) and status not in _COME_AGAIN


_UNAUTHENTICATED = Attempt(headers_sent=True, status=401)
_TOKEN_REFUSED = LoginFailure(
    "The server does not accept the access token.",
    "It may be incomplete, revoked, expired or made on another server; an Adaxes administrator can make a new one.",
    final=True,
    attempt=_UNAUTHENTICATED,
)
_NEW_TOKEN_REFUSED = LoginFailure(
    "The server logs the account in and then does not accept the token that it gave.",
    "Several servers behind one address must share their sessions, or the address must stick to one of them.",
    final=True,
    attempt=_UNAUTHENTICATED,
)
