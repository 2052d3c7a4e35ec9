"""What can go wrong between the agent, its centres and its power supply; each ends as it began."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

from tests.chaos.site import Site

Mischief = Callable[[Site, float], Awaitable[None]]  # the second is for how long, in seconds


async def centre_killed(site: Site, seconds: float) -> None:
    await site.board.kill()
    await asyncio.sleep(seconds)
    await site.board.start()


async def connections_reset(site: Site, seconds: float) -> None:
    site.board.drop()
    await asyncio.sleep(seconds)


async def link_silent(site: Site, seconds: float) -> None:
    site.board.behaviour.silent = True
    await asyncio.sleep(seconds)
    site.board.behaviour.silent = False


async def half_open(site: Site, seconds: float) -> None:
    site.board.half_open()
    await asyncio.sleep(seconds)


async def link_slow(site: Site, seconds: float) -> None:
    site.board.behaviour.read_bytes_s = 3000
    site.board.behaviour.dribble = True
    await asyncio.sleep(seconds)
    site.board.behaviour.read_bytes_s, site.board.behaviour.dribble = 0.0, False


async def pubacks_disordered(site: Site, seconds: float) -> None:
    site.board.behaviour.shuffle_pubacks, site.board.behaviour.duplicate_pubacks = 4, 2
    await asyncio.sleep(seconds)
    site.board.behaviour.shuffle_pubacks = site.board.behaviour.duplicate_pubacks = 0


async def rate_limited(site: Site, seconds: float) -> None:
    site.board.behaviour.limits.gateway_telemetry_messages = "6:1"
    await asyncio.sleep(seconds)
    site.board.behaviour.limits.gateway_telemetry_messages = ""


async def old_protocol(site: Site, seconds: float) -> None:
    site.board.behaviour.mqtt5 = "refused"
    site.board.drop()
    await asyncio.sleep(seconds)
    site.board.behaviour.mqtt5 = "granted"
    site.board.drop()


async def broker_frozen(site: Site, seconds: float) -> None:
    site.mosquitto.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    site.mosquitto.signal(signal.SIGCONT)


async def agent_killed(site: Site, seconds: float) -> None:
    await site.stop(signal.SIGKILL)
    await site.start()
    await asyncio.sleep(seconds)


async def agent_restarted(site: Site, seconds: float) -> None:
    assert await site.stop(signal.SIGTERM) == 0, site.log.read_text()
    await site.start()
    await asyncio.sleep(seconds)


async def killed_in_an_outage(site: Site, seconds: float) -> None:
    await site.board.kill()
    await asyncio.sleep(seconds)
    await agent_killed(site, seconds)
    await site.board.start()


async def clock_jumped(site: Site, seconds: float) -> None:
    """Ahead, and back again: our own time follows the first and never does the second."""
    site.set_clock_off(60 * seconds)
    await asyncio.sleep(seconds + 1.5)
    site.set_clock_off(0.0)
    await asyncio.sleep(seconds)


async def clock_back_at_a_start(site: Site, seconds: float) -> None:
    site.set_clock_off(-60 * seconds)
    await agent_killed(site, seconds)
    site.set_clock_off(0.0)


async def disk_full(site: Site, seconds: float) -> None:
    site.fill_disk()
    await asyncio.sleep(seconds)
    await site.empty_disk()


async def killed_on_a_full_disk(site: Site, seconds: float) -> None:
    """What waits is in the journal; it goes on in memory, is killed there too, and comes home with all."""
    site.fill_disk()
    await asyncio.sleep(seconds)
    await agent_killed(site, seconds)
    await agent_killed(site, seconds)
    await site.empty_disk()


async def killed_on_a_full_disk_in_an_outage(site: Site, seconds: float) -> None:
    await site.board.kill()
    await killed_on_a_full_disk(site, seconds)
    await site.board.start()


async def killed_on_a_full_disk_that_has_room_at_the_start(site: Site, seconds: float) -> None:
    site.fill_disk()
    await asyncio.sleep(seconds)
    await site.stop(signal.SIGKILL)
    await site.empty_disk()
    await site.start()


async def database_corrupted(site: Site, seconds: float) -> None:
    """While it is down: moved aside at the start. All of it comes back in the end, by `store salvage`."""
    assert await site.stop(signal.SIGTERM) == 0, site.log.read_text()
    site.spoil_first_page()
    await site.start()
    await asyncio.sleep(seconds)
    assert site.broken, site.log.read_text()[-3000:]


async def database_corrupted_at_work(site: Site, seconds: float) -> None:
    """Noticed or not: what SQLite has in its write-ahead log may heal it."""
    site.spoil_first_page()
    await asyncio.sleep(seconds)


NEED_A_DISK: tuple[Mischief, ...] = (
    disk_full,
    killed_on_a_full_disk,
    killed_on_a_full_disk_in_an_outage,
    killed_on_a_full_disk_that_has_room_at_the_start,
)
ALL: tuple[Mischief, ...] = (
    clock_jumped,
    clock_back_at_a_start,
    database_corrupted,
    database_corrupted_at_work,
    centre_killed,
    link_silent,
    agent_killed,
    half_open,
    pubacks_disordered,
    broker_frozen,
    rate_limited,
    old_protocol,
    link_slow,
    connections_reset,
    killed_in_an_outage,
    agent_restarted,
)


async def mischief(site: Site, duration_s: float, seed: int) -> list[str]:
    """Each kind once in an order that `seed` gives, then at random until `duration_s` are over."""
    rand = random.Random(seed)
    done: list[str] = []
    end_s = asyncio.get_running_loop().time() + duration_s
    all_ = ALL + (NEED_A_DISK if site.disk.is_mount() else ())
    queue = rand.sample(all_, len(all_))
    while queue or asyncio.get_running_loop().time() < end_s:
        one = queue.pop() if queue else rand.choice(all_)
        done.append(one.__name__)
        await one(site, rand.uniform(0.3, 1.0) if duration_s < 60 else rand.uniform(0.5, 8.0))
        await asyncio.sleep(rand.uniform(0.0, 1.0))
    return done
