"""Who may connect, in the platform's order of evaluation. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tests.thingsboard.centre import Entity
from tests.thingsboard.codec import V5, Connect

PROVISION = Entity("provision")


class Refusal(NamedTuple):
    """The CONNACK codes of MQTT 3.1.1 and 5."""

    v3: int
    v5: int

    def reason(self, version: int) -> int:
        return self.v5 if version == V5 else self.v3


BAD_USER, UNKNOWN_ID, NOT_AUTHORIZED = Refusal(5, 0x86), Refusal(2, 0x85), Refusal(5, 0x87)


def login(devices: Iterable[Entity], asked: Connect, certificate: bytes | None) -> Entity | Refusal:
    devices = list(devices)
    if "provision" in (asked.username, asked.client_id):
        return PROVISION
    if certificate:
        return next((each for each in devices if each.certificate == certificate), NOT_AUTHORIZED)
    if not asked.username:
        if not asked.client_id.strip():
            return NOT_AUTHORIZED
        found = [each for each in devices if each.basic and each.basic[:2] == (asked.client_id, "")]
        return found[0] if found else UNKNOWN_ID
    return _by_user(devices, asked)


def _by_user(devices: list[Entity], asked: Connect) -> Entity | Refusal:
    for each in devices:
        if each.basic and each.basic[1] == asked.username and each.basic[0] in ("", asked.client_id):
            return each if each.basic[2] in ("", asked.password) else BAD_USER
    token = [each for each in devices if each.token and each.token == asked.username]
    return token[0] if token else BAD_USER
