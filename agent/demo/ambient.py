"""A simulated ambient module: one JSON datagram per sample, as `agent/drivers/udp.py` describes it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import orjson


class AmbientModule:
    """Sends to `host`:`port`, whether anyone listens or not, like the real one."""

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 17000) -> None:
        self.name, self.host, self.port = name, host, port
        self.seq = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, values: Mapping[str, float | bool | None], ts: int | None = None) -> None:
        """One datagram with these values; `ts` is the sample's Unix time in ms, left out if None."""
        message: dict[str, object] = {"id": self.name, "seq": self.seq, "values": values}
        if ts is not None:
            message["ts"] = ts
        self.seq += 1
        self.send_bytes(orjson.dumps(message))

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
