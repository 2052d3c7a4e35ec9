"""What systemd is told: ready, still well, stopping (sd_notify(3)), without another process or library.

Rules.
1. The watchdog is fed only while every sign of life is there; the first that is not stands in `STATUS=`,
   and systemd ends and restarts us. So a sign is only what a restart can mend: a loop that no longer
   turns. A disk that refuses is not, polling and control go on without it.
2. Feeding happens in the event loop: if that is blocked, nothing feeds.
3. Without systemd (no NOTIFY_SOCKET) nothing is sent and nothing is missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

from agent.supervise import Episode

log = logging.getLogger(__name__)

STATUS_S = 5.0
STATUS_CHARS_MAX = 200
Sign = Callable[[], str]  # "" or what is wrong


class Notifier:
    """Sends to the socket that systemd names. A socket that refuses is said once, nothing fails."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        # An abstract socket is written with a leading @ and addressed with a leading NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._episode = Episode(log, "systemd")

    def send(self, **fields: str | int) -> None:
        """Send `READY=1`, `STATUS=text` and the like, in one datagram."""
        if not self._address:
            return
        text = "\n".join(f"{name}={str(value).replace(chr(10), ' ')}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(text.encode(), self._address)
            self._episode.ended()
        except OSError as error:
            self._episode.failed(f"cannot be told: {error}")


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear from us (`WatchdogSec=`); None: not at all."""
    pid, usec = environment.get("WATCHDOG_PID"), environment.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6


class Watchdog:
    """Feeds systemd while all `signs` are well; `summary` is what `systemctl status` shows meanwhile."""

    def __init__(
        self,
        notifier: Notifier,
        signs: Mapping[str, Sign],
        summary: Callable[[], str],
        interval_s: float | None = None,
    ) -> None:
        self._notifier, self._signs, self._summary = notifier, signs, summary
        asked_s = watchdog_s() if interval_s is None else interval_s
        # Three chances in the time that systemd gives us.
        self._interval_s = min(STATUS_S, asked_s / 3) if asked_s else STATUS_S
        self._starving = Episode(log, "watchdog")

    async def run(self) -> None:
        """Say that we are ready, then feed for ever."""
        self._notifier.send(READY=1)
        while True:
            self.feed()
            await asyncio.sleep(self._interval_s)

    def feed(self) -> None:
        """Feed once, unless a sign of life is missing."""
        missing = "; ".join(f"{name}: {reason}" for name, sign in self._signs.items() if (reason := sign()))
        if missing:
            self._starving.failed(f"not fed: {missing}")
            self._notifier.send(STATUS=f"not well: {missing}"[:STATUS_CHARS_MAX])
            return
        self._starving.ended()
        self._notifier.send(WATCHDOG=1, STATUS=self._summary()[:STATUS_CHARS_MAX])
