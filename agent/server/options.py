"""What can be chosen about the LAN server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.schema import Host, Options


class ServerOptions(Options):
    """`[server]`."""

    host: Host = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080  # 0: any free one
    access_token_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    refresh_token_days: Annotated[int, Field(ge=1, le=90)] = 7
    auth_wait_s: Annotated[float, Field(ge=0.1, le=60)] = 10.0  # for the token of a new WebSocket
    connections_max: Annotated[int, Field(ge=8, le=10_000)] = 500  # of any kind; more are closed at once
    clients_max: Annotated[int, Field(ge=1, le=2000)] = 200  # WebSockets
    client_backlog_kb_max: Annotated[int, Field(ge=64, le=65536)] = 1024  # beyond it: too slow
    exports_max: Annotated[int, Field(ge=1, le=32)] = 4  # at the same time
    stall_s_max: Annotated[float, Field(ge=0.1, le=600)] = 30.0  # an export that is not read on ends
