"""Whose certificates are believed, and what is said of a file that holds none."""

import ssl
from pathlib import Path

import pytest

from bulksms.adaxes import AccessToken, Client, ClientSettings, tls
from bulksms.errors import UsageError


def test_verification_is_on_and_old_protocols_are_off() -> None:
    context = tls.tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_a_file_adds_its_authority_to_the_systems(ca_file: Path) -> None:
    plain, added = tls.tls_context().get_ca_certs(), tls.tls_context(ca_file).get_ca_certs()
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
    monkeypatch.setattr(tls, "_STORES", (str(tmp_path / "none.pem"), str(ca_file)))
    assert len(tls.tls_context().get_ca_certs()) == 1
    monkeypatch.setattr(tls, "_STORES", ())
    assert not tls.tls_context().get_ca_certs()
