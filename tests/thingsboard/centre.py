"""What the platform's database and its users hold: devices, time series, attributes, RPCs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.thingsboard.payloads import same

Key = tuple[str, str, int]
GATEWAY, TOKEN = "gateway", "T0KEN"


@dataclass
class Entity:
    """A device at the centre. `token`, `basic` or `certificate` (PEM's DER bytes) let it connect itself."""

    name: str
    type: str = "default"
    gateway: bool = False
    token: str = ""
    basic: tuple[str, str, str] | None = None  # client id, user, password; "" is not checked
    certificate: bytes = b""
    client: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    pending: dict[int, Rpc] = field(default_factory=dict)
    next_rpc: int = 0


@dataclass
class Rpc:
    method: str
    params: Any
    expires_s: float
    two_way: bool
    reply: asyncio.Future[Any]
    pushes: int = 0


class NoSessionError(Exception):
    """The centre has no way to the device."""


class Door(Protocol):
    """A session through which the centre reaches a device."""

    def push_rpc(self, device: str, number: int, method: str, params: Any) -> bool: ...
    def push_attributes(self, device: str, changed: dict[str, Any]) -> bool: ...
    def dropped(self, device: str) -> None: ...
    def close(self, reason: int) -> None: ...


class Centre:
    """`stored` holds each value once; a value that comes again is an upsert, `identical` or `differing`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.devices: dict[str, Entity] = {}
        self.stored: dict[Key, Any] = {}
        self.identical = 0
        self.differing: list[tuple[Key, Any, Any]] = []
        self.connects: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.arrived_s: dict[Key, float] = {}
        self.keep_arrivals = False
        self.doors: list[Door] = []
        self.late_replies: list[tuple[str, int, Any]] = []
        self.add(Entity(GATEWAY, "uicps-agent", gateway=True, token=TOKEN))

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def add(self, entity: Entity) -> Entity:
        self.devices[entity.name] = entity
        return entity

    def of_gateway(self, name: str, profile: str | None) -> Entity:
        """The sub-device `name`, made if there is none (an existing one keeps its type)."""
        self.connects[name] += 1
        return self.devices.get(name) or self.add(Entity(name, profile or "default"))

    def store(self, device: str, time_ms: int, values: dict[str, Any]) -> None:
        """Upsert one record, counting what was there already."""
        for key, value in values.items():
            at = (device, key, time_ms)
            if at not in self.stored:
                self.stored[at] = value
                if self.keep_arrivals:
                    self.arrived_s[at] = self.clock()
            elif same(self.stored[at], value):
                self.identical += 1
            else:
                self.differing.append((at, self.stored[at], value))
                self.stored[at] = value

    def values_of(self, device: str) -> dict[tuple[str, int], Any]:
        """(key, ts): value of one device."""
        return {(key, ts): value for (name, key, ts), value in self.stored.items() if name == device}

    def counts(self) -> Counter[tuple[str, int]]:
        """Values stored by device and hour (start of the hour in ms): the centre's side of a ledger."""
        return Counter((name, ts - ts % 3_600_000) for name, _, ts in self.stored)

    # What a user of the platform does.

    def set_shared(self, device: str, **values: Any) -> bool:
        """Set shared attributes; whether a session was told."""
        self.devices[device].shared |= values
        return any(door.push_attributes(device, values) for door in self.doors)

    def delete_shared(self, device: str, *keys: str) -> bool:
        for key in keys:
            self.devices[device].shared.pop(key, None)
        return any(door.push_attributes(device, {"deleted": list(keys)}) for door in self.doors)

    async def rpc(
        self, device: str, method: str, params: Any, *, timeout_s: float = 5.0, two_way: bool = True
    ) -> Any:
        """Call the device as the REST API does; TimeoutError if no reply comes. Offline: held until then."""
        entity = self.devices[device]
        number, entity.next_rpc = entity.next_rpc, entity.next_rpc + 1
        reply = asyncio.get_running_loop().create_future()
        rpc = Rpc(method, params, self.clock() + timeout_s, two_way, reply)
        entity.pending[number] = rpc
        self.push_pending(device)
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        finally:
            entity.pending.pop(number, None)

    def push_pending(self, device: str) -> None:
        """Push every RPC of `device` that is not answered, once more (as on each connect and subscribe)."""
        for number, rpc in list(self.devices[device].pending.items()):
            if rpc.expires_s <= self.clock() or (rpc.pushes and not rpc.two_way):
                continue
            if any(door.push_rpc(device, number, rpc.method, rpc.params) for door in self.doors):
                rpc.pushes += 1
                if not rpc.two_way and not rpc.reply.done():
                    rpc.reply.set_result(None)

    def replied(self, device: str, number: int, reply: Any) -> None:
        """A reply came; a late or unknown one is ignored by the platform."""
        rpc = self.devices[device].pending.get(number) if device in self.devices else None
        if rpc is None or rpc.reply.done():
            self.late_replies.append((device, number, reply))
        else:
            rpc.reply.set_result(reply)

    def restart_rpc_ids(self) -> None:
        """As a restart of the server does."""
        for entity in self.devices.values():
            entity.next_rpc = 0

    def delete(self, device: str) -> None:
        """Delete a device with its data; its gateway is told by a one-way RPC."""
        del self.devices[device]
        self.stored = {at: value for at, value in self.stored.items() if at[0] != device}
        self._dropped(device)
        self._tell_gateways("gateway_device_deleted", device)

    def rename(self, device: str, new: str) -> None:
        entity = self.devices.pop(device)
        entity.name = new
        self.add(entity)
        self.stored = {(new if at[0] == device else at[0], *at[1:]): v for at, v in self.stored.items()}
        self._dropped(device)
        self._tell_gateways("gateway_device_renamed", {device: new})

    def _dropped(self, device: str) -> None:
        for door in list(self.doors):
            door.dropped(device)

    def _tell_gateways(self, method: str, params: Any) -> None:
        for entity in list(self.devices.values()):
            if entity.gateway:
                number, entity.next_rpc = entity.next_rpc, entity.next_rpc + 1
                reply = asyncio.get_running_loop().create_future()
                entity.pending[number] = Rpc(method, params, self.clock() + 86_400, False, reply)
                self.push_pending(entity.name)
