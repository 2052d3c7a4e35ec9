"""The announcer and an independent peer (zeroconf), over real multicast on the loopback interface only."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from agent.mdns import Announcer, Service, packet
from agent.mdns.packet import Question
from tests.conftest import until

HERE = "127.0.0.1"


def service(kind: str, name: str = "UICPS lab (box)", port: int = 8080) -> Service:
    return Service(name, kind, "uicps-box", port, (("site", "lab"), ("path", "/")))


@pytest.fixture
def kind() -> str:
    """A type of its own for each test: they share one network."""
    return f"_t{secrets.token_hex(5)}._tcp"


@asynccontextmanager
async def announced(wanted: Service) -> AsyncIterator[Announcer]:
    announcer = Announcer(wanted, lambda: [HERE])
    task = asyncio.create_task(announcer.run())
    try:
        yield announcer
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def browsing(kind: str) -> AsyncIterator[tuple[AsyncZeroconf, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []

    def changed(zeroconf: object, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        seen.append((name.partition(f".{kind}")[0], state_change.name))

    async with AsyncZeroconf(interfaces=[HERE]) as zeroconf:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, f"{kind}.local.", handlers=[changed])
        yield zeroconf, seen
        await browser.async_cancel()


async def test_a_browser_finds_it_and_sees_it_go(kind: str) -> None:
    async with browsing(kind) as (zeroconf, seen):
        async with announced(service(kind)):
            await until(lambda: ("UICPS lab (box)", "Added") in seen)
            info = AsyncServiceInfo(f"{kind}.local.", f"UICPS lab (box).{kind}.local.")
            assert await info.async_request(zeroconf.zeroconf, 5000)
            assert (info.port, info.server, info.parsed_addresses()) == (8080, "uicps-box.local.", [HERE])
            assert info.properties == {b"site": b"lab", b"path": b"/"}
        await until(lambda: ("UICPS lab (box)", "Removed") in seen)


async def test_who_comes_later_is_answered(kind: str) -> None:
    async with announced(service(kind)):
        await asyncio.sleep(2.5)  # it has said all by itself
        async with browsing(kind) as (_, seen):
            await until(lambda: ("UICPS lab (box)", "Added") in seen)


async def test_of_two_with_one_name_one_takes_another(kind: str) -> None:
    async with (
        announced(service(kind, "UICPS lab.2", 1)) as one,
        announced(service(kind, "UICPS lab.2", 2)) as two,
    ):
        await until(lambda: one.name != two.name)
        async with browsing(kind) as (_, seen):
            await until(lambda: {one.name, two.name} <= {name for name, _ in seen})
    assert "UICPS lab.2 (2)" in (one.name, two.name)


async def test_a_simple_resolver_is_answered_alone(kind: str) -> None:
    """One who asks from any port (RFC 6762, 6.7), as `dig @224.0.0.251 -p 5353` does."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.bind((HERE, 0))
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HERE))
        question = packet.message(questions=[Question(f"{kind}.local", packet.PTR)], number=4711)
        async with announced(service(kind)), asyncio.timeout(10):
            await asyncio.sleep(0.3)
            for noise in (b"", b"\xff" * 40, question[:15]):
                asking.sendto(noise, ("224.0.0.251", 5353))  # uvloop has no sock_sendto
            asking.sendto(question, ("224.0.0.251", 5353))
            answer = packet.parse(await loop.sock_recv(asking, 9000))
    assert (answer.id, answer.is_query) == (4711, False)
    assert {each.kind for each in answer.answers} == {packet.A, packet.PTR, packet.SRV, packet.TXT}
    assert all(each.ttl_s <= 10 and not each.flush for each in answer.answers)


async def test_a_network_that_forbids_it_is_said_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announcer = Announcer(service(kind), lambda: ["192.0.2.77"])  # no interface has it
        task = asyncio.create_task(announcer.run())
        await until(lambda: "cannot be announced" in caplog.text)
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_without_an_address_it_waits(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    task = asyncio.create_task(Announcer(service(kind, "ã" * 80), list).run())
    await until(lambda: "no interface has an IPv4 address" in caplog.text)
    task.cancel()
    await asyncio.wait([task])
