"""Writing to a point: how it fails."""

from __future__ import annotations


class WriteFailed(Exception):  # noqa: N818 - says what became of the write
    """A write that was not confirmed, and why: a sentence for the one who asked for it.

    `unknown` says that it may have been carried out all the same (nothing came back).
    """

    def __init__(self, reason: str, *, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


class ReadOnly:
    """The `write` of a driver whose devices only speak."""

    async def write(self, device: str, point: str, value: float) -> None:
        """WriteFailed."""
        raise WriteFailed(f"{device}.{point}: cannot write {value:g}, nothing on such a line can be written")
