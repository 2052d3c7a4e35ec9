"""A network that loses, doubles and reorders datagrams, in both directions, by a seed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from random import Random
from typing import Any


class _Side(asyncio.DatagramProtocol):
    """One end: what comes in is handed to the network."""

    def __init__(self, network: RoughNetwork) -> None:
        self.network = network
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.network.came(self, data, addr)

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer: nobody listens at the moment."""


class RoughNetwork:
    """Carries datagrams between one module and the gateway's port."""

    def __init__(
        self, gateway: int, seed: int, *, loss: float, double: float, late: float, late_s_max: float
    ) -> None:
        self._gateway = ("127.0.0.1", gateway)
        self._random = Random(seed)
        self._loss, self._double = loss, double
        self._late, self._late_s_max = late, late_s_max
        self._module: Any = None
        self.near, self.far = _Side(self), _Side(self)
        self.carried: list[bytes] = []

    def came(self, side: _Side, data: bytes, source: Any) -> None:
        if side is self.near:
            self._module = source
            self.carried.append(data)
        if self._random.random() < self._loss:
            return
        for _ in range(1 + (self._random.random() < self._double)):
            if self._random.random() < self._late:
                asyncio.get_running_loop().call_later(
                    self._random.uniform(0.001, self._late_s_max), self._on, side, data
                )
            else:
                self._on(side, data)

    def _on(self, side: _Side, data: bytes) -> None:
        other, address = (self.far, self._gateway) if side is self.near else (self.near, self._module)
        if other.transport and not other.transport.is_closing():
            other.transport.sendto(data, address)


@contextlib.asynccontextmanager
async def rough_network(
    gateway: int,
    *,
    seed: int = 1,
    loss: float = 0.05,
    double: float = 0.01,
    late: float = 0.02,
    late_s_max: float = 0.01,
) -> AsyncIterator[tuple[RoughNetwork, int]]:
    """The network, and the port that a module finds the gateway at."""
    network = RoughNetwork(gateway, seed, loss=loss, double=double, late=late, late_s_max=late_s_max)
    loop = asyncio.get_running_loop()
    near, _ = await loop.create_datagram_endpoint(lambda: network.near, local_addr=("127.0.0.1", 0))
    far, _ = await loop.create_datagram_endpoint(lambda: network.far, local_addr=("127.0.0.1", 0))
    for transport in (near, far):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    try:
        yield network, near.get_extra_info("sockname")[1]
    finally:
        near.close()
        far.close()
