"""What the agent says: to the journal (or a terminal), one line for each event, never a flood.

Rules.
1. One event is one line, its traceback too: the journal keeps lines, and a search finds whole events.
2. Under systemd the line begins with its level (sd-daemon(3)) and has no time: the journal has both.
3. Of one message (its text before the values are put in) only so many come in a minute; how many were left
   out is said with the next one. Errors are counted apart from warnings of the same text.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import orjson

LogFormat = Literal["text", "json"]

PER_MINUTE_MAX = 30
MINUTE_S = 60.0
MESSAGES_MAX = 1000  # different ones that are counted at a time
LINE_CHARS_MAX = 16_000

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def start_logging(
    level: str, log_format: LogFormat = "text", environment: Mapping[str, str] = os.environ
) -> None:
    """Send everything of at least `level` to standard error."""
    journal = "JOURNAL_STREAM" in environment
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(journal=journal) if log_format == "json" else TextLines(journal=journal))
    handler.addFilter(Quota())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("agent.uplink.mqtt.paho").setLevel(logging.ERROR)


class TextLines(logging.Formatter):
    """`WARNING agent.store: text`, the newlines of a traceback written as " | "."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__(f"{'' if journal else '%(asctime)s '}%(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = " | ".join(line for line in super().format(record).splitlines() if line.strip())
        return _prefix(record, journal=self._journal) + text[:LINE_CHARS_MAX]


class JsonLines(logging.Formatter):
    """One JSON object: time, level, logger, message and, of a failure, traceback."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LINE_CHARS_MAX],
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)[-LINE_CHARS_MAX:]
        return _prefix(record, journal=self._journal) + orjson.dumps(said, default=str).decode()


def _prefix(record: logging.LogRecord, *, journal: bool) -> str:
    return f"<{_PRIORITY.get(record.levelno, 6)}>" if journal else ""


class Quota(logging.Filter):
    """Lets `PER_MINUTE_MAX` of each message through in a minute, and says how many it kept back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._counts: dict[tuple[str, int, str], tuple[float, int]] = {}  # since when, how many

    def filter(self, record: logging.LogRecord) -> bool:
        key, now_s = (record.name, record.levelno, str(record.msg)), self._monotonic()
        since_s, count = self._counts.get(key, (now_s, 0))
        if now_s - since_s >= MINUTE_S:
            if (left_out := count - PER_MINUTE_MAX) > 0:
                record.msg = f"{record.getMessage()} (and {left_out} more like this were left out)"
                record.args = None
            since_s, count = now_s, 0
        if len(self._counts) >= MESSAGES_MAX and key not in self._counts:
            self._counts.clear()
        self._counts[key] = since_s, count + 1
        return count < PER_MINUTE_MAX
