"""How the platform answers a PUBLISH, by protocol version and release."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """`reason`: of the PUBACK on MQTT 5, None: none. On 3.1.1 a PUBACK is all it can say."""

    reason: int | None
    closes_5: bool = False
    acks_3: bool = True
    closes_3: bool = False
    disconnect: int | None = None  # sent before closing on 5
    pubacks: int = 1


TAKEN = Verdict(0)
IGNORED = Verdict(None, acks_3=False)
LIMITED = Verdict(0x97, closes_5=True, closes_3=True)
UNQUEUED = Verdict(0x80, closes_5=True, closes_3=True)
CONNECT_LIMITED = Verdict(None, closes_5=True, acks_3=False, closes_3=True, disconnect=0x8B)
BAD_JSON = Verdict(0x99, acks_3=False, closes_3=True)
BAD_SHAPE = Verdict(0x83, closes_5=True, closes_3=True)
BAD_ENTRY = Verdict(0x99, acks_3=False, closes_3=True)
POISON = Verdict(None, closes_5=True, acks_3=False, closes_3=True, disconnect=0x8B)
UNKNOWN_TOPIC = Verdict(0x90)
OWN_FAILED = Verdict(None, closes_5=True, acks_3=False, closes_3=True, disconnect=0x83)


def not_made(reason: int) -> Verdict:
    """A sub-device that cannot be made: told on 5, acknowledged and lost without a trace on 3.1.1."""
    return Verdict(reason)


def in_release(verdict: Verdict, release: str) -> Verdict:
    """What releases before 4.2.1 made of a gateway message: no PUBACK means rejection."""
    if release == "4.3" or verdict.reason in (0, None, 0x90, 0x99):
        return verdict
    disconnect = 0x83 if verdict.closes_5 and release != "3.6" else None
    return verdict._replace(reason=None, acks_3=False, disconnect=disconnect)
