"""The gateway API: what becomes of a message on `v1/gateway/...`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.thingsboard import payloads, verdict
from tests.thingsboard.behaviour import Behaviour, Meter
from tests.thingsboard.centre import Centre
from tests.thingsboard.payloads import BadEntryError, BadJsonError, BadShapeError
from tests.thingsboard.verdict import Verdict

Push = Callable[[str, Any], None]


def _object(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadShapeError("not an object")
    return message


class Refused(Exception):  # noqa: N818
    def __init__(self, answer: Verdict) -> None:
        super().__init__(answer)
        self.answer = answer


class Gateway:
    """The sub-devices of one connection."""

    def __init__(self, centre: Centre, behaviour: Behaviour, meter: Meter, push: Push) -> None:
        self._centre, self._behaviour, self._meter, self._push = centre, behaviour, meter, push
        self.seen_s: dict[str, float] = {}
        self.mute: set[str] = set()  # the session was not opened (limited): telemetry only
        self._handlers = {
            "v1/gateway/connect": self._connect,
            "v1/gateway/disconnect": self._disconnect,
            "v1/gateway/telemetry": self._telemetry,
            "v1/gateway/attributes": self._attributes,
            "v1/gateway/attributes/request": self._request,
            "v1/gateway/rpc": self._reply,
            "v1/gateway/claim": lambda message: verdict.TAKEN,
        }

    def take(self, topic: str, payload: bytes) -> Verdict:
        return verdict.in_release(self._take(topic, payload), self._behaviour.release)

    def _take(self, topic: str, payload: bytes) -> Verdict:
        try:
            message = payloads.parse(payload, not_a_number=self._behaviour.not_a_number)
            if topic not in self._handlers:
                return verdict.UNKNOWN_TOPIC
            return self._handlers[topic](_object(message))
        except BadJsonError:
            return verdict.BAD_JSON
        except BadShapeError:
            return verdict.BAD_SHAPE
        except BadEntryError:
            return verdict.POISON if self._behaviour.poison_closes else verdict.BAD_ENTRY
        except Refused as refused:
            return refused.answer

    def reaches(self, device: str) -> bool:
        """Whether the sub-device has a session that did not expire silently."""
        seen_s = self.seen_s.get(device)
        if seen_s is None or device in self.mute:
            return False
        if self._centre.clock() - seen_s <= self._behaviour.subdevice_session_s:
            return True
        del self.seen_s[device]
        return False

    def _name(self, message: dict[str, Any]) -> str:
        name = message.get("device")
        if not isinstance(name, str) or not name:
            raise BadShapeError("device")
        return name

    def _ensure(self, name: str, profile: str | None = None, *, explicit: bool = False) -> None:
        """Make sure that the sub-device exists and is connected, as any message naming it does."""
        if self.reaches(name):
            if not explicit:
                self.seen_s[name] = self._centre.clock()
            return
        if not self._meter.take("gateway_messages"):
            raise Refused(verdict.CONNECT_LIMITED)
        if (reason := self._behaviour.refused_devices.get(name)) is not None or len(name) > 255:
            raise Refused(verdict.not_made(reason or 0x80))
        self._centre.of_gateway(name, profile)
        self.seen_s[name] = self._centre.clock()
        self.mute.discard(name)
        if not self._meter.take("gateway_messages"):
            self.mute.add(name)
        self._centre.push_pending(name)

    def _connect(self, message: dict[str, Any]) -> Verdict:
        profile = message.get("type")
        self._ensure(self._name(message), profile if isinstance(profile, str) else None, explicit=True)
        return verdict.TAKEN

    def _disconnect(self, message: dict[str, Any]) -> Verdict:
        self.seen_s.pop(self._name(message), None)
        return verdict.TAKEN

    def _telemetry(self, message: dict[str, Any]) -> Verdict:
        lists = {name: items for name, items in message.items() if isinstance(items, list)}
        if not lists:
            raise BadShapeError("no usable entry")
        if not any(lists.values()):
            return verdict.IGNORED  # an empty array is never acknowledged
        failure: Verdict | None = None
        for name, items in lists.items():
            failure = self._of_one(name, items) or failure
        answer = failure or verdict.TAKEN
        several = len(lists) if self._behaviour.release != "4.3" and failure is None else 1
        return answer._replace(pubacks=several)

    def _of_one(self, name: str, items: list[Any]) -> Verdict | None:
        """Queue what one sub-device sent; None: all of it."""
        records = list(payloads.entries(items, self._centre.now_ms))
        if any(self._behaviour.poison(name, ts, values) for ts, values in records):
            raise BadEntryError("poison")
        try:
            self._ensure(name)
        except Refused as refused:
            return refused.answer
        if not self._meter.telemetry("gateway", sum(len(values) for _, values in records)):
            return verdict.LIMITED
        for ts, values in records:
            if self._behaviour.unqueued(name, ts, values):
                return verdict.UNQUEUED
            if not self._behaviour.lost_after_puback(name, ts, values):
                self._centre.store(name, ts, values)
        return None

    def _attributes(self, message: dict[str, Any]) -> Verdict:
        for name, values in message.items():
            if not isinstance(values, dict):
                raise BadShapeError(name)
            self._ensure(name)
            if not self._meter.telemetry("gateway", len(values)):
                return verdict.LIMITED
            self._centre.devices[name].client |= values
        return verdict.TAKEN

    def _request(self, message: dict[str, Any]) -> Verdict:
        name, number, client = self._name(message), message.get("id"), message.get("client")
        keys = message.get("keys", [message["key"]] if "key" in message else None)
        if not isinstance(number, int) or not isinstance(client, bool) or not isinstance(keys, list):
            raise BadShapeError("id, client and key(s)")
        self._ensure(name)
        if not self._meter.take("gateway_messages"):
            return verdict.LIMITED
        entity = self._centre.devices[name]
        source = entity.client if client else entity.shared
        found = {key: source[key] for key in keys if key in source}
        answer: dict[str, Any] = {"id": number, "device": name}
        if len(keys) == 1 and found:
            answer["value"] = found[keys[0]]
        elif found:
            answer["values"] = found
        self._push("v1/gateway/attributes/response", answer)
        return verdict.TAKEN

    def _reply(self, message: dict[str, Any]) -> Verdict:
        number = message.get("id")
        if not isinstance(number, int) or "data" not in message:
            raise BadShapeError("id and data")
        self._centre.replied(self._name(message), number, json.loads(json.dumps(message["data"])))
        return verdict.TAKEN
