"""TLS: whose certificates are believed.

Law: verification of certificate and host name is always on. Every file is read here, once, before the loop needs it.
"""

import ssl
import sys
from pathlib import Path

import truststore

from bulksms.errors import UsageError

_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, Red Hat
    "/etc/ssl/cert.pem",  # Alpine, Arch, BSD
    "/etc/ssl/ca-bundle.pem",  # SUSE
)


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that believes the operating system's authorities and, in addition, those of a PEM file.

    Blocks for some 20 ms to read them: call it off the loop. Raises UsageError for a file that cannot be used.
    On Windows and macOS the system itself verifies (truststore). Elsewhere the same store is a file that truststore
    would read anew for every connection, on the loop's thread, so it is read here once instead.
    `VERIFY_X509_STRICT`, on by default from Python 3.13, is left off: internal authorities often miss its demands.
    """
    if sys.platform in ("win32", "darwin"):
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_system_store(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        _load(context, ca_file)
    return context


def _load_system_store(context: ssl.SSLContext) -> None:
    context.set_default_verify_paths()
    if not context.get_ca_certs():
        found = next((store for store in _STORES if Path(store).is_file()), None)
        if found is not None:
            context.load_verify_locations(cafile=found)


def _load(context: ssl.SSLContext, ca_file: Path) -> None:
    hint = "Give a PEM file with the certificate of the authority that signed the server's certificate."
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise UsageError(f"{ca_file} holds no certificates in PEM form.", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{ca_file} cannot be read: {error.strerror}.", hint=hint) from error
