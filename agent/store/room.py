"""How the room that the owner gives is shared out, so that all files of the store together keep within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MB = 1_000_000
WAL_BYTES_MAX = 24 * 1024 * 1024
JOURNAL_SIZES_BYTES = (16 * 1024 * 1024, 2 * 1024 * 1024)  # the second where there is no room for the first
SMALL_MB = 128


class Room(NamedTuple):
    """In bytes: what the log and the sealed history may take, when the write-ahead log is brought into the
    file at the latest, and how large the journal may be (the first that fits the disk)."""

    file_bytes: int
    wal_bytes: int
    journal_sizes_bytes: Sequence[int]


def room_of(size_max_mb: int) -> Room:
    """At least 8 MB."""
    all_bytes = size_max_mb * MB
    wal_bytes = min(WAL_BYTES_MAX, all_bytes // 4)
    one_chunk_bytes = min(4 * MB, wal_bytes * 3 // 4)  # a transaction ends before it is brought in
    sizes = JOURNAL_SIZES_BYTES if size_max_mb >= SMALL_MB else JOURNAL_SIZES_BYTES[1:]
    return Room(all_bytes - wal_bytes - sizes[0], wal_bytes - one_chunk_bytes, sizes)
