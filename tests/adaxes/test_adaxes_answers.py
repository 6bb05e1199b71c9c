"""Answers of the API, read leniently: tables of status, header and body (aioresponses), and properties of any body."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest
from aioresponses import aioresponses
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from bulksms.adaxes import AccessToken, Client, ClientSettings, Poll, wire
from bulksms.adaxes.errors import describe_error
from bulksms.model.attempt import ApiError, Attempt, Failure, OperationResult, ResultType

BASE = "http://localhost/restApi"
RECIPIENT = "CN=Smith\\, John,CN=Users,DC=example,DC=com"
TEXT = 'Alarm "Halle 3" ä\nbitte räumen'
TOKEN = "T0ken+/=secret"
SUCCEEDED, FAILED, SUSPENDED = ResultType


async def answered(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Attempt:
    with aioresponses() as mocked:
        mocked.post(f"{BASE}/api/directoryObjects/sendSms", status=status, body=body, headers=headers)
        async with Client(ClientSettings(BASE), AccessToken(TOKEN)) as client:
            return await client.send(RECIPIENT, TEXT)


async def polled(body: bytes, status: int = 200) -> Poll:
    with aioresponses() as mocked:
        mocked.get(f"{BASE}/api/runningOperations/a-1", status=status, body=body)
        async with Client(ClientSettings(BASE), AccessToken(TOKEN)) as client:
            return await client.poll("a-1")


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"resultType": 0}', OperationResult(SUCCEEDED)),
        (b'\xef\xbb\xbf {"resultType": 0}\r\n', OperationResult(SUCCEEDED)),
        (b'{"resultType": "0"}', OperationResult(SUCCEEDED)),
        (b'{"resultType": "Succeeded", "newMember": [1]}', OperationResult(SUCCEEDED)),
        (b'{"resultType": "success"}', OperationResult(SUCCEEDED)),
        (b'{"resultType": "2", "exception": null}', OperationResult(SUSPENDED)),
        (b'{"resultType": "SUSPENDED"}', OperationResult(SUSPENDED)),
        (b'{"resultType": 1, "exception": {"message": " No  number. "}}', OperationResult(FAILED, "No number.")),
        (b'{"resultType": "failed", "exception": "No number."}', OperationResult(FAILED, "No number.")),
        (b'{"resultType": 1}', OperationResult(FAILED)),
        (
            b'{"resultType": 1, "innerMessages": [{"messageType": 0, "text": "No number."}]}',
            OperationResult(FAILED, "No number.", ("No number.",)),
        ),
        (b'{"resultType": 0, "actualObjectDN": "CN=a"}', OperationResult(SUCCEEDED, object_dn="CN=a")),
        (b'{"resultType": 0, "actualObjectDN": 7}', OperationResult(SUCCEEDED)),
    ],
)
async def test_an_operation_result_is_read_however_its_enumerations_are_written(
    body: bytes, result: OperationResult
) -> None:
    attempt = await answered(body)
    assert (attempt.result, attempt.snippet, attempt.failure, attempt.headers_sent) == (result, None, None, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"0",
        b'"ok"',
        b"{}",
        b'{"resultType": true}',
        b'{"resultType": 0.0}',
        b'{"resultType": null}',
        b'{"resultType": 3}',
        b'{"resultType": -1}',
        b'{"resultType": "perhaps"}',
        b'{"resultType": 0',
        b'{"message": "hello"}',
        b"<html><title>Log in</title></html>",
        b"[" * 60_000,
        b"\xff\xfe{\x00",
    ],
)
async def test_anything_else_is_no_result(body: bytes) -> None:
    attempt = await answered(body)
    assert (attempt.status, attempt.failure, attempt.result, attempt.api_error) == (200, None, None, None)


def test_nested_errors_and_warnings_are_flattened_each_text_once() -> None:
    def message(kind: object, text: object, *inner: object) -> dict[str, object]:
        return {"source": None, "text": text, "messageType": kind, "innerMessages": list(inner)}

    value = {
        "resultType": 0,
        "innerMessages": [
            message(2, "information", message(1, "deep warning", message("Error", "deeper\terror"))),
            message("1", "deep warning"),
            message(3, "triggered", message("WARNING", "second")),
            message(1, ""),
            message(1, None),
            message(6, "audit"),
            "no message",
        ],
    }
    result = wire.operation_result(value)
    assert result == OperationResult(SUCCEEDED, None, ("deep warning", "deeper error", "second"))


def test_warnings_are_bounded_in_number_and_length() -> None:
    inner = [{"text": f"{number} " + "x" * 9999, "messageType": 1} for number in range(500)]
    result = wire.operation_result({"resultType": 0, "innerMessages": inner})
    assert result is not None
    assert len(result.warnings) == 20
    assert all(len(warning) <= 500 for warning in result.warnings)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"message": "No rights.", "code": "accessDenied"}', ApiError("No rights.", "accessDenied")),
        (b'{"message": "Oops", "code": null, "modelState": {}}', ApiError("Oops")),
        (
            b"""{"message": "Invalid.", "code": "badRequest",
                "modelState": {"text": ["is too long", 7], "directoryObject": "is none"}}""",
            ApiError("Invalid. | text: is too long | directoryObject: is none", "badRequest"),
        ),
        (
            b'{"message": "Failed.", "code": "x", "innerError": {"message": "Because.", "code": "y"}}',
            ApiError("Failed. | Because.", "x"),
        ),
    ],
)
async def test_the_apis_error_is_read_with_all_its_words(body: bytes, error: ApiError) -> None:
    attempt = await answered(body, 400)
    assert (attempt.api_error, attempt.status, attempt.snippet) == (error, 400, None)


@pytest.mark.parametrize("body", [b'{"message": "gateway"}', b'{"code": "x"}', b'{"message": 7, "code": "x"}'])
async def test_what_gateways_write_as_well_is_no_error_of_the_api(body: bytes) -> None:
    attempt = await answered(body, 403)
    assert attempt.api_error is None
    assert attempt.snippet == body.decode()


@pytest.mark.parametrize(
    ("body", "operation_id"),
    [
        (b'"7a4267ce-d354"', "7a4267ce-d354"),
        (b'{"operationId": " abc "}', "abc"),
        (b'{"id": "abc"}', "abc"),
        (b'{"id": 17}', "17"),
        (b'{"operationId": null, "id": "abc"}', "abc"),
        (b'{"id": true}', None),
        (b'{"id": ""}', None),
        (b'{"id": "a\\nb"}', None),
        (b'{"id": {"x": 1}}', None),
        (b'"' + b"x" * 201 + b'"', None),
        (b"abc", None),
        (b"", None),
    ],
)
async def test_a_202_names_its_operation_or_does_not(body: bytes, operation_id: str | None) -> None:
    assert (await answered(body, 202)).operation_id == operation_id
    assert (await answered(body, 201)).operation_id is None


@pytest.mark.parametrize(
    ("body", "completed", "result"),
    [
        (b'{"completed": false, "operationResult": null}', False, None),
        (b'{"completed": true, "operationResult": {"resultType": 0}}', True, OperationResult(SUCCEEDED)),
        (b'{"completed": true, "operationResult": null}', True, None),
        (b'{"completed": true}', True, None),
        (b'{"resultType": 2}', True, OperationResult(SUSPENDED)),
        (b'{"completed": "yes"}', None, None),
        (b"[]", None, None),
        (b"<html>", None, None),
    ],
)
async def test_a_poll_says_whether_the_operation_is_completed(
    body: bytes, completed: bool | None, result: OperationResult | None
) -> None:
    poll = await polled(body)
    assert (poll.completed, poll.attempt.result) == (completed, result)


async def test_a_poll_for_an_unknown_operation_is_a_404() -> None:
    poll = await polled(b'{"message": "There is none.", "code": "notFound"}', 404)
    assert (poll.completed, poll.attempt.status) == (None, 404)


async def test_an_operation_id_is_one_segment_of_the_path() -> None:
    with aioresponses() as mocked:
        url = URL(f"{BASE}/api/runningOperations/..%2Fa%3Fb%20c", encoded=True)
        mocked.get(url, body=b'{"completed": false}')
        async with Client(ClientSettings(BASE), AccessToken(TOKEN)) as client:
            assert (await client.poll("../a?b c")).completed is False


NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("99999999999", 86_400.0),
        ("9" * 500, None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 +0000", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 23:59:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
        ("\u0667", None),
    ],
)
def test_retry_after_is_seconds_from_now_and_never_insane(header: str | None, seconds: float | None) -> None:
    assert wire.retry_after(header, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_makes_an_exception(header: str) -> None:
    seconds = wire.retry_after(header, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


async def test_a_retry_after_is_in_the_attempt() -> None:
    attempt = await answered(b"", 503, {"Retry-After": "12"})
    assert (attempt.status, attempt.retry_after) == (503, 12.0)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00.1234567Z", datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T02:00:00.5+02:00", datetime(2026, 1, 1, 0, 0, 0, 500000, UTC)),
        ("2026-13-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+02:00", None),
        ("tomorrow", None),
        (None, None),
        (7, None),
    ],
)
def test_the_time_of_expiry_is_read_with_seven_digits(text: object, moment: datetime | None) -> None:
    assert wire.expiry(text) == moment


# --- charsets and pages ------------------------------------------------------------------------------------

GERMAN = '{"message": "Zugriff verweigert für Müller (5 €)", "code": "accessDenied"}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (GERMAN.encode(), None),
        (GERMAN.encode(), "application/json"),
        (GERMAN.encode(), "application/json; charset=utf-8"),
        (GERMAN.encode("utf-8-sig"), "application/json; charset=iso-8859-1"),
        (GERMAN.encode("utf-16"), "application/json"),
        (GERMAN.encode("utf-16-be"), "application/json; charset=utf-16be"),
        (GERMAN.encode("cp1252"), None),
        (GERMAN.encode("cp1252"), "application/json; charset=iso-8859-1"),
        (GERMAN.encode("cp1252"), 'application/json; charset="Windows-1252"'),
        (GERMAN.encode("cp1252"), "application/json; charset=utf-8"),
        (GERMAN.encode("cp1252"), "application/json; charset=none-such"),
        (GERMAN.encode("cp1252"), "application/json; charset=zlib"),
        (GERMAN.encode("cp1258"), "application/json; charset=windows-1258"),
    ],
)
async def test_an_error_is_read_in_the_charset_that_it_was_written_in(body: bytes, content_type: str | None) -> None:
    attempt = await answered(body, 403, {"Content-Type": content_type} if content_type else None)
    assert attempt.api_error == ApiError("Zugriff verweigert für Müller (5 €)", "accessDenied")


@given(st.binary(max_size=200), st.text(max_size=40), st.booleans())
@example(b"\xfe\xff\xd8", "utf-7", True)
@example(b"+2AA-", "utf-7", True)
@example(b"\x81\xff", "undefined", True)
def test_every_body_becomes_utf_8(body: bytes, announced: str, is_charset: bool) -> None:
    content_type = f"text/html; charset={announced}" if is_charset else announced
    wire.to_utf8(body, content_type).decode()


HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize("status", [200, 202, 400, 403, 404, 500, 503])
@pytest.mark.parametrize(
    ("body", "content_type", "is_page"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", HTML, True),
        (b"\xef\xbb\xbf\r\n <html>", None, True),
        ("<html>".encode("utf-16"), None, True),
        (b'<?xml version="1.0"?><error/>', "application/xml", True),
        (b"Request Too Long", "text/plain", True),
        (b"Your session has ended", HTML, True),
        (b"", HTML, False),
        (b" \r\n", HTML, False),
        (b"null", HTML, False),
        (b"{}", HTML, False),
        (b'{"resultType": 0}', HTML, False),
        (b'{"message": "no", "code": "x"}', HTML, False),
        (b'{"resultType": 0', HTML, False),
        (b'{"resultType": 0', "application/json", False),
        (b'{"error": "gateway"}', "application/json", False),
        (b"\x00\x01\x02", "application/octet-stream", False),
    ],
)
async def test_a_page_for_people_differs_from_the_apis_json(
    status: int, body: bytes, content_type: str | None, is_page: bool
) -> None:
    attempt = await answered(body, status, {"Content-Type": content_type} if content_type else None)
    assert attempt.is_page is is_page
    assert attempt.is_from_api == (body.startswith((b'{"resultType": 0}', b'{"message')))


# --- snippets and secrets ----------------------------------------------------------------------------------

IIS = b"""<!DOCTYPE html><html><head><title>503 - Service&nbsp;Unavailable</title>
<style type="text/css"><!-- body{margin:0} --></style><script>var a = "<b>";</script></head>
<body><h2>The service is\tunavailable.</h2><!-- secret --></body></html>"""


async def test_a_web_servers_page_becomes_one_readable_line() -> None:
    attempt = await answered(IIS, 503)
    assert attempt.snippet == "503 - Service Unavailable The service is unavailable."


async def test_a_title_that_the_page_repeats_is_reported_once() -> None:
    attempt = await answered(IIS.replace(b"The service is", b"Server Error</h2><h2>503 - Service Unavailable;"), 503)
    assert attempt.snippet == "Server Error 503 - Service Unavailable; unavailable."
    attempt = await answered(b"<title>Bad  Gateway</title><h1>Bad\nGateway</h1><p>nginx", 502)
    assert attempt.snippet == "Bad Gateway nginx"


ECHOES = [
    f"{RECIPIENT} {TEXT} {TOKEN}",
    msgspec.json.encode({"error": [RECIPIENT, TEXT, TOKEN]}).decode(),
    "<p>CN=Smith\\, John,CN=Users,DC=example,DC=com</p><p>Alarm &quot;Halle 3&quot; &auml;<br>bitte</p>",
    "/api?directoryObject=CN%3DSmith%5C%2C%20John%2CCN%3DUsers%2CDC%3Dexample%2CDC%3Dcom&t=T0ken%2B%2F%3Dsecret",
    "<title>" + TOKEN + "</title>" + "x" * 10_000,
    '{"message": "token T0ken+/=secret of", "code": "T0ken+/=secret", "modelState": {"T0ken+/=secret": "a"}}',
    '{"resultType": 1, "exception": {"message": "token T0ken\\u002b/=secret is bad"}}',
    '{"resultType": 0, "innerMessages": [{"messageType": 1, "text": "T0ken+\\/=secret"}]}',
]


@pytest.mark.parametrize("status", [200, 202, 400, 503])
@pytest.mark.parametrize("body", ECHOES)
async def test_nothing_secret_comes_back_out_of_an_echo(body: str, status: int) -> None:
    attempt = await answered(body.encode(), status)
    assert "secret" not in repr(attempt)
    assert "Smith" not in repr(attempt)


MEMBERS = st.fixed_dictionaries(
    {"resultType": st.sampled_from([0, 1, 2, "0", "succeeded", False, 0.0, None])},
    optional={
        "exception": st.sampled_from([None, "no", {"message": "no"}, {}]),
        "innerMessages": st.sampled_from([None, [], [{"messageType": 1, "text": "slow"}], "none", [None]]),
        "actualObjectDN": st.sampled_from([None, "", "CN=a,DC=x", 7]),
        "extraInfo": st.sampled_from([None, {}, [1, {"a": "ä"}], "\U0001f642"]),
        "other": st.integers(),
    },
)


@given(MEMBERS, st.tuples(st.integers(0, 200), st.sampled_from([b"", b"\xff", b"9e999", b",", b"[", b"\xef\xbb\xbf"])))
@example({"resultType": 0}, (0, b"\xef\xbb\xbf"))
def test_a_plain_success_reads_as_if_it_was_looked_at_closely(members: object, broken: tuple[int, bytes]) -> None:
    written = msgspec.json.encode(members)
    at, what = broken
    for body in (written, written[:at] + what + written[at:]):
        assert wire.read_answer(200, body) == wire.parse_lenient(200, body)


@pytest.mark.parametrize("extra", [b'"\xff"', b"9e999", b"{", b'"\\ud800"', b"[" * 5_000 + b"]" * 5_000])
@pytest.mark.parametrize("name", [b"extraInfo", b"other"])
def test_a_success_with_something_unreadable_in_it_is_none(name: bytes, extra: bytes) -> None:
    body = b'{"resultType":0,"' + name + b'":' + extra + b"}"
    assert wire.read_answer(200, body) == wire.parse_lenient(200, body)
    assert wire.read_answer(200, body).result is None


@given(st.binary(max_size=300), st.sampled_from([200, 202, 400, 503]))
@example(b'{"resultType":' + b"9" * 400 + b"}", 200)
@example(b'"\\ud800"', 202)
@example(b'{"innerMessages": {"a": 1}, "resultType": 0}', 200)
def test_no_body_makes_an_exception_and_what_is_kept_is_short_and_printable(body: bytes, status: int) -> None:
    reading = wire.read_answer(status, body, TOKEN, (RECIPIENT, TEXT))
    kept = [reading.snippet or "", reading.operation_id or ""]
    if reading.api_error is not None:
        kept += [reading.api_error.message, reading.api_error.code or ""]
    assert all(text.isprintable() and len(text) <= 500 for text in kept)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=8) | st.sampled_from(["Error", "1", "id"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("resultType", "exception", "message", "code", "innerMessages", "messageType", "text", "id"),
                    *("modelState", "innerError", "operationId", "actualObjectDN", "completed", "operationResult"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([200, 202, 400]))
def test_no_shape_of_json_makes_an_exception(value: object, status: int) -> None:
    reading = wire.read_answer(status, msgspec.json.encode(value))
    lines = [reading.result, reading.api_error, reading.operation_id]
    assert sum(one is not None for one in lines) <= 1


PLAIN = st.characters(exclude_categories=["Cs"], exclude_characters="<&…\N{REPLACEMENT CHARACTER}")


@given(st.text(PLAIN, min_size=1, max_size=30).filter(str.strip), st.text(PLAIN, max_size=300))
@example("Smith\n", "  Smith ")
@example("aa", "a")
def test_a_snippet_never_holds_the_text_that_was_sent(text: str, around: str) -> None:
    shown = wire.snippet(f"{around} {text} {around}".encode(), (text,)) or ""
    assert text not in shown
    assert len(shown) <= 200


# --- exceptions of the library -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (aiohttp.ServerDisconnectedError(), Failure.DISCONNECTED),
        (aiohttp.ClientConnectionResetError("x"), Failure.DISCONNECTED),
        (aiohttp.ClientOSError(104, "reset"), Failure.DISCONNECTED),
        (OSError(5, "i/o"), Failure.DISCONNECTED),
        (aiohttp.ConnectionTimeoutError(), Failure.CONNECT_TIMEOUT),
        (TimeoutError(), Failure.CONNECT_TIMEOUT),
        (aiohttp.InvalidURL("x"), Failure.BAD_URL),
        (aiohttp.NonHttpUrlClientError("x"), Failure.BAD_URL),
        (ValueError("label too long"), Failure.BAD_URL),
        (aiohttp.ClientPayloadError("x"), Failure.DISCONNECTED),
        (aiohttp.ClientError(f"{TOKEN} {RECIPIENT}"), Failure.MALFORMED),
    ],
)
async def test_what_the_library_raises_is_a_failure_with_harmless_words(error: Exception, failure: Failure) -> None:
    with aioresponses() as mocked:
        mocked.post(f"{BASE}/api/directoryObjects/sendSms", exception=error)
        async with Client(ClientSettings(BASE), AccessToken(TOKEN)) as client:
            attempt = await client.send(RECIPIENT, TEXT)
    assert (attempt.failure, attempt.status, attempt.headers_sent) == (failure, None, False)
    assert attempt.detail
    assert TOKEN not in repr(attempt)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ServerDisconnectedError(), "the server closed the connection without an answer"),
        (aiohttp.ConnectionTimeoutError(), "no connection in time"),
        (aiohttp.SocketTimeoutError(), "no answer in time"),
        (TimeoutError(), "the time was up"),
    ],
)
def test_what_people_are_reported_names_no_exception(error: Exception, words: str) -> None:
    assert describe_error(error) == words


async def test_an_internal_error_of_ours_is_no_attempt() -> None:
    with aioresponses() as mocked:
        mocked.post(f"{BASE}/api/directoryObjects/sendSms", exception=RuntimeError("a bug"))
        async with Client(ClientSettings(BASE), AccessToken(TOKEN)) as client:
            with pytest.raises(RuntimeError):
                await client.send(RECIPIENT, TEXT)


async def test_a_client_that_was_not_entered_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Client(ClientSettings(BASE), AccessToken(TOKEN)).send(RECIPIENT, TEXT)
    async with asyncio.timeout(1):
        await Client(ClientSettings(BASE), AccessToken(TOKEN)).__aexit__(None, None, None)
