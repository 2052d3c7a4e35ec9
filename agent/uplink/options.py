"""What can be chosen about any uplink."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.schema import Host, Name, Options, Port


class DeliveryOptions(Options):
    """The keys that every `[[uplink]]` has."""

    name: Name
    host: Host
    port: Port = 1883
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 60
    puback_timeout_s: Annotated[float, Field(ge=0.5, le=120)] = 10.0
    inflight_max: Annotated[int, Field(ge=1, le=1000)] = 80
    batch_readings_max: Annotated[int, Field(ge=1, le=10_000)] = 1000
    message_bytes_max: Annotated[int, Field(ge=1024, le=65_536)] = 60_000
    linger_ms: Annotated[int, Field(ge=0, le=1000)] = 50
    retry_s_max: Annotated[float, Field(ge=1, le=3600)] = 10.0
    backlog: Literal["oldest", "newest"] = "oldest"
    backlog_delay_s_max: Annotated[float, Field(ge=0, le=3600)] = 10.0
    messages_per_s_max: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    values_per_s_max: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    standby_for: Name | None = None
    takeover_s: Annotated[float, Field(ge=5, le=86_400)] = 60.0
    on_return: Literal["resend", "skip"] = "resend"
