"""From the log to a centre over a link: what every uplink does, whatever its format.

Rules.
1. An outage of a second, of a week, a restart and a crash are one case: what was not acknowledged is
   still in the uplink's progress, and goes on from there. The same value at the same time may go twice.
2. New readings go first. What waited longer is the backlog: it drains beside them, a chunk a turn, and a
   chunk takes TURN_S at most, so that no new reading waits long behind old ones.
3. A turn's messages are all answered before the next turn; a span counts as passed when all of it was.
4. A device that is refused is held back alone (`holds`) and tried again apart (`retrial`). A link that ends
   twice with messages under way is sent one message at a time, which tells whose message ends it.
5. MQTT 3.1.1 cannot refuse: what it acknowledged just before the link ended goes again (`doubts`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby

from agent.model import Reading
from agent.store import Store
from agent.store.progress import Progress, Span
from agent.supervise import Episode
from agent.uplink.doubts import DOUBT_S, Doubts
from agent.uplink.drain import Drain
from agent.uplink.holds import LIMIT_WORDS, Holds
from agent.uplink.job import Job
from agent.uplink.message import Format, Link, Message
from agent.uplink.options import DeliveryOptions
from agent.uplink.pace import Limits, Pace, per_s
from agent.uplink.patience import PATIENT, Patience
from agent.uplink.reader import Numbered, Reader
from agent.uplink.retrial import Retrial

log = logging.getLogger(__name__)

STRIKES_MAX = 2  # links that end with messages under way, before these go one by one
CULPRIT_STRIKES = 2
TURN_S = 0.4
CHUNK_FIRST, CHUNK_MIN = 200, 10
LAG_BATCHES = 3


class Delivery:
    """One uplink's way out of `store`. `deliver` is called again with every new link."""

    def __init__(
        self,
        options: DeliveryOptions,
        format: Format,
        store: Store,
        episode: Episode,
        *,
        limits: Callable[[], Limits] = Limits,
        rand: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        passed_too: str | None = None,
        todo: Callable[[], Progress] | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        self._name, self._options, self._format = options.name, options, format
        self._store, self._patience = store, patience
        self._episode, self._rand, self._clock = episode, rand, clock
        self.pace = Pace(per_s(options.messages_per_s_max, options.values_per_s_max), limits, clock)
        self.holds = Holds(options.name, store, clock, patience)
        self.drain = Drain(clock)
        most = options.batch_readings_max
        self._reader = Reader(store, most, newest_first=options.backlog == "newest")
        self._passing = [self._name, passed_too] if passed_too else [self._name]
        self._todo = todo or (lambda: store.outbox.progress(options.name))
        self._live: Job | None = None
        self._backlog: Job | None = None
        self._live_seq = 0  # up to here readings are on their way, or backlog
        self._backlog_s = 0.0  # when the backlog may start
        self._chunk = CHUNK_FIRST
        self._greeted: dict[Hashable, Message] = {}
        self._greetings_s = 0.0
        self._doubts = Doubts(store.outbox, self._count)
        self._retrial = Retrial(
            *(options.name, store, self.holds, self._doubts, self._reader),
            offer=self._offer,
            taken=self._taken,
            rand=rand,
        )
        self._under_way: str | None = None  # device, or "" for several
        self._strikes = self._doubted = 0
        self._culprits: Counter[str] = Counter()
        self._sure = self._idle = True
        self.readings = self.values = 0
        self.taken_s = clock()  # when something was last taken

    # ---------------------------------------------------------------- a link

    async def deliver(self, link: Link, *, sure: bool, wanted: Callable[[], bool] = lambda: True) -> None:
        """Deliver for ever, or while `wanted()`; OSError when the link fails.

        `sure`: an acknowledgement means that it was taken (MQTT 5).
        """
        self._sure = sure
        self._begin()
        try:
            while wanted():
                await self._turn(link)
        except OSError as error:
            self._lost(error)
            raise
        except asyncio.CancelledError:
            if link.gone.done():  # somebody beside us met the end first
                self._lost(ConnectionError("connection lost"))
            raise
        finally:
            self._doubts.put_back()

    def _begin(self) -> None:
        todo, until = self._todo(), self._store.released_seq
        self._live = self._backlog = None
        self._greeted.clear()
        self._retrial.begin()
        self.drain.begin()
        most = self._options.batch_readings_max
        self._live_seq = todo.beyond if until - todo.beyond <= most else until
        large = todo.waiting(until) > most
        self._backlog_s = self._clock() + (self._rand() * self._options.backlog_delay_s_max if large else 0)

    def _lost(self, error: OSError) -> None:
        """Learn from how the link ended."""
        text = str(error)
        self._settle_doubts()
        if any(word in text for word in LIMIT_WORDS):
            self.pace.refused()
        elif self._under_way is not None and not self._retrial.under_way:
            self._strikes += 1
            if self._under_way and self._strikes > STRIKES_MAX:
                self._accuse(self._under_way, text)
        if not self._sure and not self._retrial.under_way and not isinstance(error, TimeoutError):
            self._doubted += 1
            if self._doubted > STRIKES_MAX:
                self.pace.refused()  # taken, then closed: that is how 3.1.1 refuses for a limit
        self._idle = self._under_way is None
        self._under_way = None
        self._chunk = CHUNK_MIN

    def _accuse(self, device: str, reason: str) -> None:
        self._culprits[device] += 1
        if self._culprits[device] >= CULPRIT_STRIKES and device not in self.holds:
            self._add_hold(device, reason)

    def _add_hold(self, device: str, reason: str) -> None:
        self.holds.add(device, self._store.outbox.progress(self._name), reason)
        self._doubts.of_another(self.holds.name_of(device), self._name)

    @property
    def idle(self) -> bool:
        """Nothing was under way when the last link ended."""
        return self._idle

    def forget_greeting(self, key: Hashable) -> None:
        """Introduce it again before its next data."""
        self._greeted.pop(key, None)

    # ---------------------------------------------------------------- a turn

    async def _turn(self, link: Link) -> None:
        if not (self._live or self._backlog or self._backlog_span()):
            await self._wait_for_news(link)
        await self._refill()
        began_s = self._clock()
        with_backlog = self._backlog is not None
        sent = await self._send_jobs(link)
        if with_backlog and sent:
            self._adapt(self._clock() - began_s)
        await self._retrial.turn(link, alone=not (self._live or self._backlog))
        await self._greet_again(link)
        self._settle_doubts()

    def _adapt(self, turn_s: float) -> None:
        if turn_s > TURN_S:
            self._chunk = max(CHUNK_MIN, self._chunk // 2)
        elif turn_s < TURN_S / 2:
            self._chunk = min(self._options.batch_readings_max, self._chunk * 2)

    async def _wait_for_news(self, link: Link) -> None:
        """Until there is something to send; a moment longer, so that one wake-up serves many readings."""
        if self._store.released_seq - self._live_seq >= self._options.batch_readings_max:
            return
        if self._store.released_seq <= self._live_seq:
            news = asyncio.ensure_future(self._store.wait_beyond(self._live_seq))
            due_s = (self._patience.rest_s, self.holds.due_in_s(), self._backlog_due_in_s())
            rest_s = max(0.0, min(due_s))
            try:
                await asyncio.wait((news, link.gone), timeout=rest_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
            link.check()
        if self._store.released_seq > self._live_seq:
            await asyncio.sleep(self._options.linger_ms / 1000)

    def _backlog_due_in_s(self) -> float:
        wait_s = self._backlog_s - self._clock()
        return wait_s if wait_s > 0 else math.inf

    async def _refill(self) -> None:
        """Take up what is new, and a chunk of the backlog."""
        if self._live is None and (until := self._store.released_seq) > self._live_seq:
            if until - self._live_seq > LAG_BATCHES * self._options.batch_readings_max:
                self._live_seq = until - self._options.batch_readings_max  # what is older is backlog
            first = self._live_seq + 1
            batch = await self._store.read_after(self._live_seq, self._options.batch_readings_max)
            # Without a batch the log was emptied up to what was the newest when we looked.
            last = batch[-1][0] if batch else until
            self._live_seq = last
            passed = self._todo().passed_of(first, last)  # what came home from memory may be delivered
            new = [row for row in batch if not any(start <= row[0] <= end for start, end in passed)]
            self._live = self._job((first, last), new)
        if self._backlog is None and (span := self._backlog_span()):
            self._backlog = self._job(*await self._reader.chunk(span, self._chunk))

    def _backlog_span(self) -> Span | None:
        """What of the backlog is next: one gap, whole."""
        if self._clock() < self._backlog_s:
            return None
        until = self._live.span[0] - 1 if self._live else self._live_seq
        spans = self._todo().spans(min(until, self._store.released_seq))
        if not spans:
            return None
        return spans[-1] if self._options.backlog == "newest" else spans[0]

    def _job(self, span: Span, rows: Sequence[Numbered]) -> Job:
        self.holds.saw(rows)
        readings = [reading for _, reading in rows if reading.group.device.name not in self.holds]
        return Job(span, readings, self._messages(readings))

    def _messages(self, readings: Iterable[Reading]) -> deque[Message]:
        """One device per message: a device that is refused does not take others with it."""
        found: deque[Message] = deque()
        for device, group in groupby(sorted(readings, key=_device_name), key=_device_name):
            own = list(group)
            found.extend(self._format.greetings(device, own, self._greeted))
            found.extend(self._format.data(device, own, self.pace.values_max))
        return found

    # ---------------------------------------------------------------- sending

    async def _send_jobs(self, link: Link) -> bool:
        jobs = [job for job in (self._live, self._backlog) if job]
        messages = [message for job in jobs for message in self.pace.take(job.pending)]
        if any(job.pending for job in jobs) and not messages:
            wait_s = min(self.pace.wait_s(job.pending) for job in jobs if job.pending)
            await asyncio.wait((link.gone,), timeout=min(max(wait_s, 0.001), 0.05))
            link.check()
            return False
        refused = await self._send(link, messages)
        for device, reason in refused.items():
            self._hold(device, reason)
        if self._live and not self._live.pending:
            self._done(self._live)
            self._live = None
        if self._backlog and not self._backlog.pending:
            self.drain.count(len(self._backlog.readings))
            self._done(self._backlog)
            self._backlog = None
        return True

    async def _send(self, link: Link, messages: Sequence[Message]) -> dict[str, str]:
        """Send and await the answers; the devices that were refused, with the reason."""
        greetings = [message for message in messages if message.greets is not None]
        if not greetings:
            refused = await self._publish(link, messages)
        else:
            refused = await self._greet(link, greetings)
            data = [m for m in messages if m.greets is None and m.device not in refused]
            refused |= await self._publish(link, data)
        if messages:
            self._strikes = 0
            self._culprits.clear()
        return refused

    async def _publish(self, link: Link, messages: Sequence[Message]) -> dict[str, str]:
        one_by_one = self._strikes >= STRIKES_MAX
        refused: dict[str, str] = {}
        for message in messages:
            self._under_way = message.device if one_by_one else ""
            await link.publish_acked(message.topic, message.payload, message.device, retain=message.retain)
            if one_by_one:
                refused |= await link.settle()
        refused |= await link.settle()
        self._under_way = None
        return refused

    async def _greet(self, link: Link, greetings: Sequence[Message]) -> dict[str, str]:
        refused = await self._publish(link, greetings)
        self.pace.spend(len(greetings))  # the first word of a device costs the centre a second message
        for message in greetings:
            if message.device not in refused:
                self._greeted[message.greets] = message
        return refused

    async def _offer(self, link: Link, readings: Sequence[Reading]) -> dict[str, str]:
        """Send `readings` apart from the jobs; the devices that were refused, with the reason."""
        messages = self._messages(readings)
        self.pace.spend(len(messages))
        return await self._send(link, messages)

    def _hold(self, device: str, reason: str) -> None:
        self._add_hold(device, reason)
        for job in (self._live, self._backlog):
            if job:
                job.without(device)

    def _done(self, job: Job) -> None:
        """All of `job` was taken."""
        self._taken(self._passing, job.span, job.readings)
        self._episode.ended()

    def _taken(self, names: Sequence[str], span: Span, readings: Sequence[Reading]) -> None:
        """The centre says that it has `readings`, all that `names` had to deliver of `span`."""
        for name in names:
            self._store.outbox.passed(name, *span)
        if self._sure:
            self._count(readings)
        else:
            self._doubts.add(self._clock(), names, span, readings)

    def _count(self, readings: Sequence[Reading]) -> None:
        self._store.ledger.delivered(self._name, readings)
        self.taken_s = self._clock()
        self.readings += len(readings)
        self.values += sum(len(reading.values) for reading in readings)

    def _settle_doubts(self) -> None:
        if self._doubts.settle(self._clock() - DOUBT_S):
            self._doubted = 0

    # ---------------------------------------------------------------- beside

    async def _greet_again(self, link: Link) -> None:
        """Introduce again the devices that were quiet for so long that the centre forgot them."""
        if self._format.expires_s == math.inf or (now_s := self._clock()) < self._greetings_s:
            return
        self._greetings_s = now_s + self._patience.greetings_check_s
        before_s = now_s - self._format.expires_s
        spoke_s = link.spoke_s
        quiet = [message for message in self._greeted.values() if spoke_s[message.device] < before_s]
        if quiet:
            for message in quiet:
                self.forget_greeting(message.greets)
            await self._greet(link, quiet)


def _device_name(reading: Reading) -> str:
    return reading.group.device.name
