"""Answers: the bodies that the simulator sends, as the Adaxes REST API documents them, and faults of the connection.

An operation result is `{"resultType", "innerMessages", "exception", "actualObjectDN", "extraInfo"}`, an error
`{"message", "code"}` with `modelState` at 400; a web server or proxy before the API answers with a page instead.
Of the error codes only `unauthenticated` is documented; the others are plausible.
Invariant: every client sees what a fault of the connection says, whatever library it uses, because the bytes and the
end of the connection are produced here. A stalled exchange ends when its client disconnects or the server stops.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum, auto
from math import ceil
from types import MappingProxyType

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from bulksms.sandbox.faults import Fault

JSON = "application/json; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_NOTHING: Mapping[str, str] = MappingProxyType({})

_REASONS = MappingProxyType(
    {
        Fault.RESULT_FAILED: "The recipient has no mobile phone number.",
        Fault.ACCEPTED_202_FAILED: "The SMS gateway refused the number.",
    }
)

_ERRORS: Mapping[Fault, tuple[int, str, str]] = MappingProxyType(
    {
        Fault.STATUS_400: (400, "badRequest", "The request is invalid."),
        Fault.STATUS_401: (401, "unauthenticated", "The security token is invalid or has expired."),
        Fault.STATUS_403: (403, "accessDenied", "You do not have sufficient permissions to perform this operation."),
        Fault.STATUS_404: (404, "notFound", "The directory object was not found."),
        Fault.STATUS_405: (405, "methodNotAllowed", "The requested resource does not support this method."),
        Fault.STATUS_408: (408, "requestTimeout", "The request did not arrive in time."),
        Fault.STATUS_409: (409, "conflict", "The object is being changed by another operation."),
        Fault.STATUS_413: (413, "payloadTooLarge", "The request is too large."),
        Fault.STATUS_422: (422, "unprocessable", "The SMS text cannot be sent."),
        Fault.STATUS_425: (425, "tooEarly", "The request came too early."),
        Fault.STATUS_429: (429, "tooManyRequests", "Too many requests."),
        Fault.STATUS_429_RETRY_AFTER: (429, "tooManyRequests", "Too many requests."),
        Fault.STATUS_429_RETRY_DATE: (429, "tooManyRequests", "Too many requests."),
        Fault.STATUS_500: (500, "internalError", "An unexpected error occurred."),
        Fault.STATUS_500_PROCESSED: (500, "internalError", "An unexpected error occurred."),
        Fault.STATUS_501: (501, "notImplemented", "The operation is not supported by this server."),
        Fault.STATUS_502: (502, "badGateway", "The Adaxes service did not answer properly."),
        Fault.STATUS_503: (503, "serviceUnavailable", "The Adaxes service is not available."),
        Fault.STATUS_503_RETRY_AFTER: (503, "serviceUnavailable", "The Adaxes service is not available."),
        Fault.STATUS_504: (504, "gatewayTimeout", "The Adaxes service did not answer in time."),
    }
)

_PAGES: Mapping[Fault, tuple[int, str]] = MappingProxyType(
    {
        Fault.HTML_403: (403, "Forbidden: Access is denied."),
        Fault.HTML_404: (404, "File or directory not found."),
        Fault.STATUS_407: (407, "Proxy Authentication Required"),
        Fault.HTML_500: (500, "Internal server error."),
        Fault.HTML_502: (502, "Web server received an invalid response while acting as a gateway or proxy server."),
        Fault.HTML_502_PROCESSED: (502, "Bad Gateway"),
        Fault.HTML_503: (503, "Service Unavailable"),
        Fault.HTML_504: (504, "Gateway Time-out"),
        Fault.HTML_504_PROCESSED: (504, "Gateway Time-out"),
        Fault.HTML_200: (200, "Sign in to continue"),
    }
)

_BODIES: Mapping[Fault, tuple[int, bytes]] = MappingProxyType(
    {
        Fault.EMPTY_200: (200, b""),
        Fault.UNREADABLE_JSON: (200, b'{"resultType": 0, "innerMessages": [}'),
        Fault.WRONG_JSON_200: (200, b'{"status": "ok"}'),
        Fault.STATUS_201: (201, b'{"created": true}'),
        Fault.STATUS_204: (204, b""),
        Fault.ACCEPTED_202_NO_ID: (202, b""),
    }
)


def answer(fault: Fault, recipient: str, retry_after: float, redirected: str, now: float) -> web.Response:
    """The answer to a request whose fault determines it; a success for any other.

    `retry_after` is in seconds (whole ones are sent); `redirected` is the target of a 302; `now` is a POSIX time.
    """
    if fault in _ERRORS:
        status, code, message = _ERRORS[fault]
        return error(status, code, message, headers=_headers(fault, retry_after, now))
    if fault in _PAGES:
        status, title = _PAGES[fault]
        return page(status, title)
    if fault in _BODIES:
        status, body = _BODIES[fault]
        return web.Response(status=status, body=body, headers={"Content-Type": JSON} if body else None)
    if fault is Fault.REDIRECT:
        return page(302, "Object moved", headers={"Location": redirected})
    return json_answer(200, completed(fault, recipient))


def _headers(fault: Fault, retry_after: float, now: float) -> Mapping[str, str]:
    if fault in (Fault.STATUS_429_RETRY_AFTER, Fault.STATUS_503_RETRY_AFTER):
        return {"Retry-After": str(ceil(retry_after))}
    if fault is Fault.STATUS_429_RETRY_DATE:
        return {"Retry-After": formatdate(ceil(now + retry_after), usegmt=True)}
    return {"Allow": "GET"} if fault is Fault.STATUS_405 else _NOTHING


def operation_result(fault: Fault, recipient: str) -> bytes | None:
    """The body of an operation result; None for a fault that has none."""
    if fault in _RESULTS:
        result, messages = _RESULTS[fault]
        return _result(recipient, result, messages, exception=_REASONS.get(fault))
    if fault is Fault.RESULT_NAMED:
        return _result(recipient, "Succeeded", [_message("Sent by the second gateway.", "Warning")], future=1)
    if fault is Fault.HUGE_200:
        return _result(recipient, 0, [_message("x" * 1_000_000, 2)])
    return None


def completed(fault: Fault, recipient: str) -> bytes:
    """The operation result of a fault; a success if the fault has none."""
    return operation_result(fault, recipient) or _result(recipient, 0)


def _message(text: str, message_type: int | str, *inner: object, source: str | None = None) -> object:
    return {"source": source, "text": text, "messageType": message_type, "innerMessages": inner}


def _result(
    recipient: str, result: int | str, messages: object = (), *, exception: str | None = None, **more: object
) -> bytes:
    return msgspec.json.encode(
        {
            "resultType": result,
            "innerMessages": messages,
            "exception": None if exception is None else {"message": exception},
            "actualObjectDN": recipient if "=" in recipient else None,
            "extraInfo": {},
            **more,
        }
    )


_RESULTS: Mapping[Fault, tuple[int, tuple[object, ...]]] = MappingProxyType(
    {
        Fault.OK: (0, ()),
        Fault.RESULT_FAILED: (1, ()),
        Fault.ACCEPTED_202_FAILED: (1, (_message("The SMS gateway refused the number.", 0),)),
        Fault.RESULT_SUSPENDED: (2, (_message("The operation was sent for approval.", 4),)),
        Fault.ACCEPTED_202_SUSPENDED: (2, (_message("The operation was sent for approval.", 4),)),
        Fault.RESULT_ERROR: (0, (_message("The audit log could not be written.", 0),)),
        Fault.RESULT_WARNING: (
            0,
            (
                _message(
                    "Business rule 'After sending SMS' was executed.",
                    3,
                    _message("The number has no country code.", 1, source="Check the number"),
                ),
            ),
        ),
    }
)


def json_answer(status: int, body: bytes, *, headers: Mapping[str, str] = _NOTHING) -> web.Response:
    """A JSON body."""
    return web.Response(status=status, body=body, headers={"Content-Type": JSON, **headers})


def error(
    status: int, code: str, message: str, *, headers: Mapping[str, str] = _NOTHING, **more: object
) -> web.Response:
    """The API's error object; `more` are its other members."""
    return json_answer(status, msgspec.json.encode({"message": message, "code": code, **more}), headers=headers)


