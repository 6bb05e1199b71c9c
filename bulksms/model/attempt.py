"""Attempt: what one request showed. Facts only: `bulksms.policy` decides what they prove.

There is one for every request, hence structs: a frozen dataclass takes ten times as long to create and is one more
object for the garbage collector to visit.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct


class Failure(StrEnum):
    """How an exchange ended before its answer was read completely."""

    UNRESOLVED = "unresolved"
    """The host name has no address."""
    REFUSED = "refused"
    """No connection: refused, unreachable, or reset while connecting."""
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_HANDSHAKE = "tls_handshake"
    """The TLS handshake failed for another reason than the certificate."""
    BAD_CERTIFICATE = "bad_certificate"
    BAD_URL = "bad_url"
    """The URL cannot be requested at all."""
    PROXY_REFUSED = "proxy_refused"
    """A proxy did not open the tunnel: its status is the attempt's status, and nothing reached the server."""
    READ_TIMEOUT = "read_timeout"
    DISCONNECTED = "disconnected"
    """Closed or reset before the answer was read completely."""
    MALFORMED = "garbled"
    """What came back is not HTTP, or not a readable answer."""
    CANCELLED = "cancelled"
    """This process aborted it: the second Ctrl-C."""
    CRASHED = "crashed"
    """The process died; the next run found the attempt."""


class ResultType(IntEnum):
    """`resultType` of an operation result (Adaxes REST API, "Operation result")."""

    SUCCEEDED = 0
    FAILED = 1
    SUSPENDED = 2


class OperationResult(Struct, frozen=True, gc=False):
    """What the server reports of an operation that it completed."""

    result_type: ResultType
    error: str | None = None
    warnings: tuple[str, ...] = ()
    object_dn: str | None = None


class ApiError(Struct, frozen=True, gc=False):
    """The API's own error object: the sign that Adaxes itself answered, not a proxy or web server before it."""

    message: str
    code: str | None = None


class Attempt(Struct, frozen=True, gc=False):
    """One request and its outcome.

    `headers_sent` is False only if not a single byte of the request can have left this process.
    `status` is the status line's code, if one was read. `failure` is None if the answer was read completely.
    `result` is set for an operation result, `api_error` for the API's error object, `operation_id` for a 202 that
    names one, `snippet` is a short scrubbed line of any other body. `is_page` is True if that body is a page
    or a notice for people (a log-in page, a proxy's or web server's error page) instead of the API's JSON.
    `retry_after` is in seconds from the answer.
    `began_at` is a POSIX time in seconds, `elapsed` in seconds.
    """

    headers_sent: bool
    status: int | None = None
    failure: Failure | None = None
    result: OperationResult | None = None
    api_error: ApiError | None = None
    operation_id: str | None = None
    retry_after: float | None = None
    snippet: str | None = None
    is_page: bool = False
    detail: str | None = None
    """The library's words about a failure, free of secrets and names."""
    began_at: float = 0.0
    elapsed: float = 0.0

    @property
    def is_from_api(self) -> bool:
        """Whether Adaxes itself gave the answer, not a proxy or web server in front of it."""
        return self.result is not None or self.api_error is not None or self.operation_id is not None

    @property
    def error_code(self) -> str | None:
        """The API's own code, or how the exchange failed."""
        if self.api_error is not None and self.api_error.code is not None:
            return self.api_error.code
        return None if self.failure is None else self.failure.value

    @property
    def error(self) -> str | None:
        """What went wrong, in the words of the server or the library; None if nothing did."""
        if self.result is not None:
            return self.result.error
        if self.api_error is not None:
            return self.api_error.message
        return self.detail or self.snippet
