"""A simulated ambient module: signed JSON datagrams with the last samples in each, docs/udp-protocol.md."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from agent.drivers.udp import text
from agent.drivers.udp.keys import Key

SAMPLES_PER_DATAGRAM = 3


def demo_key(name: str) -> bytes:
    """The key of a simulated module. A real one is random, or it proves nothing."""
    return hashlib.sha256(f"demo module {name}".encode()).digest()


class AmbientModule:
    """Sends to `host`:`port`, whether anyone listens or not, like the real one.

    Its boot id is the time of its making in Unix seconds: one made later counts as restarted.
    """

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 17000) -> None:
        self.name, self.host, self.port = name, host, port
        self.boot = int(time.time())
        self.seq = 0
        self._key = Key(demo_key(name))
        self._ring: deque[tuple[int, int | None, Mapping[str, float | bool | None]]] = deque(
            maxlen=SAMPLES_PER_DATAGRAM
        )
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, values: Mapping[str, float | bool | None], ts: int | None = None) -> None:
        """One datagram with these values and those before; `ts` is the sample's Unix time in ms.

        Without `ts` the module has no clock, and what it sampled before with one is not repeated.
        """
        self.seq += 1
        if ts is None or any(sampled is None for _, sampled, _ in self._ring):
            self._ring.clear()
        self._ring.append((self.seq, ts, values))
        samples = [
            {"n": number, "age_ms": max((ts or 0) - (sampled or 0), 0), "values": sampled_values}
            for number, sampled, sampled_values in self._ring
        ]
        message = {"id": self.name, "boot": self.boot, "seq": self.seq, "samples": samples}
        self.send_bytes(text.sign(message if ts is None else message | {"ts": ts}, self._key))

    def send_bytes(self, data: bytes) -> None:
        """Any datagram, to see how it is taken. What the socket cannot take at once is lost."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.sendto(data, (self.host, self.port))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
