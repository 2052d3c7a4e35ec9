"""Devices that the centre does not take, and single readings that it never will, so that the others go on.

A device that is refused (its name, a device limit, a poisonous reading) gets a progress of its own,
`uplink/device`, as the uplink's was; the uplink goes on without it. It is tried again alone, from there:

1. What is refused, or ends the connection, is halved until it is taken or a single reading is left.
2. A single reading that is refused is suspect. Another of the device (the newest since, or a neighbour in
   the log) is sent before it is sent once more: only if that one is taken and the suspect is refused
   again, the suspect is poison. It is kept aside with the reason, and the device goes on.
3. If the other is refused too it is the device that is refused: held back, never skipped, and tried again
   with yet another after a time that doubles. A refusal for a limit says nothing about a reading either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.model import Reading
from agent.store import Store
from agent.store.progress import Progress, Span
from agent.supervise import Episode
from agent.uplink.patience import PATIENT, Patience
from agent.uplink.payload import says_something

log = logging.getLogger(__name__)

REST_S = 0.2
READINGS_FIRST, READINGS_MAX = 256, 1000
LIMIT_WORDS = ("Quota", "rate")  # in a reason: it is about how much, not about what

Numbered = tuple[int, Reading]


@dataclass(slots=True)
class Hold:
    """A device that is held back. `readings_max` are sent at once; `other` is a reading to judge a suspect
    by: what it has read since, or a neighbour."""

    episode: Episode
    due_s: float = 0.0
    readings_max: int = READINGS_FIRST
    other: Numbered | None = None
    suspect_seq: int = 0
    cleared: bool = False  # the other was taken after the suspect was refused


class Holds:
    """The held devices of one uplink; they survive a restart."""

    def __init__(
        self,
        uplink: str,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        patience: Patience = PATIENT,
    ) -> None:
        self._patience = patience
        self._uplink, self._prefix, self._clock = uplink, f"{uplink}/", clock
        self._outbox = store.outbox
        names = self._outbox.under(self._prefix)
        self._holds = {name.removeprefix(self._prefix): self._new(name) for name in names}

    def __contains__(self, device: str) -> bool:
        return device in self._holds

    def __len__(self) -> int:
        return len(self._holds)

    def __getitem__(self, device: str) -> Hold:
        return self._holds[device]

    def name_of(self, device: str) -> str:
        """What the progress of `device` is called."""
        return self._prefix + device

    def _new(self, name: str) -> Hold:
        return Hold(Episode(log, f"uplink {name.replace('/', ', device ', 1)}"))

    def add(self, device: str, progress: Progress, reason: str) -> None:
        """Hold `device` back: it has yet to deliver what the uplink has."""
        name = self.name_of(device)
        self._holds[device] = hold = self._new(name)
        self._outbox.put(name, progress)
        hold.due_s = self._clock()
        hold.episode.failed(f"the centre does not take it ({reason}); kept here, tried apart from the others")

    def saw(self, numbered: Sequence[Numbered]) -> None:
        """What has come; of a held device the newest that has a value is remembered."""
        if not self._holds:
            return
        for seq, reading in numbered:
            hold = self._holds.get(reading.group.device.name)
            if hold and (hold.other is None or hold.other[0] < seq) and says_something(reading):
                hold.other = (seq, reading)

    def due(self) -> str | None:
        """A device that is to be tried again now."""
        now_s = self._clock()
        return next((device for device, hold in self._holds.items() if hold.due_s <= now_s), None)

    def due_in_s(self) -> float:
        """Seconds until the next is due; infinite if none is held."""
        return min((hold.due_s for hold in self._holds.values()), default=float("inf")) - self._clock()

    def lacking(self, device: str) -> list[Span]:
        """What the device has yet to deliver that the uplink has passed."""
        name = self.name_of(device)
        return self._outbox.progress(name).minus(self._outbox.progress(self._uplink))

    def release(self, device: str) -> None:
        """It lacks no more than the uplink itself: it goes with the others again.

        Never while anything is under way that was gathered without it. With a suspect it stays: the
        others have theirs to send again first.
        """
        if self._holds[device].suspect_seq:
            self.rest(device)
        else:
            self._outbox.forget(self.name_of(device))
            del self._holds[device]

    def rest(self, device: str) -> None:
        """Look at it again in a moment."""
        self._holds[device].due_s = self._clock() + REST_S

    def passed(self, device: str, span: Span) -> None:
        """There is nothing of the device in `span`, or no more."""
        self._outbox.passed(self.name_of(device), *span)

    def taken(self, device: str) -> None:
        """What was sent of the device was taken."""
        hold = self._holds[device]
        hold.episode.ended()
        hold.readings_max = min(2 * hold.readings_max, READINGS_MAX)
        hold.suspect_seq = 0

    def probe(self, device: str, first: Numbered) -> Numbered | None:
        """What to send before `first` is sent again: another, if `first` is suspect."""
        hold = self._holds[device]
        if hold.suspect_seq != first[0] or hold.cleared:
            return None
        return hold.other

    def has_other(self, device: str, first: Numbered) -> bool:
        """Whether there is a reading to judge `first` by."""
        other = self._holds[device].other
        return other is not None and other[0] != first[0]

    def refused(self, device: str, sent: Sequence[Numbered], reason: str, *, lost: bool) -> bool:
        """`sent` was refused, or (`lost`) the connection ended with it; whether its one reading is poison."""
        hold = self._holds[device]
        if any(word in reason for word in LIMIT_WORDS):
            self.later(device, reason)
        elif len(sent) > 1:
            hold.readings_max = max(1, len(sent) // 2)
            hold.due_s = self._clock() + (self._patience.after_loss_s if lost else 0.0)
        elif hold.suspect_seq == sent[0][0] and hold.cleared:
            hold.suspect_seq, hold.cleared = 0, False
            return True
        else:
            hold.suspect_seq, hold.cleared = sent[0][0], False
            if not self.has_other(device, sent[0]):
                self.later(device, reason)
            elif lost:
                hold.due_s = self._clock() + self._patience.after_loss_s
        return False

    def later(self, device: str, reason: str) -> None:
        """Hold it back still, for longer than before."""
        hold = self._holds[device]
        wait_s = min(
            self._patience.held_most_s,
            self._patience.held_first_s * 2.0 ** min(hold.episode.failures - 1, 16),
        )
        hold.due_s = self._clock() + wait_s
        hold.episode.failed(f"still not taken ({reason}), next try in {wait_s:.0f} s")
