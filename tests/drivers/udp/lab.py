"""A UDP line with one module or more, and modules to speak to it: what these tests share."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.drivers.udp import UdpModules, UdpOptions, UdpProfile
from agent.drivers.udp.intake import Intake
from agent.drivers.udp.keys import Key
from agent.drivers.udp.ledger import Mark, Marks
from agent.drivers.udp.message import Now
from agent.drivers.udp.options import UdpDeviceOptions
from agent.drivers.udp.session import Module
from agent.model import Reading

ROOT = Path(__file__).parents[3]
SENDERS = ROOT / "docs" / "senders"
KEY = bytes(range(32))
NOW_MS = 1_700_000_000_000
NAMES = ("temperature", "setpoint")
PROFILE = UdpProfile.model_validate(
    {
        "driver": "udp",
        "title": "test",
        "source": ["test"],
        "group": [
            {
                "name": "all",
                "point": [
                    {"name": "room_temperature", "unit": "°C", "key": "temperature"},
                    {
                        "name": "setpoint",
                        "unit": "°C",
                        "writable": True,
                        "max": 99,
                        "on_silence": "keeps it",
                    },
                ],
            }
        ],
    }
)


def _loaded() -> ModuleType:
    """The reference sender for MicroPython, which is Python too."""
    spec = importlib.util.spec_from_file_location("uicps_sender", SENDERS / "micropython" / "uicps_sender.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


uicps_sender = _loaded()


def sender(boot: int = 1, key: bytes = KEY, **more: Any) -> Any:
    """A module's end of the protocol."""
    return uicps_sender.Sender(key, NAMES, boot, **more)


def datagram(
    module: Any, values: tuple[float, ...] = (21.5, 20.0), at_ms: int = 0, unix_ms: int = 0
) -> bytes:
    """What `module` sends of one more sample."""
    module.sample(values, at_ms)
    data: bytes = module.datagram(at_ms, unix_ms)
    return data


class Core:
    """The intake alone, its clock in the test's hand, its ledger always at once on disk."""

    def __init__(self, keys: Mapping[str, list[bytes]] | None = None, **device: Any) -> None:
        options = UdpDeviceOptions.model_validate({"name": "room", "profile": "p", "id": "mod-1", **device})
        self.module = Module(options, PROFILE)
        self.intake = Intake("wifi", [self.module], 7 * 86_400_000)
        signed = {"mod-1": [KEY]} if keys is None and not device.get("unsigned") else keys or {}
        self.intake.rekey({name: [Key(secret) for secret in own] for name, own in signed.items()})
        self.now = Now(NOW_MS, 1000.0)
        self.disk = Marks({})
        self.replies: list[bytes] = []

    def take(self, *datagrams: bytes, keep: bool = True) -> list[Reading]:
        """What is published of these."""
        for each in datagrams:
            self.intake.take([(each, ("127.0.0.1", 5000))], self.now)
            if keep:
                self.keep()
            self.replies += [reply.data for reply in self.intake.replies()]
        return self.intake.readings()

    def keep(self) -> None:
        """The ledger's write that the driver would do."""
        while self.intake.needs_keeping:
            self.disk = Marks(self.intake.ask(self.now.s))
            self.intake.kept(self.disk)

    def killed(self) -> Core:
        """The next life of the gateway, which knows what was on the disk."""
        core = Core()
        core.intake.restore({key: Mark(*mark) for key, mark in self.disk.by_key.items()})
        core.disk = self.disk
        return core

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self.intake.counters.items() if count}


def write_keys(folder: Path, *keys: bytes, name: str = "mod-1") -> Path:
    file = folder / "modules.keys"
    file.write_text("# test\n" + "".join(f"{name} {key.hex()}\n" for key in keys), encoding="utf-8")
    return file


def line(folder: Path, port: int, *, now_s: Callable[[], float] | None = None, **device: Any) -> UdpModules:
    """A driver whose one module is `mod-1`; its key file is `write_keys`'s unless it is unsigned."""
    key_file = folder / "modules.keys"
    if not key_file.exists():
        write_keys(folder, *([] if device.get("unsigned") else [KEY]))
    options = {
        "driver": "udp",
        "name": "wifi",
        "host": "127.0.0.1",
        "port": port,
        "key_file": key_file,
        "device": [{"name": "room", "profile": "p", "id": "mod-1", **device}],
    }
    more = {"now_s": now_s} if now_s else {}
    return UdpModules(UdpOptions.model_validate(options), {"p": PROFILE}, folder / "lines", **more)


@contextlib.asynccontextmanager
async def running(driver: UdpModules) -> AsyncIterator[list[Reading]]:
    """What the driver publishes, while it runs."""
    heard: list[Reading] = []
    task = asyncio.create_task(driver.run(heard.extend))
    async with asyncio.timeout(10):
        while not (task.done() or driver.statistics()["connected"]):
            await asyncio.sleep(0.005)
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A module's socket. `recv` waits for two seconds at most."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect(("127.0.0.1", port))
        opened.settimeout(2)
        yield opened


async def received(source: socket.socket) -> bytes:
    return await asyncio.to_thread(source.recv, 8193)


def first_values(readings: list[Reading]) -> list[float]:
    return [reading.values[0] for reading in readings]
