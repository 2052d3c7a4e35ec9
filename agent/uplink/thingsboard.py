"""ThingsBoard's gateway API over MQTT: its options, its topics, its way of saying who speaks."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import aiomqtt
import orjson

from agent.model import Reading
from agent.store import Store
from agent.uplink import payload
from agent.uplink.credentials import CredentialOptions, Login, login, tls_context
from agent.uplink.message import Message
from agent.uplink.mqtt import Session
from agent.uplink.options import DeliveryOptions
from agent.uplink.patience import PATIENT, Patience
from agent.uplink.provision import USER, provision
from agent.uplink.rest_options import RestOptions
from agent.uplink.uplink import Uplink

AGENT_DEVICE = "agent"  # the agent's own points belong to the gateway device itself
TOPIC_BYTES = 64  # topic, packet id and properties, counted by the platform with the payload
SESSION_EXPIRES_S = 602.0  # the platform's 600 s for a quiet sub-device; until then a connect changes nothing


class ThingsBoardOptions(CredentialOptions, RestOptions, DeliveryOptions):
    """`[[uplink]]` with `kind = "thingsboard"`."""

    kind: Literal["thingsboard"]


class ThingsBoardFormat:
    """One sub-device per message, introduced before its first data: data alone would make it with the
    wrong profile."""

    def __init__(self, bytes_max: int, expires_s: float = SESSION_EXPIRES_S) -> None:
        self.expires_s = expires_s
        self._bytes_max = bytes_max - TOPIC_BYTES

    def greetings(
        self, device: str, readings: Sequence[Reading], greeted: Mapping[Hashable, object]
    ) -> Iterator[Message]:
        if device not in greeted and device != AGENT_DEVICE:
            word = orjson.dumps({"device": device, "type": readings[0].group.device.type})
            yield Message("v1/gateway/connect", word, device, greets=device)

    def data(self, device: str, readings: Sequence[Reading], values_max: int) -> Iterator[Message]:
        own = device == AGENT_DEVICE
        topic = "v1/devices/me/telemetry" if own else "v1/gateway/telemetry"
        for text, values in payload.messages(None if own else device, readings, self._bytes_max, values_max):
            yield Message(topic, text, device, values)


class ThingsBoard(Uplink):
    """Uplink `thingsboard`; `state_dir` is its memory: the token that the centre gave it, if it gave one."""

    def __init__(
        self,
        options: ThingsBoardOptions,
        store: Store,
        state_dir: Path = Path(),
        primary: Uplink | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        form = ThingsBoardFormat(options.message_bytes_max)
        super().__init__(options, form, store, primary, patience=patience)
        self._options = options
        self._provisioned = state_dir / f"{options.name}.token"

    async def before_session(self, protocol: aiomqtt.ProtocolVersion) -> None:
        if self._options.provision_key_file and not self._provisioned.exists():
            asking = self._session(protocol, Login(USER, None, None))
            await provision(asking, self._options, self._provisioned)

    def session(self, protocol: aiomqtt.ProtocolVersion) -> Session:
        return self._session(protocol, login(self._options, self._provisioned))

    def _session(self, protocol: aiomqtt.ProtocolVersion, who: Login) -> Session:
        options = self._options
        return Session(
            options.host,
            options.port,
            version=protocol,
            username=who.username,
            password=who.password,
            client_id=who.client_id,
            tls=tls_context(options),
            inflight_max=options.inflight_max,
            puback_timeout_s=options.puback_timeout_s,
            keepalive_s=options.keepalive_s,
        )
