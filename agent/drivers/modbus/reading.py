"""Reading one group of one device, and learning which of its registers the device does not have.

Rules. What a device refuses is halved until the bad value is alone (see split.py); a bad value is shelved
and asked again after RECHECK_S, one per reading, its neighbours go on. A request that is met by silence
while the device answers others is shelved too, ever longer. Learning is per connection.
Quality: good if every value came, uncertain if some, bad if none. The time is midway between the first
answer and the last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from agent.drivers.modbus.codec import with_exponent
from agent.drivers.modbus.layout import layout
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.pdu import MalformedError, RefusedError, read
from agent.drivers.modbus.plan import Block
from agent.drivers.modbus.profile import ModbusGroup, ModbusProfile
from agent.drivers.modbus.split import halves, joined
from agent.drivers.modbus.unit import Unit
from agent.drivers.poll import rest_s
from agent.model import NAN, Group, Quality, Reading
from agent.supervise import Episode

log = logging.getLogger(__name__)

RECHECK_S = 600.0
SPLITS_PER_READING_MAX = 16
SPLITTING_CODES, LASTING_CODES = (2, 3), (1, 2, 3)


class _Piece:
    """One request, prepared: what is sent, and how its answer becomes values."""

    __slots__ = ("answers_seen", "block", "decode", "pdu", "retry_s", "silences")

    def __init__(self, block: Block, decode: Callable[[bytes, list[float]], None]) -> None:
        self.block, self.decode = block, decode
        self.pdu = read(block.table, block.address, block.width)
        self.retry_s = 0.0
        self.silences = self.answers_seen = 0


class GroupReader:
    """`read` gives the group's reading; `reset` forgets what was learned."""

    def __init__(
        self,
        unit: Unit,
        group: Group,
        profile: ModbusProfile,
        declared: ModbusGroup,
        *,
        recheck_s: float = RECHECK_S,
        now_s: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.unit, self.group = unit, group
        self._trouble = Episode(log, f"device {unit.device.name}")
        self._profile, self._blocks = profile, profile.blocks(declared)
        self._codings = profile.codings(declared)
        exponents = profile.exponents(declared)
        self._scaled = [
            (slot, exponents[profile.table_of(point), point.scale_register])
            for slot, point in enumerate(declared.point)
            if point.scale_register is not None
        ]
        self._recheck_s, self._now_s, self._clock = recheck_s, now_s, clock
        self.reset()

    def reset(self) -> None:
        """Start from the profile again: another device may be there now."""
        self._active = [self._piece(block) for block in self._blocks]
        self._shelved: list[_Piece] = []
        self._splits_left = SPLITS_PER_READING_MAX
        self._may_join = False

    @property
    def refused(self) -> Sequence[str]:
        """The points that the device says it does not have: not asked for at present."""
        return self._names([piece for piece in self._shelved if not piece.silences])

    @property
    def unanswered(self) -> Sequence[str]:
        """The points whose request was met by silence while the device answered others: put off."""
        return self._names([piece for piece in self._shelved if piece.silences])

    async def read(self, link: Link) -> Reading:
        """One reading. TimeoutError if the device said nothing at all."""
        values = [NAN] * len(self._codings)
        first_s = last_s = 0.0
        found, answers, failures = 0, self.unit.answers, self._trouble.failures
        self._splits_left = SPLITS_PER_READING_MAX
        todo = self._todo()
        for piece in todo:  # which grows while blocks are halved, and is emptied by silence
            answer = await self._ask(link, piece, todo, answers)
            if answer is None:
                continue
            last_s = self._now_s()
            first_s = first_s or last_s
            piece.decode(answer, values)
            found += len(piece.block.spans)
        if self._may_join:
            self._join()
        if found:
            self.unit.silence.ended()
            if failures and failures == self._trouble.failures:
                self._recovered()
        return self._reading(values, found, (first_s + last_s) / 2)

    async def _ask(self, link: Link, piece: _Piece, todo: list[_Piece], answers: int) -> bytes | None:
        """The answer, if there is one; TimeoutError if the device was silent since it had said `answers`."""
        try:
            answer = await self.unit.ask(link, piece.pdu)
        except TimeoutError as error:
            is_silent = answers == self.unit.answers
            self._silent(piece, error, is_silent=is_silent)
            if is_silent:
                raise
            todo.clear()
        except RefusedError as error:
            todo += self._refused(piece, error)
        except MalformedError as error:
            self._trouble.failed(f"{piece.block}: {error}")
        else:
            if piece.retry_s or piece.silences:
                self._well_again(piece)
            return answer
        return None

    def _reading(self, values: list[float], found: int, time_s: float) -> Reading:
        if not found:
            return self.group.bad(round(self._now_s() * 1000))
        if self._scaled:
            for slot, exponent in self._scaled:
                values[slot] = with_exponent(values[slot], values[exponent])
            del values[len(self.group.points) :]
        quality = Quality.GOOD if found == len(self._codings) else Quality.UNCERTAIN
        return Reading(self.group, round(time_s * 1000), values, quality)

    def _recovered(self) -> None:
        """A reading went without trouble; it has ended unless a silent request is only put off."""
        if not any(piece.silences for piece in self._shelved):
            self._trouble.ended()

    def _piece(self, block: Block) -> _Piece:
        return _Piece(block, layout(block, self._codings))

    def _todo(self) -> list[_Piece]:
        """What to ask now: all that is well, and one of the shelved if its time has come."""
        todo = list(self._active)
        if self._shelved:
            first = min(self._shelved, key=lambda piece: piece.retry_s)
            # A device that is silent is asked something, whatever it is.
            if first.retry_s <= self._clock() or (not todo and self.unit.patience.failures):
                todo.append(first)
        return todo

    def _silent(self, piece: _Piece, error: TimeoutError, *, is_silent: bool) -> None:
        """Next time the others first; shelve it if the device answers everything but this."""
        piece.silences += 1
        self.unit.patience.late_until_s = self._clock() + self.unit.patience.rest_s_min
        answered_since = piece.silences > 1 and piece.answers_seen != self.unit.answers
        piece.answers_seen = self.unit.answers
        if piece.retry_s or not is_silent or answered_since:
            self._trouble.failed(f"{piece.block}: {error}, though it answers others")
            self._shelve(piece, rest_s(piece.silences))
        else:
            self.unit.silence.failed(f"{piece.block}: {error}")
            self._active.remove(piece)
            self._active.append(piece)

    def _refused(self, piece: _Piece, error: RefusedError) -> list[_Piece]:
        """What to ask instead, now; nothing if the device said "not now" or the bad value is found."""
        if error.code not in LASTING_CODES:
            self._trouble.failed(f"{piece.block}: {error}")
            return []
        parts = halves(piece.block) if error.code in SPLITTING_CODES and not piece.retry_s else None
        if parts is None:
            self._tell(piece, error)
            self._may_join = self._may_join or not piece.retry_s
            self._shelve(piece, self._recheck_s)
            return []
        log.debug("device %s: %s: %s: halved", self.unit.device.name, piece.block, error)
        pieces = [self._piece(block) for block in parts]
        at = self._active.index(piece)
        self._active[at : at + 1] = pieces
        self._splits_left -= 1
        return pieces if self._splits_left >= 0 else []

    def _tell(self, piece: _Piece, error: RefusedError) -> None:
        level = logging.DEBUG if piece.retry_s else logging.WARNING
        text = "device %s: %s (%s): %s; its neighbours go on, asked again in %.0f s"
        names = ", ".join(self._names([piece]))
        log.log(level, text, self.unit.device.name, piece.block, names, error, self._recheck_s)

    def _names(self, pieces: Sequence[_Piece]) -> list[str]:
        """The points that `pieces` read."""
        points = self.group.points
        slots = [span.slot for piece in pieces for span in piece.block.spans]
        return [points[slot].name if slot < len(points) else "a scale register" for slot in slots]

    def _shelve(self, piece: _Piece, wait_s: float) -> None:
        piece.retry_s = self._clock() + wait_s
        if piece in self._active:
            self._active.remove(piece)
            self._shelved.append(piece)

    def _well_again(self, piece: _Piece) -> None:
        piece.silences = 0
        if piece.retry_s:
            piece.retry_s = 0.0
            self._shelved.remove(piece)
            self._active.append(piece)
            self._may_join = True

    def _join(self) -> None:
        """Ask again in few requests, now that what was bad is known; not before all is known."""
        if self._splits_left >= 0:
            self._may_join = False
            known = {piece.block: piece for piece in self._active}
            profile = self._profile
            blocks = joined(known, max_registers=profile.max_registers, max_bits=profile.max_bits)
            self._active = [known.get(block) or self._piece(block) for block in blocks]