def invalid(where: str, what: str) -> web.Response:
    """A 400 that says which member is wrong."""
    return error(400, "badRequest", "The request is invalid.", modelState={where: [what]})


def page(status: int, title: str, *, headers: Mapping[str, str] = _NOTHING) -> web.Response:
    """A page as IIS and proxies send them."""
    head = f"<title>{status} - {title}</title><style>body{{font-family:Verdana}}</style>"
    text = (
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\r\n'
        f"<html><head>{head}</head>\r\n<body><div id='header'><h1>Server Error</h1></div>\r\n"
        f"<h2>{status} - {title}</h2></body></html>\r\n"
    )
    more = {"Proxy-Authenticate": 'Basic realm="proxy"'} if status == 407 else {}
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": _HTML, **more, **headers})


# `struct linger` with the linger switched on and no time: close() sends RST. Winsock's members are shorts.
_RESET_AT_ONCE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_DRIP_BYTES = 40
_DRIP_PAUSE = 0.005


class Ending(Enum):
    """How a connection ends."""

    FINISH = auto()
    """FIN: an orderly close after the last byte."""
    RESET = auto()
    """RST: an abortive close."""
    SILENCE = auto()
    """None, until the client disconnects."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The bytes sent before the end (`status` if they have a status line), and the end."""

    ending: Ending
    sent: bytes = b""
    status: int | None = None
    dripped: bool = False


