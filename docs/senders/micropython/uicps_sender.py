"""Reference sender for the UICPS UDP telemetry protocol, version 1: see docs/udp-protocol.md.

For MicroPython and CPython alike; no socket and no clock in it. You give it samples and datagrams that
came, and send the bytes that it makes. Times are milliseconds of a clock that starts at boot.

    sender = Sender(key, ("temperature", "humidity"), boot)   # boot: a counter in flash, one more each boot
    while True:
        sender.sample((21.5, 47.0), time.ticks_ms())
        for datagram in sender.datagrams(time.ticks_ms()):
            sock.sendto(datagram, gateway)
        # for each datagram that came in:
        answer = sender.receive(datagram, time.ticks_ms())
        if answer:
            sock.sendto(answer, gateway)
"""

import hashlib
import struct

DONE, NO_SUCH_POINT, BAD_VALUE, FAILED, OTHER_BOOT, OLD = range(6)
BAD, UNCERTAIN, GOOD = range(3)
DATAGRAM_MAX = 1400  # fits an Ethernet frame: never fragmented

_DATA, _ACK, _COMMAND, _RESULT = 1, 2, 3, 4
_HEAD = "<2sBBIII"
_HEAD_SIZE, _DATA_HEAD_SIZE, _TAG_SIZE = 16, 36, 16
_WANTS_ACK = 1


def sha256(data):
    return hashlib.sha256(data).digest()


def _since(now_ms, then_ms):
    """Milliseconds between two readings of a clock that may wrap as time.ticks_ms() does (at 2**30)."""
    return (now_ms - then_ms) & 0x3FFFFFFF


class Signer:
    """HMAC-SHA-256 cut to 128 bits. Small MicroPython builds have no hmac module."""

    def __init__(self, key):
        if len(key) != 32:
            raise ValueError("expected a key of 32 bytes")
        self.id = struct.unpack("<I", sha256(b"uicps key id" + key)[:4])[0]
        block = key + bytes(32)
        self._inner = bytes(byte ^ 0x36 for byte in block)
        self._outer = bytes(byte ^ 0x5C for byte in block)

    def tag(self, data):
        return sha256(self._outer + sha256(self._inner + data))[:_TAG_SIZE]

    def signed(self, data):
        return data + self.tag(data)

    def is_right(self, datagram):
        tag, differing = self.tag(datagram[:-_TAG_SIZE]), 0
        for at in range(_TAG_SIZE):  # all of it, wherever they differ: the time tells nothing
            differing |= tag[at] ^ datagram[at - _TAG_SIZE]
        return differing == 0


class _Sample:
    """One sample in the ring."""

    def __init__(self, number, values, quality, now_ms):
        self.number, self.values, self.quality, self.sampled_ms = number, values, quality, now_ms
        self.sent_ms = self.sent_seq = 0
        self.sent = self.arrived = False


