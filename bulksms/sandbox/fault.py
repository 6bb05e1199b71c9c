"""Fault: every way in which the stand-in server can treat a request, by a stable name.

Law: a fault's name says whether the message went out. `PROCESSED` holds those after which the phone would ring
once for each request; after any other, it does not.
"""

from enum import StrEnum


class Fault(StrEnum):
    """What happens to one `sendSms` request. The value is the name used in files, markers and the journal.

    Unless its description says that the message goes out, it does not.
    """

    OK = "ok"
    """No fault: the message goes out, resultType 0. Holds a place in a list."""

    # Operation results in a 200 answer.
    RESULT_FAILED = "result_failed"
    """resultType 1 with `exception.message` and no inner messages."""
    RESULT_SUSPENDED = "result_suspended"
    """resultType 2: waits for approval."""
    RESULT_WARNING = "result_warning"
    """resultType 0 with a warning two levels down; the message goes out."""
    RESULT_ERROR = "result_error"
    """resultType 0 with an inner error; the message goes out."""
    RESULT_NAMED = "result_named"
    """resultType and messageType by name instead of number, an unknown member more; the message goes out."""

    # The API's own errors: `{"message", "code"}`.
    STATUS_400 = "400"
    STATUS_401 = "401"
    STATUS_403 = "403"
    STATUS_404 = "404"
    STATUS_405 = "405"
    STATUS_408 = "408"
    STATUS_409 = "409"
    STATUS_413 = "413"
    STATUS_422 = "422"
    STATUS_425 = "425"
    STATUS_429 = "429"
    STATUS_429_RETRY_AFTER = "429_retry_after"
    """429 with `Retry-After` in seconds."""
    STATUS_429_RETRY_DATE = "429_retry_date"
    """429 with `Retry-After` as an HTTP date."""
    STATUS_500 = "500"
    STATUS_500_PROCESSED = "500_processed"
    """The message goes out, then 500."""
    STATUS_501 = "501"
    STATUS_502 = "502"
    STATUS_503 = "503"
    STATUS_503_RETRY_AFTER = "503_retry_after"
    STATUS_504 = "504"

    # Pages of a web server or proxy before the API.
    REDIRECT = "redirect"
    """302 to a page that answers 200."""
    REDIRECT_307 = "redirect_307"
    """307 to `sendSms` itself: a client that follows it sends again, with its token."""
    HTML_403 = "403_html"
    HTML_404 = "404_html"
    STATUS_407 = "407"
    HTML_500 = "500_html"
    HTML_502 = "502_html"
    HTML_502_PROCESSED = "502_processed"
    """The message goes out, then a proxy answers 502."""
    HTML_503 = "503_html"
    HTML_504 = "504_html"
    HTML_504_PROCESSED = "504_processed"
    """The message goes out, then a proxy answers 504."""

    # Success that cannot be read as an operation result; the message goes out.
    EMPTY_200 = "empty_200"
    HTML_200 = "html_200"
    UNREADABLE_JSON = "unreadable_json"
    WRONG_JSON_200 = "wrong_json_200"
    """JSON, but no operation result."""
    HUGE_200 = "huge_200"
    """An operation result of a megabyte."""
    STATUS_201 = "201"
    STATUS_204 = "204"

    # Slow operations.
    ACCEPTED_202 = "202"
    """202 with an operation id; completes after some polls; the message goes out."""
    ACCEPTED_202_FAILED = "202_failed"
    """202; the operation ends with resultType 1."""
    ACCEPTED_202_SUSPENDED = "202_suspended"
    """202; the operation ends with resultType 2."""
    ACCEPTED_202_NO_ID = "202_no_id"
    """202 without an operation id; the message goes out."""
    ACCEPTED_202_LOST = "202_lost"
    """202, but the server does not know the operation afterwards; the message goes out."""
    ACCEPTED_202_STUCK = "202_stuck"
    """202; the operation never completes."""
    ACCEPTED_202_POLL_TROUBLE = "202_poll_trouble"
    """202; the first poll meets 503, the next two a closed connection (aiohttp repeats a GET once by itself), then as
    `202`; the message goes out."""

    # The connection.
    DROP_BEFORE = "drop_before"
    """Closed (FIN) without an answer."""
    RESET_BEFORE = "reset_before"
    """Reset (RST) without an answer."""
    STALL_BEFORE = "stall_before"
    """Never answered until the client goes."""
    DROP_AFTER = "drop_after"
    """The message goes out, then closed (FIN) without an answer."""
    RESET_AFTER = "reset_after"
    """The message goes out, then reset (RST) without an answer."""
    STALL = "stall"
    """The message goes out; never answered until the client goes."""
    STALL_BODY = "stall_body"
    """The message goes out; the answer stops in the middle of its body, the connection stays."""
    TRUNCATED = "truncated"
    """The message goes out; the connection is closed (FIN) in the middle of the answer's body."""
    GARBAGE = "garbage"
    """The message goes out; what comes back is not HTTP."""
    DRIP = "drip"
    """The message goes out; a good answer comes a few bytes at a time."""
    ANSWER_THEN_CLOSE = "answer_then_close"
    """The message goes out; a good answer that promises to keep the connection, which is then closed."""
    SLOW = "slow"
    """The message goes out; a good answer after the sandbox's `slow` seconds (202 after `Adm-Wait` seconds)."""


PROCESSED = frozenset(
    {
        Fault.OK,
        Fault.RESULT_WARNING,
        Fault.RESULT_ERROR,
        Fault.RESULT_NAMED,
        Fault.STATUS_500_PROCESSED,
        Fault.HTML_502_PROCESSED,
        Fault.HTML_504_PROCESSED,
        Fault.EMPTY_200,
        Fault.HTML_200,
        Fault.UNREADABLE_JSON,
        Fault.WRONG_JSON_200,
        Fault.HUGE_200,
        Fault.STATUS_201,
        Fault.STATUS_204,
        Fault.ACCEPTED_202,
        Fault.ACCEPTED_202_NO_ID,
        Fault.ACCEPTED_202_LOST,
        Fault.ACCEPTED_202_POLL_TROUBLE,
        Fault.DROP_AFTER,
        Fault.RESET_AFTER,
        Fault.STALL,
        Fault.STALL_BODY,
        Fault.TRUNCATED,
        Fault.GARBAGE,
        Fault.DRIP,
        Fault.ANSWER_THEN_CLOSE,
        Fault.SLOW,
    }
)
"""The faults after which the message has gone out. A 202 counts from its acceptance: the server will work it off
to the end whether or not anybody asks."""
