"""Wire: the bodies and headers of the Adaxes REST API, read leniently and reported as facts.

Pure. Invariant: no body raises an exception, whatever its content; what is kept of it is one short printable line
without any of the secrets that were passed in.
Sources: Adaxes REST API, "Send SMS", "Operation result", "Error responses", "Get operation status".
"""

import codecs
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from bulksms.model.attempt import ApiError, OperationResult, ResultType

BODY_LIMIT = 64 * 1024
"""Bytes of an answer that are read: an operation result is below one kilobyte, an IIS error page below ten."""
RETRY_AFTER_LIMIT = 86_400.0
"""Seconds: a longer `Retry-After` is a mistake or a clock that is wrong; a day is the most that is believed."""
_SENTENCE = 500
_SNIPPET = 200
_SNIPPET_SOURCE = 16 * 1024
_WARNINGS = 20
_MESSAGES = 1_000
_OPERATION_ID = 200

_RESULT_NAMES = {"succeeded": 0, "success": 0, "failed": 1, "failure": 1, "suspended": 2}
_MESSAGE_NAMES = {"error": 0, "warning": 1}
_INVISIBLE = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title\b.*?</title\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>?")
_MOMENT = re.compile(
    r"\s*(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?\d*(Z|[+-]\d\d:\d\d)?\s*", re.ASCII | re.IGNORECASE
).fullmatch
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class ParsedBody(Struct, frozen=True, gc=False):
    """What a body says: at most one of the first three, or a `snippet` of anything else.

    `is_page` is True for a page or a notice for people instead of JSON.
    """

    result: OperationResult | None = None
    api_error: ApiError | None = None
    operation_id: str | None = None
    snippet: str | None = None
    is_page: bool = False


class _Plain(Struct, forbid_unknown_fields=True):
    """A success that has nothing to add: what most answers of most runs are.

    With the documented members only: other members are not read, and might not be JSON.
    """

    resultType: Literal[0]  # noqa: N815 - the names on the wire
    exception: None = None
    innerMessages: Annotated[list[Any], Meta(max_length=0)] | None = None  # noqa: N815 - as above
    actualObjectDN: str | None = None  # noqa: N815 - as above
    extraInfo: Any = None  # noqa: N815 - as above


_decode_plain = msgspec.json.Decoder(_Plain).decode


def sms_body(recipient: str, text: str) -> bytes:
    """The request body of `sendSms`: exactly the two documented members."""
    return _encode({"directoryObject": recipient, "text": text})


