"""`[[outlet]]`: the ways out for alarms, as the configuration names them.

What they do, and the libraries for it, are loaded by who has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from agent.alarms.alarm import Change, Priority
from agent.schema import FilePath, Host, Name, Options, Port

AnyChange = Annotated[Change, Field(strict=False)]


class OutletOptions(Options):
    """What every `[[outlet]]` has: alarms of `priority` and more urgent ones, and which changes of them."""

    name: Name
    priority: Annotated[Priority, Field(strict=False)] = Priority.LOW
    changes: Annotated[list[AnyChange], Field(min_length=1, max_length=9)] = Field(
        default_factory=lambda: [Change.RAISED, Change.HELD, Change.CLEARED, Change.ACKNOWLEDGED]
    )


class WebhookOptions(OutletOptions):
    """`[[outlet]]` with `kind = "webhook"`."""

    kind: Literal["webhook"]
    url: Annotated[str, Field(max_length=2048)]
    secret_file: FilePath
    ca_file: FilePath | None = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.username:
            text = "expected an address like https://example.org/alarms, without a password"
            raise ValueError(text)
        return url


def _mailbox(text: str) -> str:
    from email.headerregistry import Address  # noqa: PLC0415 - a grammar of 2 MB, for who sends mail

    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError):
        address = Address()
    if not address.username or not address.domain or not text.isascii() or not text.isprintable():
        raise ValueError(f"expected an address like ana@example.org, found {text!r}")
    return text


Mailbox = Annotated[str, Field(max_length=254), AfterValidator(_mailbox)]


class MailOptions(OutletOptions):
    """`[[outlet]]` with `kind = "mail"`."""

    kind: Literal["mail"]
    host: Host
    port: Port = 587
    security: Literal["starttls", "tls", "off"] = "starttls"
    user: Annotated[str, Field(max_length=254)] = ""
    password_file: FilePath | None = None
    ca_file: FilePath | None = None
    sender: Mailbox
    to: Annotated[list[Mailbox], Field(min_length=1, max_length=50)]
    gather_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    pause_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("expected both user and password_file, or neither")
        if self.user and self.security == "off" and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError('expected security = "starttls" or "tls": the password would be read on the way')
        return self


class CentreOptions(OutletOptions):
    """`[[outlet]]` with `kind = "thingsboard"`: by the REST side of `uplink`; off while it has none."""

    kind: Literal["thingsboard"]
    uplink: Name


def outlet_faults(
    outlets: Iterable[tuple[str, Mapping[str, Any]]], uplinks: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """What is wrong between outlets (key path and table) and uplinks, as key path and text."""
    centres = [str(each.get("name")) for each in uplinks if each.get("kind") == "thingsboard"]
    for path, outlet in outlets:
        wanted = outlet.get("uplink")
        if outlet.get("kind") == "thingsboard" and isinstance(wanted, str) and wanted not in centres:
            known = ", ".join(centres) or "none"
            yield f"{path}.uplink", f"expected an uplink to a ThingsBoard ({known}), found {wanted!r}"
        if outlet.get("ca_file") and (
            outlet.get("security") == "off" or str(outlet.get("url", "https:")).startswith("http:")
        ):
            yield f"{path}.ca_file", "expected TLS beside it: without TLS it is never used"


AnyOutlet = Annotated[WebhookOptions | MailOptions | CentreOptions, Field(discriminator="kind")]
