"""The UDP line: one socket, read until it is empty at each wake-up, and three small tasks beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.drivers.command import WriteFailed
from agent.drivers.udp.commands import Commands
from agent.drivers.udp.intake import Intake
from agent.drivers.udp.keys import FaultyKeys, Key, read_keys
from agent.drivers.udp.ledger import Ledger, Marks
from agent.drivers.udp.message import DATAGRAM_BYTES_MAX, Address, Now
from agent.drivers.udp.options import UdpOptions, UdpProfile
from agent.drivers.udp.session import Module
from agent.model import Group, Reading
from agent.supervise import Episode, describe

log = logging.getLogger(__name__)

BATCH_MAX = 256
RECEIVE_BUFFER_BYTES = 4 << 20
KEEP_INTERVAL_S = 1.0
KEEP_BURST = 5
# Readings are on the store's disk within a second; a sample is called safe one to two of these later.
SAFE_AFTER_S = 1.25
COMMAND_IDS_AHEAD = 1024

Publish = Callable[[Sequence[Reading]], None]


class UdpModules:
    """Driver `udp`: telemetry modules that speak docs/udp-protocol.md."""

    def __init__(
        self,
        options: UdpOptions,
        profiles: Mapping[str, UdpProfile],
        state_dir: Path,
        *,
        now_s: Callable[[], float] = time.time,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        """OSError or FaultyKeys if the key file cannot be used. Nothing is opened or written yet."""
        self.name = options.name
        self.episode = Episode(log, f"line {options.name} (udp {options.host}:{options.port})")
        self._options, self._now_s, self._certain = options, now_s, certain
        modules = [Module(device, profiles[device.profile]) for device in options.device]
        self._modules = {module.options.name: module for module in modules}
        self._intake = Intake(options.name, modules, options.skew_s_max * 1000)
        self.counters: Counter[str] = self._intake.counters
        self._key_file_state: tuple[int, int] | None = None
        self._intake.rekey(self._new_keys() or {})
        self._ledger = Ledger(state_dir, options.name)
        self._ledger_trouble = Episode(log, f"line {options.name}, replay ledger in {state_dir}")
        self._key_trouble = Episode(log, f"line {options.name}, {options.key_file}")
        self._loaded = False
        self._command_id = self._command_limit = 0
        self._keep = asyncio.Event()
        self._kept = asyncio.Event()
        self._socket: socket.socket | None = None
        self._commands = {
            module.options.name: Commands(module, self._next_command_id, self._send) for module in modules
        }

    @property
    def groups(self) -> Sequence[Group]:
        return [module.group for module in self._modules.values()]

    @property
    def stretch(self) -> float:
        """NaN: the modules decide when they speak."""
        return math.nan

    def statistics(self) -> dict[str, Any]:
        """Plain data for people: each device's traffic, and what of it was repeated, late or lost."""
        devices = {
            name: {"datagrams": module.datagrams, **module.counters} for name, module in self._modules.items()
        }
        return {
            "line": self.name,
            "where": f"udp {self._options.host}:{self._options.port}",
            "connected": self._socket is not None,
            "counters": dict(self.counters),
            "devices": devices,
        }

    async def run(self, publish: Publish) -> None:
        """Listen for ever; OSError if the socket cannot be had or breaks."""
        await self._load()
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        with _bound(self._options.host, self._options.port) as bound:
            loop.add_reader(bound, self._readable, bound, publish, broken)
            self._socket = bound
            try:
                self.episode.ended()
                await self._work(publish, broken)
            finally:
                loop.remove_reader(bound)
                self._socket = None
                self._save_the_last()

    async def move(self, state_dir: Path) -> None:
        """Remember in `state_dir` from now on. OSError if that disk refuses: then nothing moved."""
        await asyncio.to_thread(self._ledger.move, state_dir)

    async def write(self, device: str, point: str, value: float) -> None:
        """Have a module write `value`; returns when it says that it has.

        ValueError if the profile does not allow the value (nothing was sent), else WriteFailed with the
        reason, within the device's `command_timeout_s`.
        """
        module = self._modules.get(device)
        points = module.points if module else []
        at = next((at for at, each in enumerate(points) if each.name == point and each.writable), None)
        if module is None or at is None:
            raise WriteFailed(f"{device}.{point}: not a writable point of line {self.name}")
        points[at].point().check(value)
        if module.options.unsigned:
            raise WriteFailed(f"{device}: commands are signed, and this module has no key")
        if self._socket is None:
            raise WriteFailed(f"line {self.name}: not listening")
        await self._commands[device].write(at, value)

    # ---------------------------------------------------------------- the socket

    def _readable(self, source: socket.socket, publish: Publish, broken: asyncio.Future[None]) -> None:
        """Take what has come, at most BATCH_MAX datagrams so that others have their turn."""
        try:
            self._take_batch(source)
            self._flush(publish)
        except Exception as error:  # a callback's error would only be logged: let `run` raise it
            if not broken.done():
                broken.set_exception(error)

    def _take_batch(self, source: socket.socket) -> None:
        receive = source.recvfrom
        batch: list[tuple[bytes, Address]] = []
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while len(batch) < BATCH_MAX:
                batch.append(receive(DATAGRAM_BYTES_MAX + 1))
        self.counters["datagrams"] += len(batch)
        self._intake.take(batch, self._now())

    def _flush(self, publish: Publish) -> None:
        """Hand on what came of it."""
        if readings := self._intake.readings():
            publish(readings)
        for data, address in self._intake.replies():
            self._send(data, address)
        if self._intake.needs_keeping:
            self._keep.set()

    def _send(self, data: bytes, address: Address) -> None:
        """What the network does not take is lost, as on the way; whoever needs it sends it again."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(data, address)
            self.counters["sent"] += 1
        except OSError as error:
            self.counters["unsendable"] += 1
            log.debug("line %s: to %s: %s", self.name, address, describe(error))

    def _now(self) -> Now:
        return Now(round(self._now_s() * 1000), time.monotonic(), self._certain())

    # ---------------------------------------------------------------- beside it

    async def _work(self, publish: Publish, broken: asyncio.Future[None]) -> None:
        started_s = time.monotonic()
        for module in self._modules.values():
            module.heard_s = started_s
        tasks = [asyncio.create_task(self._tick(publish)), asyncio.create_task(self._keeper(publish))]
        try:
            done, _ = await asyncio.wait([broken, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _tick(self, publish: Publish) -> None:
        while True:
            await asyncio.sleep(SAFE_AFTER_S)
            now = self._now()
            self._intake.tick(now)
            if silent := self._intake.silent(now):
                publish(silent)
            self._flush(publish)
            try:
                keys = await asyncio.to_thread(self._new_keys)
            except (OSError, FaultyKeys) as error:
                self._key_trouble.failed(f"the keys read before stay in use: {describe(error)}")
                continue
            if keys is not None:
                self._key_trouble.ended()
                self._intake.rekey(keys)

    def _new_keys(self) -> dict[str, list[Key]] | None:
        """The keys of the file if it changed since it was last asked for."""
        if self._options.key_file is None:
            return None
        stat = self._options.key_file.stat()
        state = (stat.st_mtime_ns, stat.st_size)
        if state == self._key_file_state:
            return None
        keys = read_keys(self._options.key_file)
        self._key_file_state = state
        return keys

    # ---------------------------------------------------------------- the ledger

    async def _load(self) -> None:
        if self._loaded:
            return
        marks = await asyncio.to_thread(self._ledger.load)
        self._intake.restore(marks.by_key)
        # Should the ledger be lost, the clock keeps the ids growing (up to 1024 a second).
        self._command_id = self._command_limit = max(marks.command_limit, int(self._now_s()) << 10)
        self._loaded = True

    async def _keeper(self, publish: Publish) -> None:
        """Bring the marks to disk when they are needed: once per KEEP_INTERVAL_S, and KEEP_BURST in a row
        for modules that have just started and whose pace is not yet known."""
        pace = _Pace(KEEP_INTERVAL_S, KEEP_BURST)
        while True:
            await self._keep.wait()
            await asyncio.sleep(pace.wait_s(time.monotonic()))
            self._keep.clear()
            marks = Marks(self._intake.ask(time.monotonic()), self._command_id + COMMAND_IDS_AHEAD)
            try:
                await asyncio.to_thread(self._ledger.save, marks)
                self._ledger_trouble.ended()
                self._command_limit = marks.command_limit
            except OSError as error:
                self._ledger_trouble.failed(
                    f"cannot be written; readings go on, but if the agent is killed now, datagrams of this"
                    f" time could be replayed once: {describe(error)}"
                )
            self._intake.kept(marks)
            self._kept.set()
            self._flush(publish)

    async def _next_command_id(self) -> int:
        """An id that no command had before; waits for the ledger where it must."""
        while self._command_id >= self._command_limit:
            self._kept.clear()
            self._keep.set()
            await self._kept.wait()
        self._command_id += 1
        return self._command_id

    def _save_the_last(self) -> None:
        """Nothing more is taken: keep exactly what was, so that nothing new is refused after the restart."""
        marks = Marks(self._intake.exact(), self._command_id)
        if not marks.by_key:
            return
        try:
            self._ledger.save(marks)
        except OSError as error:
            self._ledger_trouble.failed(describe(error))
        self._intake.kept(marks)
        self._command_limit = self._command_id


class _Pace:
    """Once per `interval_s` on average, `burst` times in a row at most."""

    def __init__(self, interval_s: float, burst: int) -> None:
        self._interval_s, self._span_s = interval_s, interval_s * burst
        self._paid_s = -math.inf

    def wait_s(self, now_s: float) -> float:
        """Seconds to wait before the next time."""
        self._paid_s = max(self._paid_s, now_s - self._span_s) + self._interval_s
        return max(0.0, self._paid_s - now_s)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that does not block, its buffer large enough for a burst. OSError if it cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
