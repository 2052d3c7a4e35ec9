"""What of the agent the server serves beside hub and store. What asks for a part that is None gets 503."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, Protocol, TypeAlias

from agent.dispatch import Dispatch

Document: TypeAlias = MutableMapping[str, Any]


class Stale(Exception):  # noqa: N818 - it was changed by someone else
    """The configuration is not the version that was seen; the text is its ETag now."""


class Configuration(Protocol):
    """The configuration file."""

    async def read(self) -> tuple[str, Document]:
        """Its ETag and its tables."""

    async def change(self, seen: str, edit: Callable[[Document], None]) -> tuple[str, list[str]]:
        """Have `edit` change the tables: the new ETag, and which lines were stopped or started. Stale,
        FaultyFile, or what `edit` raises: nothing was changed."""


class Parts(NamedTuple):
    """See the module."""

    dispatch: Dispatch | None = None
    configuration: Configuration | None = None