def read_answer(
    status: int, body: bytes, token: str = "", names: Iterable[str] = (), content_type: str | None = None
) -> ParsedBody:
    """What the body of an answer to `sendSms` says. The body is in UTF-8 (`to_utf8`).

    The token is kept out of everything, `names` (recipient and text) only out of the snippet: the API's own words
    about a recipient belong in that recipient's row.
    """
    try:
        plain = _decode_plain(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return parse_lenient(status, body, token, names, content_type)
    return ParsedBody(OperationResult(ResultType.SUCCEEDED, object_dn=plain.actualObjectDN or None))


def parse_lenient(
    status: int, body: bytes, token: str = "", names: Iterable[str] = (), content_type: str | None = None
) -> ParsedBody:
    """As `read_answer`, for an answer that may be anything."""
    value = read_json(body)
    if isinstance(value, dict):
        if (result := operation_result(value, token)) is not None:
            return ParsedBody(result=result)
        if (api_error := read_api_error(value, token)) is not None:
            return ParsedBody(api_error=api_error)
    if status == 202 and (operation_id := read_operation_id(value)) is not None:
        return ParsedBody(operation_id=operation_id)
    return ParsedBody(
        snippet=snippet(body, (token, *names)), is_page=value is None and _is_for_people(body, content_type)
    )


def _is_for_people(body: bytes, content_type: str | None) -> bool:
    """Whether a body that is not JSON is a page or a notice: markup, or anything announced as text.

    JSON that was cut short is the API's, however it is announced. An empty body shows nothing.
    """
    start = body[:_SNIPPET_SOURCE].lstrip(b"\xef\xbb\xbf \t\r\n\0")[:1]
    if start == b"<":
        return True
    is_text = (content_type or "").lstrip().lower().startswith(("text/", "application/xhtml"))
    return is_text and start not in (b"", b"{", b"[", b'"') and body.strip() != b"null"


def to_utf8(body: bytes, content_type: str | None = None) -> bytes:
    """The body in UTF-8, without a byte order mark.

    What is believed, in this order: a byte order mark, the announced charset, UTF-8, Windows-1252. A charset that the
    body contradicts does not count. ISO-8859-1 and ASCII mean Windows-1252, as in every browser (WHATWG, "Encoding").
    """
    announced = _charset(content_type)
    if announced is None and body.isascii() and b"\0" not in body:
        return body
    for mark, marked in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            body, announced = body.removeprefix(mark), marked
            break
    for charset in (announced or "utf-8", "utf-8"):
        with suppress(ValueError):
            return body.decode(charset).encode()
    return body.decode("cp1252", errors="replace").encode()


_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"})
"""Text encodings of Python that no server writes; some take quadratic time."""


@lru_cache(maxsize=64)
def _charset(content_type: str | None) -> str | None:
    """The codec that a `Content-Type` announces, if there is one by that name and it is not UTF-8 anyway."""
    if content_type is None or "charset" not in content_type.lower():
        return None
    header = Message()
    try:
        header["Content-Type"] = content_type
        name = codecs.lookup(header.get_content_charset("")).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    if name in ("iso8859-1", "ascii"):
        return "cp1252"
    return None if name == "utf-8" or name in _NO_CHARSETS else name


def read_json(body: bytes) -> Any:  # noqa: ANN401 - a stranger's JSON has any shape
    """The value of a JSON body in UTF-8, or None if it is none."""
    try:
        return _decode(body.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def operation_result(value: Any, token: str = "") -> OperationResult | None:  # noqa: ANN401 - as read_json
    """An operation result: `resultType` as a number, a numeric string or a name; unknown members are ignored."""
    if not isinstance(value, dict):
        return None
    result_type = _enumerated(value.get("resultType"), _RESULT_NAMES)
    if not ResultType.SUCCEEDED <= result_type <= ResultType.SUSPENDED:
        return None
    exception = value.get("exception")
    error = exception.get("message") if isinstance(exception, dict) else exception
    messages = value.get("innerMessages")
    severe = [(kind, sentence(text, token)) for kind, text in _severe(messages)] if messages else []
    if not (isinstance(error, str) and error.strip()):
        errors = (text for kind, text in severe if kind == 0)
        error = next(errors, None) if result_type == ResultType.FAILED else None
    warnings = tuple(dict.fromkeys(text for _, text in severe))[:_WARNINGS]
    object_dn = value.get("actualObjectDN")
    return OperationResult(
        ResultType(result_type),
        error=sentence(error, token) if error else None,
        warnings=warnings,
        object_dn=object_dn if isinstance(object_dn, str) and object_dn else None,
    )


def read_api_error(value: Any, token: str = "") -> ApiError | None:  # noqa: ANN401 - as read_json
    """The API's error object: `message` beside a `code`, a `modelState` or an `innerError`.

    A message alone is what web servers and gateways write as well, so it does not count.
    """
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return None
    code, state, inner = value.get("code"), value.get("modelState"), value.get("innerError")
    if not (isinstance(code, str) or isinstance(state, dict) or isinstance(inner, dict)):
        return None
    messages = [value["message"]]
    if isinstance(state, dict):
        messages += [f"{name}: {', '.join(_texts(problems))}" for name, problems in state.items()]
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        messages.append(inner["message"])
    whole = " | ".join(dict.fromkeys(text.strip() for text in messages if text.strip()))
    code = sentence(code, token) if isinstance(code, str) else ""
    return ApiError(sentence(whole, token), code=code or None)


def read_operation_id(value: Any) -> str | None:  # noqa: ANN401 - as read_json
    """The id in a 202: a JSON string, or the member `operationId` or `id` of an object."""
    if isinstance(value, dict):
        value = value.get("operationId") or value.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if 0 < len(value) <= _OPERATION_ID and value.isprintable() else None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header: a number or an HTTP date (RFC 9110, 10.2.3), 0 to a day.

    `now` is a POSIX time. None if the header is missing or unreadable.
    """
    if value is None:
        return None
    value = value.strip()
    try:
        wait = float(value) if re.fullmatch(r"\d{1,18}(\.\d{1,9})?", value, re.ASCII) else _until(value, now)
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), RETRY_AFTER_LIMIT)


def expiry(value: Any) -> datetime | None:  # noqa: ANN401 - as read_json
    """The moment of an `expiresAtUtc`, which has seven fractional digits; None if it cannot be read."""
    found = _MOMENT(value) if isinstance(value, str) else None
    if found is None:
        return None
    whole, fraction, zone = found.groups(default="")
    try:
        moment = datetime.fromisoformat(f"{whole}{fraction[:7]}{zone or 'Z'}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def snippet(body: bytes, secrets: Iterable[str] = ()) -> str | None:
    """One short printable line of a body that is not the API's: no tags, no secrets. None if nothing is left."""
    text = body[:_SNIPPET_SOURCE].decode(errors="replace")
    if "<" in text:
        page = _INVISIBLE.sub(" ", text)
        rest = _seen(_TITLE.sub(" ", page))
        title = _TITLE.search(page)
        # Most pages say their title once more.
        text = rest if title and _seen(title[0]) in rest else _seen(page)
    line = redact(_one_line(text), secrets)
    return _cut(line, _SNIPPET) or None


def _seen(page: str) -> str:
    return _one_line(html.unescape(_TAG.sub(" ", page)))


def sentence(text: str, token: str = "") -> str:
    """A server's words on one line, printable, of bounded length, without the token."""
    line = _one_line(text)
    return _cut(line.replace(token, "…") if token else line, _SENTENCE)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret replaced by `…`, however JSON or a URL would write it."""
    for secret in secrets:
        line = _one_line(secret)
        spellings = {secret, line, quote(secret), quote(secret, safe="")}
        spellings |= {_one_line(_encode(secret)[1:-1].decode()), _one_line(html.escape(secret))}
        for spelling in sorted(spellings, key=len, reverse=True):
            if spelling:
                text = text.replace(spelling, "…")
    return text


def _severe(messages: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401 - as read_json
    """The nested messages that are errors (0) or warnings (1), in reading order."""
    waiting = list(reversed(messages)) if isinstance(messages, list) else []
    for _ in range(_MESSAGES):
        if not waiting:
            return
        message = waiting.pop()
        if not isinstance(message, dict):
            continue
        kind, text = _enumerated(message.get("messageType"), _MESSAGE_NAMES), message.get("text")
        if kind in (0, 1) and isinstance(text, str) and text.strip():
            yield kind, text
        inner = message.get("innerMessages")
        if isinstance(inner, list):
            waiting.extend(reversed(inner))


def _enumerated(value: Any, names: Mapping[str, int]) -> int:  # noqa: ANN401 - as read_json
    """A .NET enumeration as JSON writes it: number, numeric string or name; -1 for anything else."""
    if isinstance(value, bool):
        return -1
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        return -1
    value = value.strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return int(value)
    return names.get(value.lower(), -1)


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - as read_json
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            yield one.strip()


def _until(value: str, now: float) -> float:
    moment = parsedate_to_datetime(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(now, UTC)).total_seconds()


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(filter(str.isprintable, line))


def _cut(text: str, length: int) -> str:
    text = text.strip()
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
