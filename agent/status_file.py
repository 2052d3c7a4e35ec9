"""The agent's status as a file in memory (/run), for `service status`, `doctor` and whoever has a shell.

Written anew as a whole each time, so a reader never sees half of it. Without a RuntimeDirectory= nothing
is written. It holds counters, names and reasons, never a secret.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

NAME = "status.json"
INTERVAL_S = 2.0
STALE_S = 15.0


class StatusFile:
    """`run` beside the rest; OSError of a full /run is the caller's to supervise."""

    def __init__(self, status: Callable[[], Mapping[str, Any]], folder: Path | None = None) -> None:
        given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        self._folder = folder or (Path(given) if given else None)
        self._status = status

    async def run(self) -> None:
        """Write it every INTERVAL_S, for ever."""
        while True:
            if self._folder is not None:
                self.write(self._folder)
            await asyncio.sleep(INTERVAL_S)

    def write(self, folder: Path) -> None:
        """Once; in the event loop, /run is memory."""
        draft = folder / f".{NAME}"
        body = {"pid": os.getpid(), "written_s": time.time(), **self._status()}
        draft.write_bytes(orjson.dumps(body, default=str))
        draft.rename(folder / NAME)


def read_status(folder: Path, now_s: Callable[[], float] = time.time) -> dict[str, Any] | None:
    """The status of the running agent; None: there is none, or it is too old to mean anything."""
    try:
        found = json.loads((folder / NAME).read_bytes())
    except (OSError, ValueError):
        return None
    fresh = isinstance(found, dict) and abs(now_s() - float(found.get("written_s", 0))) < STALE_S
    return found if fresh else None
