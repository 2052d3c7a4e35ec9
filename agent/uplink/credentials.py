"""Who we are to a centre: a token, basic credentials, a client certificate, or a token asked for at first.

Rules. Exactly one of the four ways is configured. Secrets are alone in files, read at every connection,
so that a new one needs no restart; no message ever holds one.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from agent.schema import FilePath, Options

SECRET_CHARS_MAX = 4096
SECRET_KEYS = (
    "token_file",
    "username_file",
    "password_file",
    "provision_key_file",
    "provision_secret_file",
)
WAYS = {
    "token_file": (),
    "username_file": ("password_file",),
    "cert_file": ("key_file",),
    "provision_key_file": ("provision_secret_file",),
}


class CredentialOptions(Options):
    """How an uplink to ThingsBoard authenticates, and whom it trusts."""

    token_file: FilePath | None = None
    username_file: FilePath | None = None
    password_file: FilePath | None = None
    client_id: Annotated[str, Field(max_length=64)] = ""
    tls: bool = False
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    provision_key_file: FilePath | None = None
    provision_secret_file: FilePath | None = None
    provision_name: Annotated[str, Field(max_length=255)] = ""

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        written = {name for name in self.model_fields_set if getattr(self, name)}
        ways = [way for way in WAYS if way in written]
        known = ", ".join(" with ".join((way, *beside)) for way, beside in WAYS.items())
        if len(ways) != 1:
            found = " and ".join(ways) or "none"
            raise ValueError(f"expected one way to authenticate ({known}), found {found}")
        (way,) = ways
        if missing := [name for name in WAYS[way] if name not in written]:
            raise ValueError(f"expected {missing[0]} beside {way}")
        stray = [name for other, names in WAYS.items() if other != way for name in names if name in written]
        if stray or ("provision_name" in written and way != "provision_key_file"):
            raise ValueError(f"{(stray or ['provision_name'])[0]}: has no meaning with {way}")
        if way == "cert_file" and not self.tls:
            raise ValueError("cert_file: expected tls = true beside it: without TLS it is never shown")
        return self


class Login(NamedTuple):
    """What CONNECT carries; None: nothing."""

    username: str | None
    password: str | None
    client_id: str | None


def login(options: CredentialOptions, provisioned: Path | None = None) -> Login:
    """What to connect with; `provisioned` is the token that the centre gave us. OSError: a file is bad."""
    client_id = options.client_id or None
    if options.username_file and options.password_file:
        return Login(secret(options.username_file), secret(options.password_file), client_id)
    if options.cert_file:
        return Login(None, None, client_id)
    token = options.token_file or provisioned
    if token is None:
        raise OSError("no credentials: the centre has given no token yet")
    return Login(secret(token), None, client_id)


def tls_context(options: CredentialOptions) -> ssl.SSLContext | None:
    """Trust in the system's authorities or `ca_file`, with our certificate if there is one; None: no TLS.

    OSError (SSLError is one) if a file is not what it should be. An encrypted key is: nobody could type
    its pass phrase.
    """
    if not options.tls:
        return None
    context = ssl.create_default_context(cafile=options.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.cert_file and options.key_file:
        context.load_cert_chain(options.cert_file, options.key_file, password="")
    return context


def certificate_faults(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with `cert_file` and `key_file` of an uplink's table, as key and text."""
    cert, key = table.get("cert_file"), table.get("key_file")
    if not isinstance(cert, str) or not isinstance(key, str):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield (
            "cert_file",
            f"expected a PEM certificate and, in key_file, its key without pass phrase: {reason}",
        )


def secret(file: Path) -> str:
    """The one line of a secret file. OSError says what is wrong with it, never what it holds."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not 1 <= len(text) <= SECRET_CHARS_MAX:
        raise OSError(f"{file}: expected one line of text with the secret")
    return text


def keep_private(file: Path, text: str) -> None:
    """Write `file` so that only we can read it, and so that a power cut leaves the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
