"""What `ledger reconcile` asks of the running agent: to send readings again.

Rules. A command never writes to the store of a running agent: it leaves a file, whole or not at all, and
the agent takes it, does it, and only then removes it. A request done twice is harmless: what is sent
again is stored as the same value at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import Field, ValidationError

from agent.schema import Options

log = logging.getLogger(__name__)

FOLDER = "requeue"
LOOK_EVERY_S = 5.0
PENDING_MAX = 10_000
FILE_BYTES_MAX = 4096


class Request(Options):
    """Send the readings of `device` with `from_ms` <= time < `to_ms` to `uplink` again."""

    uplink: Annotated[str, Field(min_length=1, max_length=64)]
    device: Annotated[str, Field(min_length=1, max_length=255)]
    from_ms: Annotated[int, Field(ge=0)]
    to_ms: Annotated[int, Field(ge=0)]

    @property
    def arguments(self) -> tuple[str, str, int, int]:
        return self.uplink, self.device, self.from_ms, self.to_ms


def leave(folder: Path, request: Request) -> None:
    """Ask for it. OSError if it cannot be written, or if PENDING_MAX wait already: does the agent run?"""
    folder.mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.glob("*.json")) >= PENDING_MAX:
        raise OSError(f"{folder}: {PENDING_MAX} requests wait already: start the agent, it takes them")
    name = uuid.uuid4().hex
    unfinished = folder / f"{name}.part"
    try:
        with unfinished.open("wb") as file:
            file.write(orjson.dumps(request.model_dump()))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / f"{name}.json")
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def waiting(folder: Path) -> list[tuple[Path, Request]]:
    """The requests with their files; one that cannot be understood is removed and said."""
    found = []
    for file in sorted(folder.glob("*.json"))[:PENDING_MAX]:
        try:
            with file.open("rb") as opened:
                found.append((file, Request.model_validate_json(opened.read(FILE_BYTES_MAX))))
        except ValidationError as error:
            log.warning("%s: not a request, removed: %s", file, str(error).partition("\n")[0])
            file.unlink(missing_ok=True)
    return found


async def serve(
    folder: Path,
    requeue: Callable[[str, str, int, int], Awaitable[int]],
    uplinks: Collection[str],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do what is asked of one of `uplinks`, for ever. OSError if it cannot be done now."""
    while True:
        for file, request in await asyncio.to_thread(waiting, folder):
            if request.uplink in uplinks:
                count = await requeue(*request.arguments)
                log.info("uplink %s: %s from %d to %d is sent again: %d readings", *request.arguments, count)
            else:
                log.warning("%s: uplink %s is not in the configuration, removed", file, request.uplink)
            await asyncio.to_thread(file.unlink, missing_ok=True)
        await sleep(LOOK_EVERY_S)
