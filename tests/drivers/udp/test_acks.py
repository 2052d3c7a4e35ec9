"""What the module is told of its samples, and that it tells nothing to anybody else."""

from __future__ import annotations

from typing import Any

import orjson

from agent.drivers.udp import text
from agent.drivers.udp.keys import Key

from .lab import KEY, Core, datagram, first_values, sender


def signed(**body: Any) -> bytes:
    return text.sign({"id": "mod-1", "boot": 1, "seq": 1, "values": {"temperature": 21.5}} | body, Key(KEY))


def test_an_acknowledgement_says_what_is_missing_and_the_module_sends_it_again() -> None:
    core, module = Core(), sender(repeat=1)
    sent = [datagram(module, (at, 0)) for at in range(1, 11)]
    core.take(*sent[:3], *sent[6:])
    module.receive(core.replies[-1], 0)
    assert module.pending == 3
    again = module.datagrams(0)
    assert first_values(core.take(*again)) == [4, 5, 6]
    for reply in core.replies:
        module.receive(reply, 0)
    assert module.pending == 0


def test_samples_are_called_safe_only_after_they_had_time_to_be_kept() -> None:
    core, module = Core(), sender(repeat=1)
    core.take(datagram(module))
    module.receive(core.replies[-1], 0)
    assert (module.pending, len(module._ring)) == (0, 1)
    for expected in (2, 2):  # one tick is not enough: it could have come just before
        core.intake.tick(core.now)
        core.take(datagram(module))
        module.receive(core.replies[-1], 0)
        assert len(module._ring) >= expected
    core.intake.tick(core.now)
    core.take(datagram(module))
    module.receive(core.replies[-1], 0)
    assert len(module._ring) < 4


def test_an_acknowledgement_is_signed_fresh_and_never_larger_than_what_it_answers() -> None:
    core, module = Core(), sender(repeat=1)
    sent = [datagram(module, (at, 0)) for at in range(1, 500)]
    core.take(*sent[::2])
    assert all(len(reply) <= len(sent[0]) for reply in core.replies)
    old = core.replies[0]
    module.receive(core.replies[-1], 0)
    pending = module.pending
    flipped = bytes((*core.replies[-2][:20], core.replies[-2][20] ^ 1, *core.replies[-2][21:]))
    for reply in (old, flipped, b"", b"UT", core.replies[-1][:-1]):
        assert module.receive(reply, 0) is None
    assert module.pending == pending


def test_a_json_module_is_answered_in_json() -> None:
    core = Core()
    core.take(signed(seq=1, ack=True))
    core.take(signed(seq=3, ack=True, oldest=1, padding="x" * 40))
    body = [orjson.loads(reply[: -text.TRAILER_BYTES]) for reply in core.replies]
    assert body[-1] == {"boot": 1, "ack": 3, "safe": 1, "complete": 2, "bits": "02"}
    assert all(reply[-32:].decode() == Key(KEY).tag(reply[:-32]).hex() for reply in core.replies)
    tiny = text.sign({"id": "mod-1", "boot": 9, "seq": 4, "ack": True, "values": {}}, Key(KEY))
    count = len(core.replies)
    core.take(tiny)
    assert all(len(reply) <= len(tiny) for reply in core.replies[count:])


def test_who_does_not_ask_gets_no_answer() -> None:
    core = Core()
    core.take(datagram(sender(wants_ack=False)))
    assert core.replies == []
