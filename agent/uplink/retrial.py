"""A device that is held back, tried again alone on the link: what is sent of it, and what its refusal means.

What becomes of it then is the matter of `holds`, whose rules these are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from agent.model import Reading
from agent.store import Store
from agent.store.progress import Span
from agent.supervise import Episode
from agent.uplink.doubts import Doubts
from agent.uplink.holds import Hold, Holds
from agent.uplink.message import Link
from agent.uplink.reader import Numbered, Reader

log = logging.getLogger(__name__)

Offer = Callable[[Link, Sequence[Reading]], Awaitable[dict[str, str]]]
Taken = Callable[[Sequence[str], Span, Sequence[Reading]], None]


class Refused(Protocol):
    """What follows when `rows` of a device were refused, or the link ended with them (`lost`)."""

    def __call__(self, device: str, rows: Sequence[Numbered], reason: str, *, lost: bool) -> None: ...


class Retrial:
    """The retrials of one uplink: `begin` with every link, a `turn` now and then.

    `offer` sends readings and gives the devices that were refused, with the reason; `taken` is told what of a
    device's own progress was passed.
    """

    def __init__(
        self,
        uplink: str,
        store: Store,
        holds: Holds,
        doubts: Doubts,
        reader: Reader,
        *,
        offer: Offer,
        taken: Taken,
        rand: Callable[[], float],
    ) -> None:
        self._uplink, self._store, self._holds = uplink, store, holds
        self._doubts, self._reader, self._rand = doubts, reader, rand
        self._offer, self._taken = offer, taken
        self._poison = Episode(log, f"uplink {uplink}")
        self.under_way = False  # should the link end now, we know whose message it was

    def begin(self) -> None:
        """A new link."""
        self.under_way = False

    async def turn(self, link: Link, *, alone: bool) -> None:
        """Try a device that was held back long enough; `alone`: nothing else is on its way."""
        device = self._holds.due()
        if device is None:
            return
        if self._doubts.concern(self._holds.name_of(device)):
            self._holds.rest(device)  # or its poison would put back what was taken before it, for ever
        elif spans := self._holds.lacking(device):
            await self._retry(link, device, spans[0])
        elif alone:
            self._holds.release(device)
        else:
            self._holds.rest(device)

    async def _retry(self, link: Link, device: str, lacking: Span) -> None:
        """Send what the device lacks first, or what a suspect reading of it is judged by."""
        hold = self._holds[device]
        span, rows = await self._reader.of_device(lacking, device, hold.readings_max)
        await self._find_other(hold, device, rows)
        if not rows:
            self._holds.passed(device, span)
        elif other := self._holds.probe(device, rows[0]):
            hold.cleared = await self._try(link, device, [other], self._not_yet)
        elif await self._try(link, device, rows, self._judge):
            self._holds.taken(device)
            self._taken([self._holds.name_of(device)], span, [reading for _, reading in rows])

    async def _find_other(self, hold: Hold, device: str, rows: Sequence[Numbered]) -> None:
        """A single reading wants another beside it, should it be refused."""
        if len(rows) == 1 and not self._holds.has_other(device, rows[0]):
            near = await self._reader.near(device, rows[0][0])
            hold.other = near[int(self._rand() * len(near))] if near else None

    async def _try(self, link: Link, device: str, rows: Sequence[Numbered], refused: Refused) -> bool:
        """Whether the centre takes `rows`; if not, `refused` says what follows."""
        self.under_way = True
        try:
            reasons = await self._offer(link, [reading for _, reading in rows])
        except OSError as error:
            refused(device, rows, str(error), lost=True)
            raise
        self.under_way = False
        if device in reasons:
            refused(device, rows, reasons[device], lost=False)
        return device not in reasons

    def _not_yet(self, device: str, rows: Sequence[Numbered], reason: str, *, lost: bool) -> None:
        self._holds[device].other = None  # it may be as bad as the suspect
        self._holds.later(device, reason)

    def _judge(self, device: str, rows: Sequence[Numbered], reason: str, *, lost: bool) -> None:
        if not self._holds.refused(device, rows, reason, lost=lost):
            return
        seq, reading = rows[0]
        self._poison.failed(
            f"{device}: its reading at {reading.time_ms} ms is never taken ({reason}), its others are: "
            "that one is kept aside, in the table 'rejected' of the log"
        )
        self._store.ledger.rejected(self._uplink, (reading,))
        self._store.outbox.reject(self._uplink, reading, reason, round(time.time() * 1000))
        self._holds.passed(device, (seq, seq))
