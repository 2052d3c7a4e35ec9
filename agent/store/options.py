"""What can be chosen about the store."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.schema import Options


class StoreOptions(Options):
    """`[store]`."""

    commit_interval_s: Annotated[float, Field(ge=0.05, le=1.0)] = 1.0
    size_max_mb: Annotated[int, Field(ge=8, le=1_000_000)] = 1024
    free_min_mb: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    discard: Literal["oldest", "thin", "newest"] = "oldest"
    memory_readings_max: Annotated[int, Field(ge=1000, le=1_000_000)] = 50_000
