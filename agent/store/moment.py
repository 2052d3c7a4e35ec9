"""Up to where somebody reads. Lean: see `series`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

SEQ_MAX = 2**62

Row: TypeAlias = tuple[int, int, int, int, bytes]  # seq, group id, time_ms, quality, packed
Period: TypeAlias = tuple[int, int]


class Moment(NamedTuple):
    """What there was at one moment: the file up to `last_seq`, and beyond it `newest`, which is in memory."""

    last_seq: int = SEQ_MAX
    newest: Sequence[Row] = ()
