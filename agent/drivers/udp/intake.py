"""Datagrams in; readings, replies and counters out. Opens nothing and waits for nothing.

The order of the checks is part of the design: whose key, is it signed with it, is it new, does it make
sense. Nothing of a datagram is believed, and nothing is answered, before its signature is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hmac import compare_digest
from typing import Any, NamedTuple

from agent.drivers.udp import packed, text
from agent.drivers.udp.keys import TAG_BYTES, Key
from agent.drivers.udp.ledger import Mark, Marks
from agent.drivers.udp.message import DATAGRAM_BYTES_MAX, Address, Clean, Data, Form, Result, Sample, finite
from agent.drivers.udp.packed import (
    DATA,
    DATA_BYTES_MIN,
    DATA_MARK,
    FLOAT64,
    WANTS_ACK,
    decimals,
)
from agent.drivers.udp.refusal import Refusals, Refused
from agent.drivers.udp.session import NO_BOOT, Module, Session
from agent.drivers.udp.window import FULL, WINDOW, SampleRecord, Verdict
from agent.model import Quality, Reading

HELD_MAX = 4096
DATA_BYTES = DATA.size
_QUALITIES = (Quality.BAD, Quality.UNCERTAIN, Quality.GOOD)
_UNCERTAIN, _GOOD = 1, 2
_PACKED = Form.PACKED
_data_head = DATA.unpack_from


AHEAD_MS_MAX = 5000  # nothing was sent in the future: such a clock is wrong


class Now(NamedTuple):
    """Unix time in ms for stamps, right as far as we know if `certain`; monotonic seconds for distances."""

    unix_ms: int
    s: float
    certain: bool = True


class Reply(NamedTuple):
    data: bytes
    address: Address


class _Held(NamedTuple):
    """A datagram that is good, but not yet safe from being replayed after a restart."""

    session: Session
    record: SampleRecord
    data: Data
    size: int
    now: Now


class Intake:
    """All modules of a line. The driver calls `take` for each datagram, then collects what came of it."""

    def __init__(self, line: str, modules: Iterable[Module], skew_ms_max: float) -> None:
        self.counters: Counter[str] = Counter()
        self.modules = {module.id: module for module in modules}
        self.refusals = Refusals(line, self.counters)
        self.needs_keeping = False
        self._skew_ms_max = skew_ms_max
        self._sessions: dict[int, Session] = {}
        self._restored: dict[int, Mark] = {}
        self._readings: list[Reading] = []
        self._acks: dict[Session, tuple[int, int]] = {}
        self._held: list[_Held] = []

    # ---------------------------------------------------------------- keys and what is known of them

    def rekey(self, keys: Mapping[str, Sequence[Key]]) -> None:
        """Use these keys by module id from now on; what is known of those that stay is kept."""
        sessions: dict[int, Session] = {}
        for name, own in keys.items():
            if module := self.modules.get(name):
                sessions |= {key.id: self._sessions.get(key.id) or self._session(module, key) for key in own}
        gone = self._sessions.keys() - sessions.keys()
        self._restored |= {key_id: self._sessions[key_id].exact() for key_id in gone}
        for module in self.modules.values():
            module.sessions = [session for session in sessions.values() if session.module is module]
            if module.session not in module.sessions:
                module.session = None
        self._sessions = sessions

    def _session(self, module: Module, key: Key) -> Session:
        session = Session(module, key)
        if mark := self._restored.get(key.id):
            session.restore(mark)
        return session

    def restore(self, marks: Mapping[int, Mark]) -> None:
        """Go on where the ledger left off."""
        self._restored = dict(marks)
        for key_id, mark in marks.items():
            if session := self._sessions.get(key_id):
                session.restore(mark)

    def ask(self, now_s: float) -> dict[int, Mark]:
        """The marks that the ledger should keep now; keys that are no longer in use keep theirs."""
        self.needs_keeping = False
        return self._restored | {key_id: each.ask(now_s) for key_id, each in self._used()}

    def exact(self) -> dict[int, Mark]:
        """The marks to keep at the end."""
        return self._restored | {key_id: each.exact() for key_id, each in self._used()}

    def _used(self) -> Iterator[tuple[int, Session]]:
        return ((key_id, each) for key_id, each in self._sessions.items() if each.boot != NO_BOOT)

    def kept(self, marks: Marks) -> None:
        """These marks are on disk: what waited for them goes on."""
        for key_id, mark in marks.by_key.items():
            if session := self._sessions.get(key_id):
                session.kept(mark)
        held, self._held = self._held, []
        for each in held:
            kept = marks.by_key.get(each.session.key.id)
            if kept and (kept.boot, kept.limit) >= (each.data.boot, each.data.seq):
                self._use_data(*each)
            else:
                self._held.append(each)
        self.needs_keeping |= bool(self._held)

    # ---------------------------------------------------------------- in

    def take(self, datagrams: Iterable[tuple[bytes, Address]], now: Now) -> None:
        """Use these datagrams, each with where it came from, or count why not."""
        usual = self._take_usual
        for datagram, source in datagrams:
            if not usual(datagram, source, now):
                try:
                    self._take(datagram, source, now)
                except Refused as refused:
                    self.refusals.add(refused, str(source[0]), now.s)

    def _take(self, datagram: bytes, source: Address, now: Now) -> None:
        if datagram[:4] == DATA_MARK:
            self._take_packed(datagram, source, now)
        elif datagram[:1] == b"{":
            self._take_json(datagram, source, now)
        else:
            self._take_result(datagram)

    def _take_usual(self, datagram: bytes, source: Address, now: Now) -> bool:
        """Whether this was the usual packed datagram: the next of its boot, none missing, rightly signed.

        It is then used as the long way would use it (a test holds the two together), in half the time.
        Anything else is left, untouched, to the long way, which knows what to say of it.
        """
        size = len(datagram)
        if not DATA_BYTES_MIN <= size <= DATAGRAM_BYTES_MAX:
            return False
        mark, key_id, boot, seq, layout, oldest, unix_ms, valid_s, flags, count = _data_head(datagram)
        session = self._sessions.get(key_id)
        if session is None or seq > session.renew_at or boot != session.boot or mark != DATA_MARK:
            return False
        module, window, wide = session.module, session.window, flags & FLOAT64
        shape = module.double if wide else module.single
        body, tag = datagram[:-TAG_BYTES], datagram[-TAG_BYTES:]
        if (
            seq != window.highest + 1
            or window.mask != FULL
            or layout != module.layout.id
            or size != DATA_BYTES_MIN + count * shape.size
            or not compare_digest(session.tag(body), tag)
        ):
            return False
        window.highest = seq
        session.address, session.form, module.session = source, _PACKED, session
        samples: Iterable[Sample] = ()
        if count:
            newest = shape.unpack_from(body, size - TAG_BYTES - shape.size)
            # They ascend: if the last is the next that is missing, those before it are here again.
            samples = (newest,) if newest[0] == session.record.base else shape.iter_unpack(body[DATA_BYTES:])
        clean = finite if wide else decimals
        self._use(session, session.record, oldest, unix_ms, valid_s, samples, clean, now)
        if flags & WANTS_ACK:
            self._acks[session] = (seq, size)
        return True

    def _take_packed(self, datagram: bytes, source: Address, now: Now) -> None:
        packed.check_size(datagram)
        session = self._signer(packed.key_id_of(datagram), datagram[:-TAG_BYTES], datagram[-TAG_BYTES:])
        data = packed.read_data(datagram, session.module.layout)
        session.form = Form.PACKED
        self._take_data(session, data, source, len(datagram), now)

    def _take_result(self, datagram: bytes) -> None:
        packed.check_result(datagram)
        session = self._signer(packed.key_id_of(datagram), datagram[:-TAG_BYTES], datagram[-TAG_BYTES:])
        self._answered(session, packed.read_result(datagram))

    def _take_json(self, datagram: bytes, source: Address, now: Now) -> None:
        text.check_size(datagram)
        trailer = text.trailer_of(datagram)
        if trailer is None:
            self._take_unsigned(text.body_of(datagram, None), now)
            return
        session = self._signer(trailer.key_id, text.signed_part(datagram), trailer.tag)
        body = text.body_of(datagram, trailer)
        if text.module_id(body) != session.module.id:
            raise Refused("malformed", f"id: expected {session.module.id!r}, whose key it is")
        if body.get("boot") is None:
            raise Refused("malformed", "boot: expected a boot id in a signed datagram, found none")
        if "result" in body:
            self._answered(session, text.read_result(body))
            return
        unknown: list[str] = []
        data = text.read_data(body, session.module.index, unknown)
        session.form = Form.JSON
        self._take_data(session, data, source, len(datagram), now)
        self._say_unknown(session.module, unknown)

    def _signer(self, key_id: int, body: bytes, tag: bytes) -> Session:
        """Whose datagram it is, proven."""
        session = self._sessions.get(key_id)
        if session is None:
            raise Refused("unknown_key", f"expected a key of this line's key_file, found key id {key_id:08x}")
        if not compare_digest(session.tag(body), tag):
            session.module.counters["forged"] += 1
            raise Refused("forged", f"its signature is not of the key of {session.module.id!r}")
        return session

    def _take_data(self, session: Session, data: Data, source: Address, size: int, now: Now) -> None:
        if data.seq > session.limit and len(self._held) >= HELD_MAX:
            raise Refused("overrun", f"{HELD_MAX} datagrams wait for the disk already")
        module, lost = session.module, session.window.lost
        try:
            verdict = session.admit(data.boot, data.seq, data.oldest)
        except Refused as refused:
            module.counters[refused.counter] += 1
            raise
        if verdict is Verdict.LATE:
            self._count(module, "reordered")
        else:
            session.address = source
            module.session = session
        if session.window.lost > lost:
            self._count(module, "lost", session.window.lost - lost)
        if data.seq > session.renew_at:
            self.needs_keeping = True
        if data.seq > session.limit:
            self._held.append(_Held(session, session.record, data, size, now))
        else:
            self._use_data(session, session.record, data, size, now)

    def _use_data(self, session: Session, record: SampleRecord, data: Data, size: int, now: Now) -> None:
        _, _, oldest, unix_ms, valid_s, wants_ack, samples, clean = data
        self._use(session, record, oldest, unix_ms, valid_s, samples, clean, now)
        if wants_ack and record is session.record:
            self._acks[session] = (data.seq, size)

    def _use(  # noqa: PLR0917 - names in each call would cost 2 % of the usual way
        self,
        session: Session,
        record: SampleRecord,
        oldest: int,
        unix_ms: int,
        valid_s: int,
        samples: Iterable[Sample],
        clean: Clean,
        now: Now,
    ) -> None:
        """Publish what is new in a datagram that is good."""
        module, lost = session.module, record.lost
        if oldest - WINDOW > record.base:
            record.give_up_before(oldest - WINDOW)
        sent_ms, best = unix_ms, _GOOD
        if not (self._skew_ms_max >= now.unix_ms - unix_ms >= -AHEAD_MS_MAX and now.certain):
            sent_ms, best = self._arrived_ms(module, unix_ms, now)
        group, take, append = module.group, record.take, self._readings.append
        for sample in samples:
            number = sample[0]
            if number < record.base or not take(number):
                continue  # sent once more in case it was lost the first time
            quality = sample[2]
            if quality:
                quality = _QUALITIES[quality if quality < best else best]
                append(Reading(group, sent_ms - sample[1], clean(sample[3:]), quality))
            else:
                append(group.bad(sent_ms - sample[1]))
        if record.lost > lost:
            self._count(module, "samples_lost", record.lost - lost)
        module.datagrams += 1
        module.heard_s, module.valid_s = now.s, valid_s
        if module.waiting is not None:
            module.waiting.heard()

    def _arrived_ms(self, module: Module, unix_ms: int, now: Now) -> tuple[int, int]:
        """What stands for the sending time of a module without a right clock, and its best quality.

        0 says that it has none. One that is wrong makes the reading uncertain: what else is wrong with it?
        While our own clock may be wrong we cannot judge, and all that is stamped now will be shifted alike:
        of the module's clock only the distances count.
        """
        if not unix_ms:
            return now.unix_ms, _GOOD
        if not now.certain:
            behind_ms = module.newest_unix_ms - unix_ms
            if not 0 <= behind_ms <= self._skew_ms_max:
                module.newest_unix_ms, behind_ms = unix_ms, 0
            return now.unix_ms - behind_ms, _GOOD
        self._count(module, "clock_wrong")
        return now.unix_ms, _UNCERTAIN

    def _take_unsigned(self, body: Mapping[str, Any], now: Now) -> None:
        """A datagram that anybody could have sent: only where the configuration says so, and marked."""
        name = text.module_id(body)
        module = self.modules.get(name)
        if module is None:
            known = ", ".join(sorted(self.modules)[:8])
            raise Refused("unknown_device", f"expected the id of a device ({known}), found {name[:64]!r}")
        if not module.options.unsigned:
            raise Refused("unsigned_refused", f"expected a signature of {name!r}: it has a key")
        if "samples" in body:
            raise Refused("malformed", "samples: expected a signature behind them, or 'values' instead")
        unknown: list[str] = []
        data = text.read_data(body, module.index, unknown)
        if module.is_repeated(data.seq, data.unix_ms, now.s):
            raise Refused("repeated", f"seq {data.seq} of {name!r} came before")
        self._count(module, "unsigned")
        self._say_unknown(module, unknown)
        time_ms = data.unix_ms
        if not (self._skew_ms_max >= now.unix_ms - time_ms >= -AHEAD_MS_MAX and now.certain):
            time_ms, _ = self._arrived_ms(module, time_ms, now)
        for sample in data.samples:
            reading = Reading(module.group, time_ms, sample[3:], Quality.UNCERTAIN)
            self._readings.append(reading if sample[2] > Quality.BAD else module.group.bad(time_ms))
        module.heard_s, module.valid_s = now.s, data.valid_s

    def _answered(self, session: Session, result: Result) -> None:
        waiting = session.module.waiting
        if waiting is None or not waiting.answered(result):
            raise Refused(
                "unexpected_result", f"no command {result.id} is under way to {session.module.id!r}"
            )

    def _say_unknown(self, module: Module, keys: Sequence[str]) -> None:
        for key in keys:
            self._count(module, "unknown_point")
            module.unknown_key.failed(f"sends {key[:40]!r}, not in its profile; its other values are kept")

    def _count(self, module: Module, counter: str, more: int = 1) -> None:
        self.counters[counter] += more
        module.counters[counter] += more

    # ---------------------------------------------------------------- out

    def readings(self) -> list[Reading]:
        """What there is to publish; the caller publishes it."""
        readings, self._readings = self._readings, []
        return readings

    def replies(self) -> list[Reply]:
        """One acknowledgement for each module that asked, never larger than what it sent."""
        if not self._acks:
            return []
        acks, self._acks = self._acks, {}
        replies = [self._ack(session, seq, size) for session, (seq, size) in acks.items()]
        return [reply for reply in replies if reply]

    def _ack(self, session: Session, seq: int, size: int) -> Reply | None:
        ack = packed.ack if session.form is Form.PACKED else text.ack
        data = ack(session.ack(seq), session.key, size)
        return Reply(data, session.address) if data and session.address else None

    def tick(self, now: Now) -> None:
        """Once per SAFE_AFTER_S: see Session.tick."""
        self.refusals.tick(now.s)
        for session in self._sessions.values():
            self.needs_keeping |= session.tick(now.s)

    def silent(self, now: Now) -> list[Reading]:
        """A bad reading of each module that has not been heard for longer than its values stand.

        Again after the same time, for as long as it is silent.
        """
        readings: list[Reading] = []
        for module in self.modules.values():
            silence_s = module.valid_s or module.options.silence_s
            if module.heard_s > module.told_s:
                module.trouble.ended()
            if now.s - max(module.heard_s, module.told_s) > silence_s:
                module.told_s = now.s
                module.trouble.failed(f"nothing heard for {silence_s:g} s")
                readings.append(module.group.bad(now.unix_ms))
        return readings
