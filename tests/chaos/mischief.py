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


ALL: tuple[Mischief, ...] = (
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
    queue = rand.sample(ALL, len(ALL))
    while queue or asyncio.get_running_loop().time() < end_s:
        one = queue.pop() if queue else rand.choice(ALL)
        done.append(one.__name__)
        await one(site, rand.uniform(0.5, 2.0) if duration_s < 60 else rand.uniform(0.5, 8.0))
        await asyncio.sleep(rand.uniform(0.0, 1.0))
    return done
