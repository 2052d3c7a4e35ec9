"""The uplinks of the running agent, put together: what each delivers, and how its centre talks back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from agent import __version__
from agent.centre import requests
from agent.config import Config
from agent.field import Field
from agent.store import Store
from agent.store.requeue import requeue
from agent.supervise import Backoff, Episode, supervise
from agent.uplink import SETTINGS, Settings, ThingsBoard, Uplink, let_talk, open_uplinks
from agent.uplink.methods import Rescan, Status

log = logging.getLogger(__name__)

FOLDER = "uplinks"


class Forwarding:
    """`uplinks` deliver what `store` has while `works` are kept running."""

    def __init__(self, config: Config, store: Store) -> None:
        self._folder, self._requests = config.data_dir / FOLDER, config.data_dir / requests.FOLDER
        self._store = store
        self.uplinks = open_uplinks(config.options.uplink, store, self._folder, config.options.agent.site)

    @property
    def works(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Every task of it, by name."""
        uplinks = {f"uplink {uplink.name}": partial(_delivered, uplink) for uplink in self.uplinks}
        return {"requeue": self._requeue, **uplinks}

    async def let_talk(
        self, field: Field, status: Status, rescan: Rescan, obeyed: Mapping[str, Callable[[Any], None]]
    ) -> None:
        """Let every ThingsBoard call, set and be told; what one sets, all are told, and `obeyed` does it."""
        known = {name: replace(each, apply=obeyed.get(name, each.apply)) for name, each in SETTINGS.items()}
        settings = Settings(self._folder / "settings.json", known)
        await settings.load()
        for uplink in self.uplinks:
            if isinstance(uplink, ThingsBoard):
                await let_talk(
                    *(uplink, self._folder),
                    hub=field.hub,
                    dispatch=field.dispatch,
                    settings=settings,
                    status=status,
                    version=__version__,
                    rescan=rescan,
                )

    async def _requeue(self) -> None:
        """Send again what `ledger reconcile` asks for."""
        known = [uplink.name for uplink in self.uplinks]
        serve = partial(requests.serve, self._requests, partial(requeue, self._store), known)
        await supervise(serve, Episode(log, str(self._requests)))


async def _delivered(uplink: Uplink) -> None:
    await supervise(uplink.run, uplink.episode, Backoff(first_s=0.5, most_s=uplink.retry_s_max))
