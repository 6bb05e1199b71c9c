"""Whose certificates are believed, and how a bad one, a bad file and a broken handshake are described."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from bulksms.adaxes import AccessToken, Client, ClientSettings, endpoint, hint_for
from bulksms.errors import UsageError
from bulksms.model.attempt import Failure
from tests.adaxes.harness import answer_once, fin_at_once, one_send, rst_at_once

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adaxes.harness import Certify, Connection, Listen, Script


def test_verification_is_on_and_old_protocols_are_off() -> None:
    context = endpoint.tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_file_adds_its_authority_to_the_systems(ca_file: Path) -> None:
    plain, added = endpoint.tls_context().get_ca_certs(), endpoint.tls_context(ca_file).get_ca_certs()
    assert len(added) == len(plain) + 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x30\x82\x00"])
async def test_a_file_without_certificates_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"authority\.pem") as caught:
        async with Client(ClientSettings("https://localhost/restApi", ca_file=path), AccessToken("t")):
            pass
    assert caught.value.hint is not None


def test_where_the_library_knows_no_store_a_usual_one_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ca_file: Path
) -> None:
    """As with a Python whose OpenSSL was built for another system."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(endpoint, "_STORES", (str(tmp_path / "none.pem"), str(ca_file)))
    assert len(endpoint.tls_context().get_ca_certs()) == 1
    monkeypatch.setattr(endpoint, "_STORES", ())
    assert not endpoint.tls_context().get_ca_certs()


async def test_an_authority_of_our_own_is_believed_with_its_file(
    listen: Listen, tls: ssl.SSLContext, ca_file: Path
) -> None:
    peer = await listen(answer_once, ssl=tls)
    attempt = await one_send(peer.secure_base, ca_file=ca_file)
    assert (attempt.failure, attempt.status) == (None, 200)


@pytest.mark.parametrize(
    ("shown", "knows_authority", "words", "hint"),
    [
        ({}, False, "is not trusted", "--ca-file"),
        (
            {"name": "adaxes.example.com"},
            True,
            "is for another host name",
            "Use a host name that the certificate names",
        ),
        ({"days": -1}, True, "has expired", "renewed"),
        ({"begins_in": 2}, True, "is not valid yet", "clocks"),
        ({"is_self_signed": True}, True, "is self-signed", "--ca-file"),
    ],
    ids=["untrusted", "other-host", "expired", "not-yet", "self-signed"],
)
async def test_a_bad_certificate_is_described_with_what_to_do_and_nothing_left(
    listen: Listen,
    certify: Certify,
    ca_file: Path,
    *,
    shown: dict[str, object],
    knows_authority: bool,
    words: str,
    hint: str,
) -> None:
    peer = await listen(answer_once, ssl=certify(**shown))
    attempt = await one_send(peer.secure_base, ca_file=ca_file if knows_authority else None)
    assert (attempt.failure, attempt.headers_sent) == (Failure.BAD_CERTIFICATE, False)
    assert words in (attempt.detail or "")
    assert hint in (hint_for(attempt) or "")
    assert not peer.received


async def test_tls_to_a_plain_port_is_a_broken_handshake(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        await connection.reader.read(100)
        connection.answer(b"", "400 Bad Request")

    peer = await listen(script)
    attempt = await one_send(peer.secure_base)
    assert (attempt.failure, attempt.headers_sent) == (Failure.TLS_HANDSHAKE, False)


@pytest.mark.parametrize("script", [fin_at_once, rst_at_once])
async def test_a_connection_closed_in_the_handshake_never_left(listen: Listen, script: Script) -> None:
    peer = await listen(script)
    attempt = await one_send(peer.secure_base)
    assert (attempt.failure, attempt.headers_sent) == (Failure.TLS_HANDSHAKE, False)


async def test_a_handshake_that_stalls_is_a_connect_timeout(listen: Listen) -> None:
    async def script(connection: Connection) -> None:
        while await connection.reader.read(65536):
            pass

    peer = await listen(script)
    attempt = await one_send(peer.secure_base, 0.3)
    assert (attempt.failure, attempt.headers_sent) == (Failure.CONNECT_TIMEOUT, False)
