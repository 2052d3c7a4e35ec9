"""What a centre has acknowledged and may yet not have taken: MQTT 3.1.1 cannot refuse, it closes after that.

Rules.
1. Nothing counts as delivered before the link has outlived its acknowledgement by DOUBT_S. Until then it is
   passed in memory, so that it does not go twice on one link, and on disk it is yet to deliver: `kill -9`
   costs a second delivery of the same values, never a reading.
2. A link that ends puts back what it leaves in doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.model import Reading
from agent.store.outbox import Outbox
from agent.store.progress import Span

DOUBT_S = 1.0


@dataclass(slots=True)
class Doubt:
    """`names` are those of the outbox that have passed `span`, of which `readings` were sent."""

    since_s: float
    names: list[str]
    span: Span
    readings: Sequence[Reading]


class Doubts:
    """The doubts of one uplink, oldest first; `believe` is told what was taken after all."""

    def __init__(self, outbox: Outbox, believe: Callable[[Sequence[Reading]], None]) -> None:
        self._outbox, self._believe = outbox, believe
        self._doubts: deque[Doubt] = deque()

    def add(self, now_s: float, names: Sequence[str], span: Span, readings: Sequence[Reading]) -> None:
        """`names` have passed `span`, as far as the centre's word goes."""
        self._doubts.append(Doubt(now_s, list(names), span, readings))
        for name in names:
            self._outbox.doubt(name, *span)

    def of_another(self, name: str, origin: str) -> None:
        """`name` goes on where `origin` is: it shares its doubts."""
        for doubt in self._doubts:
            if origin in doubt.names and name not in doubt.names:
                doubt.names.append(name)
                self._outbox.doubt(name, *doubt.span)

    def concern(self, name: str) -> bool:
        """Whether there is a doubt about what `name` has passed."""
        return any(name in doubt.names for doubt in self._doubts)

    def settle(self, until_s: float) -> bool:
        """Believe what was acknowledged before `until_s`; whether that was anything."""
        any_ = False
        while self._doubts and self._doubts[0].since_s <= until_s:
            doubt = self._doubts.popleft()
            self._end(doubt)
            self._believe(doubt.readings)
            any_ = True
        return any_

    def put_back(self) -> None:
        """What may not have been taken goes again."""
        while self._doubts:
            doubt = self._doubts.popleft()
            self._end(doubt)
            for name in doubt.names:
                self._outbox.again(name, *doubt.span)

    def _end(self, doubt: Doubt) -> None:
        for name in doubt.names:
            self._outbox.no_doubt(name, *doubt.span)
