"""What reaches the port and is no HTTP request: refused by aiohttp before any of our code sees it.

Rules. It is noted for the audit log, and is not worth a line in the agent's own. Whatever else aiohttp says
goes where aiohttp's log goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp.http_exceptions import BadHttpMessage

MALFORMED = "request.malformed"


def requests_log(note: Callable[[str, str], None]) -> logging.Logger:
    """A logger for aiohttp's server; `note(kind, peer)` is told of noise."""
    usual = logging.getLogger("aiohttp.server")
    logger = logging.Logger(usual.name, logging.DEBUG)  # aiohttp says some of it at that level only
    logger.parent = usual

    def heard(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, BadHttpMessage):
            return usual.isEnabledFor(record.levelno)
        peer = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        note(MALFORMED, str(peer or ""))
        return False

    logger.addFilter(heard)
    return logger
