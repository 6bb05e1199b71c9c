"""LogIns: the two-step log-in of the simulator, its sessions and tokens.

Invariant: after three failures every further answer is delayed; after five the account is locked, whatever the
password. A token is valid until it expires, is deleted, or `revoke` is called.
"""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import error, invalid, json_answer
from bulksms.system import System

_ATTEMPTS = 5
_ATTEMPTS_BEFORE_DELAY = 3
_REASONS = {
    "invalidCredentials": "The user name or password is incorrect.",
    "accessDenied": "The user is not allowed to log in.",
    "accountIsDisabled": "The account is disabled.",
    "accountLockedOut": "The account is locked out.",
    "accountExpired": "The account has expired.",
    "logonTimeIncorrect": "The user is not allowed to log in at this time.",
}


@dataclass(frozen=True, slots=True)
class Account:
    """The account that may log in; the lifetimes of its session and token and the delay of wrong guesses in seconds."""

    username: str = "operator@example.com"
    password: str = "sandbox"  # noqa: S105 - no secret: it opens nothing
    session_lifetime: float = 600.0
    token_lifetime: float = 1800.0
    delay: float = 0.5


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str


class _Session(msgspec.Struct, forbid_unknown_fields=True):
    sessionId: str  # noqa: N815 - the API's own name


class LogIns:
    """The log-ins of one server, by the clocks of its `system`.

    `refusal` is an `innerError.code` with which every log-in is refused (None: none); `issued` counts the tokens.
    """

    def __init__(self, account: Account, system: System) -> None:
        self.refusal: str | None = None
        self.issued = 0
        self._account = account
        self._system = system
        self._failures = 0
        self._sessions: dict[str, float] = {}
        self._tokens: dict[str, float] = {}

    def good(self, token: str | None) -> bool:
        """Whether a token is valid."""
        return token is not None and self._tokens.get(token, 0.0) > self._system.monotonic()

    def revoke(self) -> None:
        """Invalidate every token and session."""
        self._tokens.clear()
        self._sessions.clear()

    @property
    def open_sessions(self) -> int:
        """Sessions that were not ended."""
        return len(self._sessions)

    @property
    def open_tokens(self) -> int:
        """Tokens that were not deleted."""
        return len(self._tokens)

    async def create_session(self, request: web.BaseRequest) -> web.Response:
        """`POST /api/authSessions/create`, step one."""
        try:
            given = msgspec.json.decode(await request.read(), type=_Credentials)
        except msgspec.MsgspecError as problem:
            return invalid("body", str(problem))
        if refusal := self._refused(given):
            if self._failures >= _ATTEMPTS_BEFORE_DELAY:
                await asyncio.sleep(self._account.delay * (self._failures - _ATTEMPTS_BEFORE_DELAY + 1))
            return self._refuse(refusal)
        self._failures = 0
        session, expires = self._issue(self._sessions, self._account.session_lifetime)
        return json_answer(200, msgspec.json.encode({"sessionId": session, "expiresAtUtc": expires, "type": 0}))

    async def create_token(self, request: web.BaseRequest) -> web.Response:
        """`POST /api/auth`, step two."""
        try:
            given = msgspec.json.decode(await request.read(), type=_Session)
        except msgspec.MsgspecError as problem:
            return invalid("body", str(problem))
        if self._sessions.get(given.sessionId, 0.0) <= self._system.monotonic():
            return error(401, "unauthenticated", "The authentication session is invalid or has expired.")
        self.issued += 1
        token, expires = self._issue(self._tokens, self._account.token_lifetime)
        return json_answer(200, msgspec.json.encode({"token": token, "expiresAtUtc": expires}))

    async def end_token(self, request: web.BaseRequest) -> web.Response:
        """`DELETE /api/auth?token=…`, with the token in the header too."""
        return self._end(self._tokens, request.query.get("token"))

    async def end_session(self, request: web.BaseRequest) -> web.Response:
        """`DELETE /api/authSessions?id=…`."""
        return self._end(self._sessions, request.query.get("id"))

    def _refused(self, given: _Credentials) -> str | None:
        """The code with which these credentials are refused, or None; counts the failures."""
        if self.refusal is not None:
            return self.refusal
        if self._failures >= _ATTEMPTS:
            return "accountLockedOut"
        if (given.username, given.password) == (self._account.username, self._account.password):
            return None
        self._failures += 1
        return "invalidCredentials" if self._failures < _ATTEMPTS else "accountLockedOut"

    def _refuse(self, code: str) -> web.Response:
        reason = _REASONS.get(code, "The log-in was refused.")
        left = max(0, _ATTEMPTS - self._failures)
        inner = {"message": reason, "code": code, "attemptsLeft": left}
        return error(403, "logInFailed", "The log-in failed.", innerError=inner)

    def _issue(self, issued: dict[str, float], lifetime: float) -> tuple[str, str]:
        """A new session or token, and when it expires in the API's format (seven fractional digits)."""
        name = uuid.uuid4().hex
        issued[name] = self._system.monotonic() + lifetime
        expires = datetime.fromtimestamp(self._system.now() + lifetime, UTC)
        return name, f"{expires:%Y-%m-%dT%H:%M:%S}.{expires.microsecond:06}0Z"

    def _end(self, issued: dict[str, float], name: str | None) -> web.Response:
        if name is None:
            return invalid("query", "It does not say what to end.")
        if issued.pop(name, None) is None:
            return error(404, "notFound", "There is none with this identifier.")
        return web.Response(status=204)
