"""The context of a server that speaks TLS: 1.2 with forward secrecy, or 1.3."""

from __future__ import annotations

import ssl
from pathlib import Path

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1"


class TlsError(OSError):
    """Certificates that cannot be used; the text says which and why."""


def own_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context with the chain in `certificate`. OSError, or TlsError, if it cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        # Without a password function OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise TlsError(f"{certificate}, {key}: expected a certificate and its key in PEM: {error}") from error
    return context