class Sender:
    """One module. `names` are the keys of its profile's points; `boot` must be larger at every boot.

    `repeat`: each datagram has the last so many samples. `ring`: so many are kept until acknowledged, if
    `wants_ack`. `valid_s`: how long values stand without news, 0: as the gateway has it. `command(point,
    value)` carries out a command and gives (status, value of the point now).
    """

    def __init__(self, key, names, boot, *, repeat=3, ring=64, wants_ack=True, valid_s=0, command=None):
        self._signer = Signer(key)
        self._layout = struct.unpack("<I", sha256("\n".join(names).encode())[:4])[0]
        self._shape = f"<IIB{len(names)}f"
        self._points = len(names)
        self._boot, self._repeat, self._ring_size = boot, repeat, ring
        self._wants_ack, self._valid_s, self._command = wants_ack, valid_s, command
        self.resend_ms = 3000  # without any answer, send again after so long
        self.seq = 0
        self._next, self._answered_seq, self._beat = 1, 0, False
        self._command_id, self._result = 0, (DONE, 0.0)
        self._ring = []

    def sample(self, values, now_ms, quality=GOOD):
        """Keep a sample of all points (None: not available). The oldest goes if the ring is full."""
        values = [float("nan") if value is None else value for value in values]
        if len(values) != self._points:
            raise ValueError(f"expected {self._points} values")
        if len(self._ring) >= self._ring_size:
            self._ring.pop(0)
        self._ring.append(_Sample(self._next, values, quality, now_ms))
        self._next += 1

    def beat(self):
        """Make a datagram next time even if there is nothing new: "I am here, what have you got?" """
        self._beat = True

    @property
    def pending(self):
        """Samples that are not known to have arrived."""
        return sum(not sample.arrived for sample in self._ring)

    # ---------------------------------------------------------------- out

    def datagrams(self, now_ms, unix_ms=0):
        """All that there is to send now. `unix_ms` is the Unix time, 0 if the clock has not been set."""
        found = []
        while True:
            datagram = self.datagram(now_ms, unix_ms)
            if datagram is None:
                return found
            found.append(datagram)

    def datagram(self, now_ms, unix_ms=0):
        """The next datagram to send, None if there is nothing to say now."""
        due = [sample for sample in self._ring if self._is_due(sample, now_ms)]
        if not (due or self._beat) or self.seq == 0xFFFFFFFF:
            return None
        room = min((DATAGRAM_MAX - _DATA_HEAD_SIZE - _TAG_SIZE) // struct.calcsize(self._shape), 255)
        last = self._ring[-min(self._repeat, room) :] if self._repeat else []
        first_of_last = last[0].number if last else self._next
        older = [sample for sample in due if sample.number < first_of_last]
        chosen = older[: room - len(last)] + last
        self.seq += 1
        self._beat = False
        return self._signer.signed(self._data(chosen, now_ms, unix_ms))

    def _is_due(self, sample, now_ms):
        if sample.arrived:
            return False
        return not sample.sent or (self._wants_ack and _since(now_ms, sample.sent_ms) >= self.resend_ms)

    def _data(self, chosen, now_ms, unix_ms):
        if self._wants_ack:
            oldest = self._ring[0].number if self._ring else self._next
        else:  # nothing before it will come any more
            oldest = chosen[0].number if chosen else self._next
        flags = _WANTS_ACK if self._wants_ack else 0
        told = (self._layout, oldest, unix_ms, self._valid_s, flags, len(chosen))
        parts = [self._head(_DATA, self.seq), struct.pack("<IIQHBB", *told)]
        for sample in chosen:
            sample.sent, sample.sent_ms, sample.sent_seq = True, now_ms, self.seq
            age_ms = _since(now_ms, sample.sampled_ms)
            parts.append(struct.pack(self._shape, sample.number, age_ms, sample.quality, *sample.values))
        return b"".join(parts)

    def _head(self, kind, number):
        return struct.pack(_HEAD, b"UT", 1, kind, self._signer.id, self._boot, number)

    # ---------------------------------------------------------------- in

    def receive(self, datagram, now_ms):
        """Take in a datagram that came; gives the answer to send, None if none is due."""
        if not _HEAD_SIZE + _TAG_SIZE <= len(datagram) <= DATAGRAM_MAX:
            return None
        mark, version, kind, key_id, boot, seq = struct.unpack(_HEAD, datagram[:_HEAD_SIZE])
        if mark != b"UT" or version != 1 or key_id != self._signer.id or not self._signer.is_right(datagram):
            return None
        body = datagram[_HEAD_SIZE:-_TAG_SIZE]
        if kind == _ACK and boot == self._boot and len(body) >= 8:
            self._take_ack(seq, body)
        if kind == _COMMAND and len(body) == 22:
            return self._take_command(boot, body)
        return None

    def _take_ack(self, seq, body):
        if not self._answered_seq < seq <= self.seq:
            return  # an old one, sent again by somebody
        self._answered_seq = seq
        safe, complete = struct.unpack("<II", body[:8])
        bits = body[8:]
        self._ring = [sample for sample in self._ring if sample.number >= safe]
        for sample in self._ring:
            at = sample.number - complete
            if at >= 8 * len(bits):
                break
            if at < 0 or bits[at // 8] >> at % 8 & 1:
                sample.arrived = True
            elif sample.sent_seq < seq:
                sample.sent = False  # lost on its way: it is due again

    def _take_command(self, boot, body):
        command_id, layout, point, value = struct.unpack("<QIHd", body)
        status, now = OTHER_BOOT, 0.0
        if boot == self._boot:
            if command_id > self._command_id:
                self._command_id = command_id  # before it is carried out: at most once
                self._result = self._carry_out(layout, point, value)
            status, now = self._result if command_id == self._command_id else (OLD, 0.0)
        return self._signer.signed(self._head(_RESULT, 0) + struct.pack("<QBd", command_id, status, now))

    def _carry_out(self, layout, point, value):
        if self._command is None or layout != self._layout or point >= self._points:
            return NO_SUCH_POINT, 0.0
        return self._command(point, value)
