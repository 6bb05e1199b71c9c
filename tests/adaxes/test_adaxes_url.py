"""Base URLs and proxies as people write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulksms.adaxes import (
    AccessToken,
    Client,
    ClientSettings,
    is_loopback,
    parse_base_url,
    parse_proxy,
    proxy_for,
    without_password,
)
from bulksms.errors import UsageError

BASE = "https://host.example.com/restApi"


@pytest.mark.parametrize(
    ("written", "base"),
    [
        (BASE, BASE),
        (f"{BASE}/", BASE),
        (f"  {BASE}//\n", BASE),
        (f"{BASE}/api", BASE),
        (f"{BASE}/API/", BASE),
        (f"{BASE}/api/directoryObjects", BASE),
        (f"{BASE}/api/directoryObjects/sendSms", BASE),
        (f"{BASE}/api/directoryobjects/sendsms/", BASE),
        ("HTTPS://Host.Example.com:443/restApi", BASE),
        ("https://host.example.com", "https://host.example.com"),
        ("https://host.example.com/", "https://host.example.com"),
        ("https://host.example.com/api", "https://host.example.com"),
        ("https://host:8443/a/b/api/", "https://host:8443/a/b"),
        ("https://[::1]:9/restApi", "https://[::1]:9/restApi"),
        ("https://host/myapi", "https://host/myapi"),
        ("http://localhost:8080/restApi", "http://localhost:8080/restApi"),
        ("http://127.0.0.1/restApi", "http://127.0.0.1/restApi"),
        ("http://127.9.9.9:80/restApi", "http://127.9.9.9/restApi"),
        ("http://[::1]/restApi", "http://[::1]/restApi"),
    ],
)
def test_a_base_url_is_taken_with_what_people_copy_along(written: str, base: str) -> None:
    assert parse_base_url(written) == base
    assert parse_base_url(base) == base


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("host.example.com/restApi", "https://"),
        ("//host/restApi", "https://"),
        ("ftp://host/restApi", "ftp"),
        ("http://host.example.com/restApi", "http://"),
        ("http://localhost.example.com/restApi", "http://"),
        ("https://me:geheim@host/restApi", "password"),
        ("https://me@host/restApi", "password"),
        ("https://host/restApi?x=1", "?"),
        ("https://host/restApi#x", "#"),
        ("https://host/restApi?", "?"),
        ("https://", "host"),
        ("https:///restApi", "host"),
        ("https://host:port/restApi", "port"),
        ("https://host:99999/restApi", "port"),
        ("https://[::1/restApi", "host"),
        ("https://adaxes..müller.de/restApi", "host"),
        ("https://adaxes..example.com/restApi", "host"),
        (f"https://{'ü' * 64}.de/restApi", "host"),
        (f"https://{'x' * 64}.de/restApi", "host"),
        ("https://.¡/restApi", "host"),
        ("https://host/rest api", "blank"),
        ("https://host\\restApi", "backslash"),
        ("https://host/\x00", "control"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused_with_the_right_form(written: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_base_url(written)
    assert word in str(caught.value)
    assert caught.value.hint is not None
    assert "https://" in caught.value.hint
    assert "geheim" not in str(caught.value) + caught.value.hint


def test_plain_http_to_another_machine_needs_the_switch() -> None:
    assert parse_base_url("http://host/restApi/", insecure_http=True) == "http://host/restApi"


@example("https://adaxes..müller.de/restApi", False)
@example("ü" * 64, True)
@given(st.text(max_size=40) | st.text("htps:/@[]?#%.0189aü\xad", max_size=20), st.booleans())
def test_any_text_is_a_base_url_or_a_usage_error(text: str, prefixed: bool) -> None:
    try:
        base = parse_base_url(f"https://{text}" if prefixed else text)
    except UsageError:
        return
    assert parse_base_url(base) == base
    assert repr(Client(ClientSettings(base), AccessToken("t"))) == f"Client({base!r})"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("adaxes.localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.3", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - is only looked at
        ("128.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("environ", "base", "proxy"),
    [
        ({}, BASE, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, BASE, "http://proxy:3128"),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, BASE, "http://lower:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://upper:1"}, BASE, "http://upper:1"),
        ({"HTTP_PROXY": "http://proxy:3128"}, BASE, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://host/restApi", "http://proxy:3128"),
        ({"ALL_PROXY": "proxy:3128"}, BASE, "http://proxy:3128"),
        ({"ALL_PROXY": "proxy:1", "HTTPS_PROXY": "proxy:2"}, BASE, "http://proxy:2"),
        ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "*"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "host.example.com"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "other,.Example.com"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "example.com"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "*.example.com"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "ample.com"}, BASE, "http://proxy:1"),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "host.example.com:443"}, BASE, None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "host.example.com:8443"}, BASE, "http://proxy:1"),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "10.0.0.0/8 192.168.0.1"}, "https://10.1.2.3/x", None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "10.0.0.0/8"}, "https://11.1.2.3/x", "http://proxy:1"),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "[fd00::1]:443"}, "https://[fd00::1]/x", None),
        ({"HTTPS_PROXY": "proxy:1", "no_proxy": "fd00::/8"}, "https://[fd00::1]/x", None),
        ({"ALL_PROXY": "proxy:1"}, "http://localhost:8080/restApi", None),
        ({"ALL_PROXY": "proxy:1"}, "https://127.0.0.1/restApi", None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], base: str, proxy: str | None) -> None:
    assert proxy_for(base, environ) == proxy


@pytest.mark.parametrize(
    ("written", "proxy"),
    [
        ("proxy", "http://proxy"),
        ("proxy:3128", "http://proxy:3128"),
        ("http://Proxy:3128/", "http://proxy:3128"),
        ("http://me:p%40ss@proxy:3128", "http://me:p%40ss@proxy:3128"),
        ("me:pass@proxy", "http://me:pass@proxy"),
    ],
)
def test_a_proxy_is_taken_with_or_without_scheme(written: str, proxy: str) -> None:
    assert parse_proxy(written) == proxy


@pytest.mark.parametrize(
    "written",
    [
        "",
        "socks5://me:geheim@proxy:1080",
        "http://me:geheim@proxy:x",
        "http://",
        "http://me:geheim@proxy..müller.de:3128",
        f"http://me:geheim@{'ü' * 64}:3128",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_proxy(written)
    assert "geheim" not in str(caught.value) + str(caught.value.hint)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:geheim@proxy:3128", "http://***@proxy:3128"),
        ("http://me@proxy", "http://***@proxy"),
        ("http://me:ge@heim@proxy", "http://***@proxy"),
        ("http://proxy:3128/a@b", "http://proxy:3128/a@b"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, shown: str) -> None:
    assert without_password(url) == shown
