"""What the server on the local network is given beside hub and store, and how the box is found there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

from agent import __version__
from agent.config import Config, ConfigFile
from agent.configuring import Configuring, Sheets
from agent.dispatch import Dispatch
from agent.intake import Intake
from agent.lines import Lines
from agent.mdns import Announcer, Service
from agent.scanning import Scans
from agent.server import Parts
from agent.server.options import is_loopback
from agent.tls import host_name, reachable_addresses


def parts_of(config: Config, dispatch: Dispatch, lines: Lines, scans: Scans) -> Parts:
    """What the server serves beside hub and store."""
    change = (config.file, _changer(lines), asyncio.Lock())
    return Parts(
        dispatch,
        configuration=Configuring(*change),
        profiles=Sheets(*change),
        intake=Intake(lines.drivers),
        scans=scans,
    )


def _changer(lines: Lines) -> Callable[[Config], Awaitable[list[str]]]:
    """Makes the running lines like a configuration; the rest of it holds from the next start on."""

    async def change(config: Config) -> list[str]:
        return await lines.change(config.options.line, config.profiles)

    return change


def announcing(options: ConfigFile, url: str) -> dict[str, Callable[[], Awaitable[None]]]:
    """Saying on the network that the box is there; nothing, if nobody else can reach it."""
    own = options.server
    if not own.mdns or is_loopback(own.host):
        return {}
    site, host = options.agent.site, host_name()
    port = urlsplit(url).port or own.port  # it may not be served yet
    scheme = "https" if own.https else "http"
    facts = (("version", __version__), ("site", site), ("scheme", scheme), ("path", "/"))
    service = Service(f"UICPS {site} ({host})", "_uicps._tcp", host, port, facts)
    addresses = partial(reachable_addresses, own.host)
    return {"mdns": Announcer(service, addresses).run}
