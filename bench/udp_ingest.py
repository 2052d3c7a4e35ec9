#!/usr/bin/env python3
"""How fast the UDP line takes signed datagrams in, beside a bare receive-and-verify loop, in one run.

    .venv/bin/python bench/udp_ingest.py            # about 15 seconds, loopback only

Both read the same datagrams from the same kind of socket until it is empty; only that is timed, by the
clock, in turns, so that whatever else the machine does hits both. The bare loop only receives and
compares the signature: with hmac.digest, as anyone would write it, and with the agent's own, faster MAC.
The agent's side is the whole of it: socket, signature, replay window, samples, readings, Hub.publish.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import itertools
import operator
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import uvloop

from agent.drivers.udp import UdpModules, UdpOptions, UdpProfile
from agent.drivers.udp.keys import Key
from agent.drivers.udp.packed import DATA, DATA_MARK, FLOAT64, Layout
from agent.hub import Hub

SECRET = bytes(range(32))
BURST = 150  # as many as the smallest usual receive buffer holds
POINTS = 4


def main() -> None:
    """Print the rates and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=400, help=f"of {BURST} datagrams, for each (%(default)s)"
    )
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        for samples, wide in itertools.product((1, 3), (False, True)):
            uvloop.run(_case(Path(folder), rounds, samples, wide=wide))


async def _case(folder: Path, rounds: int, samples: int, *, wide: bool) -> None:
    """One size of datagram: `samples` in each (the newest, and those before again), 64-bit if `wide`."""
    module = _Datagrams(samples, wide=wide)
    seconds: dict[str, list[float]] = {"hmac": [], "own": [], "agent": []}
    async with _Agent(folder / f"{samples}{wide}") as agent:
        await agent.take(next(module), 1)  # the first of a boot waits for the disk
        with _udp() as bare, _udp() as sender:
            for _ in range(rounds):
                burst = [next(module) for _ in range(BURST)]
                for name, tag in (("hmac", _hmac_tag), ("own", Key(SECRET).tag)):
                    _fill(sender, bare, burst)
                    seconds[name].append(_bare(bare, tag))
                seconds["agent"].append(await agent.timed(burst))
        assert agent.published == rounds * BURST + 1, agent.published
    rate = {name: BURST / statistics.median(taken) for name, taken in seconds.items()}
    ratio = {
        name: statistics.median(map(operator.truediv, seconds[name], seconds["agent"]))
        for name in ("hmac", "own")
    }
    print(
        f"{samples} sample{'s' * (samples > 1)} of {POINTS} float{64 if wide else 32}, {module.size} bytes:"
        f" bare {rate['hmac']:,.0f}/s (own MAC {rate['own']:,.0f}/s), agent {rate['agent']:,.0f}/s,"
        f" ratio {ratio['hmac']:.2f} (own MAC {ratio['own']:.2f})"
    )


class _Datagrams(Iterator[bytes]):
    """What one module sends: values that wander like a sensor's, signed, packed."""

    def __init__(self, samples: int, *, wide: bool) -> None:
        self._key, self._wide, self._samples = Key(SECRET), wide, samples
        self._layout = Layout.of([f"p{at}" for at in range(POINTS)])
        self._random, self._recent, self._seq = Random(1), [], 0
        self.size = 0

    def __next__(self) -> bytes:
        self._seq += 1
        values = [round(230 + self._random.gauss(0, 0.3), 2) for _ in range(POINTS)]
        self._recent = [*self._recent[-self._samples + 1 :], (self._seq, values)][-self._samples :]
        shape = self._layout.double if self._wide else self._layout.single
        rest = b"".join(
            shape.pack(number, (self._seq - number) * 1000, 2, *each) for number, each in self._recent
        )
        flags = FLOAT64 if self._wide else 0
        oldest, count, now_ms = self._recent[0][0], len(self._recent), round(time.time() * 1000)
        head = (DATA_MARK, self._key.id, 1, self._seq, self._layout.id, oldest, now_ms, 60, flags, count)
        body = DATA.pack(*head) + rest
        self.size = len(body) + 16
        return body + self._key.tag(body)


class _Agent:
    """The driver on a socket of its own, publishing into a hub."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        keys = folder / "modules.keys"
        keys.write_text(f"room {SECRET.hex()}\n")
        with _udp() as probe:
            self.address = probe.getsockname()
        point = [{"name": f"p{at}", "unit": "V"} for at in range(POINTS)]
        profile = {
            "driver": "udp",
            "title": "bench",
            "source": ["bench"],
            "group": [{"name": "all", "point": point}],
        }
        options = {
            "driver": "udp",
            "name": "bench",
            "host": "127.0.0.1",
            "port": self.address[1],
            "key_file": keys,
        }
        device = {"name": "room", "profile": "bench"}
        self._driver = UdpModules(
            UdpOptions.model_validate(options | {"device": [device]}),
            {"bench": UdpProfile.model_validate(profile)},
            folder,
        )
        self._hub = Hub(self._driver.groups)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def published(self) -> int:
        return self._hub.published_readings

    async def __aenter__(self) -> _Agent:
        self._running = asyncio.create_task(self._driver.run(self._hub.publish))
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sender.close()
        self._running.cancel()
        await asyncio.wait([self._running])

    async def take(self, datagram: bytes, count: int) -> None:
        self._sender.sendto(datagram, self.address)
        while self.published < count:
            await asyncio.sleep(0.01)

    async def timed(self, burst: list[bytes]) -> float:
        """Seconds from a full socket to all of it published: the loop wakes up and reads, as always."""
        wanted = self.published + len(burst)
        for datagram in burst:
            self._sender.sendto(datagram, self.address)
        began_s = time.perf_counter()
        while self.published < wanted:
            await asyncio.sleep(0)
            if time.perf_counter() - began_s > 5:
                raise TimeoutError(f"published {self.published} of {wanted}: {self._driver.counters}")
        return time.perf_counter() - began_s


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


def _fill(sender: socket.socket, receiver: socket.socket, burst: list[bytes]) -> None:
    for datagram in burst:
        sender.sendto(datagram, receiver.getsockname())


def _hmac_tag(body: bytes) -> bytes:
    return hmac.digest(SECRET, body, "sha256")[:16]


def _bare(source: socket.socket, tag: Callable[[bytes], bytes]) -> float:
    """Seconds to receive and verify all that is in the socket."""
    receive, compare, verified = source.recv, hmac.compare_digest, 0
    began_s = time.perf_counter()
    try:
        while True:
            data = receive(8193)
            verified += compare(tag(data[:-16]), data[-16:])
    except BlockingIOError:
        taken_s = time.perf_counter() - began_s
    assert verified == BURST, verified
    return taken_s


if __name__ == "__main__":
    main()
