"""What is to be exported, as it is handed to the process that does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from agent.export.style import Style
from agent.store.moment import Moment

UNREADABLE = 3  # how its process may end


class Order(NamedTuple):
    """`points`: id and unit of each, in their order. `step_ms` 0: every reading; else one `aggregate` (mean,
    min, max, last, count) a step. The readings are those of `file` as of `moment`."""

    file: str
    moment: Moment
    points: Sequence[tuple[str, str]]
    from_ms: int
    to_ms: int
    step_ms: int = 0
    aggregate: str = "mean"
    style: Style = Style()
    gzip: bool = False

    def encoded(self) -> bytes:
        """For `decoded`."""
        last_seq, newest = self.moment
        rows = [(*row[:-1], row[-1].hex()) for row in newest]
        return orjson.dumps({**self._asdict(), "moment": (last_seq, rows), "style": tuple(self.style)})


def decoded(text: bytes) -> Order:
    """What `encoded` made."""
    said: dict[str, Any] = orjson.loads(text)
    last_seq, newest = said.pop("moment")
    moment = Moment(last_seq, [(*row[:-1], bytes.fromhex(row[-1])) for row in newest])
    return Order(moment=moment, style=Style(*said.pop("style")), **said)
