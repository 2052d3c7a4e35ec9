"""An uplink: a connection that is kept, a delivery over it, and how both are doing.

Rules.
1. `run` is entered again after every loss of the connection, and raises OSError when it is lost.
2. MQTT 5 is tried at every connection, 3.1.1 only if the broker's own word leads there: an
   acknowledgement of 3.1.1 cannot say no.
3. A standby is silent while its primary delivers. When the primary has had something to deliver for
   `takeover_s` and delivered nothing, the standby goes on where the primary stopped, until the primary was
   well for `steady_s`: one that comes and goes does not make it come and go too. The primary gets what it
   missed (`on_return = "resend"`), or not (`"skip"`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiomqtt

from agent.store import Store
from agent.store.progress import Progress
from agent.supervise import Episode
from agent.uplink.delivery import Delivery
from agent.uplink.message import Format
from agent.uplink.mqtt import HungUpError, Session, UnsupportedVersionError
from agent.uplink.options import DeliveryOptions
from agent.uplink.pace import Limits
from agent.uplink.patience import PATIENT, Patience
from agent.uplink.rival import Rival

log = logging.getLogger(__name__)

VERSIONS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}
DUTY_CHECK_S = 1.0


class UplinkState(NamedTuple):
    """`backlog` in readings, `backlog_per_s` how quickly what waited goes, `eta_s` until it is gone (None:
    nobody can know); `rejected` readings the centre would never take; `last_error` is what ended the last
    connection, "" if none did; `advice` what a person should do, "" if nothing."""

    name: str
    connected: bool
    held_devices: int
    delivered_readings: int
    delivered_values: int
    backlog: int
    connections: int
    protocol: str
    last_error: str
    backlog_per_s: float
    eta_s: float | None
    rejected: int
    standby: bool
    advice: str


class Uplink(ABC):
    """Enter `run` under supervision. `beside` runs with every connection; it must leave `settle` alone."""

    def __init__(
        self,
        options: DeliveryOptions,
        format: Format,
        store: Store,
        primary: Uplink | None = None,
        *,
        rand: Callable[[], float] = random.random,
        patience: Patience = PATIENT,
    ) -> None:
        self.name = options.name
        self.retry_s_max = options.retry_s_max
        self.episode = Episode(log, f"uplink {options.name} ({options.host}:{options.port})")
        self.beside: list[Callable[[Session], Awaitable[None]]] = []
        self.limits = Limits()  # what the centre grants; whoever learns of it sets it
        self._uplink_options, self._store, self._primary = options, store, primary
        self._rival = Rival(self.name, rand, patience=patience)
        self.delivery = Delivery(
            options,
            format,
            store,
            self.episode,
            limits=lambda: self.limits,
            rand=rand,
            todo=self._todo,
            passed_too=options.standby_for if options.on_return == "skip" else None,
            patience=patience,
        )
        self._steady_s = min(patience.steady_s, options.takeover_s)
        self._hiccup_s = patience.hiccup_s
        self._unwell_s: float | None = None  # on duty: when the primary was last not well
        self._protocol = ""
        self._connected = self._knows_5 = False
        self._connections = 0
        self._last_error = ""

    @abstractmethod
    def session(self, protocol: aiomqtt.ProtocolVersion) -> Session:
        """A new connection to enter. OSError if a secret cannot be read."""

    async def before_session(self, protocol: aiomqtt.ProtocolVersion) -> None:  # noqa: B027 - few need it
        """Whatever a session needs first. OSError if it cannot be had."""

    @property
    def state(self) -> UplinkState:
        """What the uplink has done since the agent started."""
        backlog = self._todo().waiting(self._store.last_seq)
        delivery = self.delivery
        return UplinkState(
            self.name,
            self._connected,
            len(delivery.holds),
            delivery.readings,
            delivery.values,
            backlog,
            self._connections,
            self._protocol,
            self._last_error,
            round(delivery.drain.per_s, 1),
            delivery.drain.eta_s(backlog),
            self._store.outbox.rejected(self.name),
            self._primary is not None,
            self._rival.advice,
        )

    def _todo(self) -> Progress:
        """What is yet to deliver; by a standby, what its primary has not delivered either."""
        own = self._store.outbox.progress(self.name)
        if self._primary is None:
            return own
        return own.common(self._store.outbox.progress(self._primary.name))

    def _on_duty(self) -> bool:
        """Whether to deliver; of a standby, whether its primary does not."""
        if self._primary is None:
            return True
        now_s = time.monotonic()
        if self._unwell_s is None:
            if self._primary.silent_s < self._uplink_options.takeover_s:
                return False
            self._unwell_s = now_s
        elif now_s - self._unwell_s >= self._steady_s:
            self._unwell_s = None
            return False
        elif not self._primary.is_well(self._hiccup_s):
            self._unwell_s = now_s
        return True

    def is_well(self, hiccup_s: float) -> bool:
        """Connected, and not silent for more than `hiccup_s`."""
        return self._connected and self.silent_s <= hiccup_s

    @property
    def silent_s(self) -> float:
        """For how long it has delivered nothing although something waits."""
        if not self._todo().waiting(self._store.released_seq):
            return 0.0
        return time.monotonic() - self.delivery.taken_s

    # ---------------------------------------------------------------- connection

    async def run(self) -> None:
        """Connect and deliver for ever; OSError when the link fails."""
        while True:
            if self._primary:
                await self._stand_by(self._primary)
            await self._rival.let_go_first()
            try:
                await self._run_once()
            except* OSError as group:
                error = _first(group)
                self._last_error = str(error)
                self._rival.suspect(error, delivered=self.delivery.idle)
                raise
            log.info("uplink %s: %s delivers again, standing by", self.name, self._uplink_options.standby_for)

    async def _stand_by(self, primary: Uplink) -> None:
        """Until the primary was silent for too long."""
        while not self._on_duty():  # noqa: ASYNC110 - silence is no event
            await asyncio.sleep(DUTY_CHECK_S)
        log.warning("uplink %s: %s is silent, taking over", self.name, primary.name)

    async def _run_once(self) -> None:
        wanted = self._uplink_options.protocol
        try:
            await self._connect_and_deliver("5" if wanted == "auto" else wanted)
        except (UnsupportedVersionError, HungUpError):
            # Who has spoken MQTT 5 before is down, not old.
            if wanted != "auto" or self._knows_5:
                raise
            log.debug("uplink %s: no MQTT 5, going on with 3.1.1", self.name)
            await self._connect_and_deliver("3.1.1")

    async def _connect_and_deliver(self, protocol: str) -> None:
        self._protocol = protocol
        try:
            await self.before_session(VERSIONS[protocol])
            async with self.session(VERSIONS[protocol]) as session:
                self._connected = True
                self._knows_5 |= protocol == "5"
                self._connections += 1
                self._rival.connected()
                await self._with_companions(session)
        finally:
            self._connected = False

    async def _with_companions(self, session: Session) -> None:
        """Deliver, with whatever else talks on this connection beside it."""
        work = self.delivery.deliver(session, sure=self._protocol == "5", wanted=self._on_duty)
        if not self.beside:
            await work
            return
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(_whole(each, session)) for each in self.beside]
            await work
            for task in others:
                task.cancel()


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """One error of those that ended a connection; companions have groups of their own."""
    error: Exception | BaseExceptionGroup[Exception] = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _whole(companion: Callable[[Session], Awaitable[None]], session: Session) -> None:
    await companion(session)
