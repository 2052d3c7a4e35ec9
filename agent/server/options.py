"""What can be chosen about the LAN server."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.schema import FilePath, Host, Options
from agent.server.identity.permissions import Role


class ServerOptions(Options):
    """`[server]`."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080  # 0: any free one
    tls: Literal["auto", "on", "off"] = "auto"  # auto: HTTPS unless only this box can reach it
    tls_names: Annotated[list[Host], Field(max_length=32)] = Field(default_factory=list)
    tls_cert_file: FilePath | None = None
    tls_key_file: FilePath | None = None
    mdns: bool = True  # announce the box as _uicps._tcp, if others than the box can reach it
    totp_required: Annotated[list[Annotated[Role, Field(strict=False)]], Field(max_length=3)] = Field(
        default_factory=list
    )
    audit_entries_max: Annotated[int, Field(ge=1000, le=10_000_000)] = 100_000
    audit_days_max: Annotated[int, Field(ge=1, le=3650)] = 365
    access_token_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    refresh_token_days: Annotated[int, Field(ge=1, le=90)] = 7
    auth_wait_s: Annotated[float, Field(ge=0.1, le=60)] = 10.0  # for the token of a new WebSocket
    connections_max: Annotated[int, Field(ge=8, le=10_000)] = 500  # of any kind; more are closed at once
    head_wait_s: Annotated[float, Field(ge=0.1, le=120)] = 15.0  # for the head of a request
    body_wait_s: Annotated[float, Field(ge=0.1, le=120)] = 15.0  # for its body
    clients_max: Annotated[int, Field(ge=1, le=2000)] = 200  # WebSockets
    client_backlog_kb_max: Annotated[int, Field(ge=64, le=65536)] = 1024  # beyond it: too slow
    exports_max: Annotated[int, Field(ge=1, le=32)] = 4  # at the same time
    stall_s_max: Annotated[float, Field(ge=0.1, le=600)] = 30.0  # an export that is not read on ends

    @model_validator(mode="after")
    def _is_a_pair(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("expected both tls_cert_file and tls_key_file, or neither")
        return self

    @property
    def https(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls == "on" or (self.tls == "auto" and not is_loopback(self.host))


def is_loopback(host: str) -> bool:
    """Whether only this box can reach `host`. A name but localhost may be anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