class Gone(web.StreamResponse):
    """What a handler returns once it has closed the connection: aiohttp then writes nothing more."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - aiohttp's signature
        raise ConnectionResetError("ended on purpose")


def _answer(body: bytes, connection: str = "close") -> bytes:
    """The head of a success and the given part of its body."""
    head = f"Content-Type: {JSON}\r\nContent-Length: {len(_RESULT)}\r\nConnection: {connection}\r\n\r\n"
    return f"HTTP/1.1 200 OK\r\n{head}".encode() + body


_RESULT = b'{"resultType":0,"innerMessages":[],"exception":null,"actualObjectDN":null,"extraInfo":{}}'

BROKEN: Mapping[Fault, Broken] = MappingProxyType(
    {
        Fault.DROP_BEFORE: Broken(Ending.FINISH),
        Fault.DROP_AFTER: Broken(Ending.FINISH),
        Fault.RESET_BEFORE: Broken(Ending.RESET),
        Fault.RESET_AFTER: Broken(Ending.RESET),
        Fault.STALL_BEFORE: Broken(Ending.SILENCE),
        Fault.STALL: Broken(Ending.SILENCE),
        Fault.STALL_BODY: Broken(Ending.SILENCE, _answer(_RESULT[:20]), 200),
        Fault.TRUNCATED: Broken(Ending.FINISH, _answer(_RESULT[:20]), 200),
        Fault.GARBAGE: Broken(Ending.FINISH, b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
        Fault.ANSWER_THEN_CLOSE: Broken(Ending.FINISH, _answer(_RESULT, "keep-alive"), 200),
        Fault.DRIP: Broken(Ending.FINISH, _answer(_RESULT), 200, dripped=True),
    }
)


async def play(broken: Broken, request: web.BaseRequest) -> Gone:
    """Send the bytes and end the connection."""
    transport = request.transport
    if transport is None:
        return Gone()
    if broken.dripped:
        for start in range(0, len(broken.sent), _DRIP_BYTES):
            transport.write(broken.sent[start : start + _DRIP_BYTES])
            await asyncio.sleep(_DRIP_PAUSE)
    else:
        transport.write(broken.sent)
    if broken.ending is Ending.SILENCE:
        await _for_ever()
    end(transport, reset=broken.ending is Ending.RESET)
    return Gone()


async def _for_ever() -> None:
    """Wait to be cancelled, by aiohttp when the client disconnects or by the simulator when it stops."""
    await asyncio.get_running_loop().create_future()


def end(transport: asyncio.Transport, *, reset: bool = False) -> None:
    """Close a connection in order, or reset it."""
    if not reset:
        transport.close()
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the other side may have closed it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    transport.abort()
