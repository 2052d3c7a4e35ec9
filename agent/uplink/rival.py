"""Another client with our credentials: each connection ends the other's, for ever. Said once, with a way out.

MQTT 5 says "session taken over". On 3.1.1 the centre just closes a connection on which all was well; after
`rival_lives_max` short lives in a row that is said as what it may be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from agent.uplink.mqtt import TakenOverError
from agent.uplink.patience import PATIENT, Patience

log = logging.getLogger(__name__)

SHORT_LIFE_S = 30.0
CALM_S = 600.0

TAKEN_OVER = (
    "another client connects with the same credentials, and the centre lets only one in: give each box"
    " a token (a gateway device) of its own, or stop the other client"
)
MAYBE_TAKEN_OVER = (
    "the centre ends the connection again and again although all was well: either another client uses"
    " the same credentials (give each box a token of its own), or a rate limit of the centre is exceeded"
    " (messages_per_s_max)"
)


class Rival:
    """Watches how the connections of one uplink end."""

    def __init__(
        self,
        uplink: str,
        rand: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        patience: Patience = PATIENT,
    ) -> None:
        self._patience = patience
        self._uplink, self._rand, self._clock = uplink, rand, clock
        self._began_s = 0.0
        self._seen_s = 0.0
        self._short_lives = 0
        self._advice = ""
        self._due = False

    @property
    def advice(self) -> str:
        """What a person should do; "" if there is no rival, or it was not seen for CALM_S."""
        if self._advice and self._clock() - self._seen_s > CALM_S:
            self._advice = ""
        return self._advice

    def connected(self) -> None:
        """A connection stands."""
        self._began_s = self._clock()

    def suspect(self, error: BaseException, *, delivered: bool) -> None:
        """A connection ended with `error`; `delivered`: nothing was under way on it."""
        lost = "connection lost" in str(error)
        if isinstance(error, TakenOverError):
            self._say(TAKEN_OVER)
        elif delivered and lost and self._clock() - self._began_s < SHORT_LIFE_S:
            self._short_lives += 1
            if self._short_lives >= self._patience.rival_lives_max:
                self._say(MAYBE_TAKEN_OVER)
        elif lost:
            self._short_lives = 0

    def _say(self, advice: str) -> None:
        if not self.advice:
            log.warning("uplink %s: %s", self._uplink, advice)
        self._advice, self._seen_s, self._due = advice, self._clock(), True

    async def let_go_first(self) -> None:
        """Wait a while before the next connection if a rival ended the last one."""
        if self._due:
            self._due = False
            first_s, last_s = self._patience.rival_wait_s
            await asyncio.sleep(first_s + self._rand() * (last_s - first_s))
