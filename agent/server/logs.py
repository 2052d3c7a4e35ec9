"""The newest lines of the log, in memory, for those who cannot look at the box itself."""

from __future__ import annotations

import logging
from collections import deque
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from agent.server.asking import Query, query
from agent.server.replies import json_reply

LINES_MAX = 2000
TEXT_CHARS_MAX = 2000
ON_THE_BOX = {"on_the_box": True}


class LogQuery(Query):
    """Lines of at least `level`, with a number above `after`, the newest `limit` of them."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=LINES_MAX)] = 200


class Ring(logging.Handler):
    """Keeps LINES_MAX lines; to be added to the root logger. A log with a traceback keeps its end. What is
    logged with `extra=ON_THE_BOX` is only for who can read the log itself."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[int, dict[str, Any]]] = deque(maxlen=LINES_MAX)
        self._number = 0
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "on_the_box"):
            return
        text = self.format(record)
        self._number += 1
        line = {
            "number": self._number,
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": text if len(text) <= TEXT_CHARS_MAX else "..." + text[-TEXT_CHARS_MAX:],
        }
        self._lines.append((record.levelno, line))

    async def lines(self, request: web.Request) -> web.Response:
        """A handler."""
        asked = query(request, LogQuery)
        least = logging.getLevelNamesMapping()[asked.level.upper()]
        found = [
            line for level, line in tuple(self._lines) if level >= least and line["number"] > asked.after
        ]
        return json_reply({"lines": found[-asked.limit :], "next": self._number})
