"""The device's own topics, `v1/devices/me/...`, and provisioning."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from tests.thingsboard import payloads, verdict
from tests.thingsboard.behaviour import Behaviour, Meter
from tests.thingsboard.centre import Centre, Entity
from tests.thingsboard.payloads import BadEntryError, BadJsonError, BadShapeError
from tests.thingsboard.verdict import Verdict

if TYPE_CHECKING:
    from tests.thingsboard.gateway import Push

ME = "v1/devices/me/"


class Own:
    """The session of the connected device itself."""

    def __init__(
        self, centre: Centre, behaviour: Behaviour, meter: Meter, entity: Entity, push: Push
    ) -> None:
        self._centre, self._behaviour, self._meter, self._push = centre, behaviour, meter, push
        self._entity = entity

    def take(self, topic: str, payload: bytes) -> Verdict:
        try:
            return self._take(topic.removeprefix(ME), payload)
        except (BadJsonError, BadShapeError):
            return verdict.BAD_JSON
        except BadEntryError:
            return verdict.POISON if self._behaviour.poison_closes else verdict.BAD_JSON

    def _take(self, name: str, payload: bytes) -> Verdict:
        kind, _, number = name.rpartition("/")
        if name == "telemetry":
            return self._telemetry(payloads.parse(payload, not_a_number=self._behaviour.not_a_number))
        if name == "attributes":
            return self._attributes(payloads.parse(payload))
        if kind == "attributes/request":
            return self._request(number, payloads.parse(payload))
        if kind == "rpc/response":
            return self._reply(number, payload)
        if kind == "rpc/request":
            return self._call(number, payloads.parse(payload))
        return verdict.UNKNOWN_TOPIC

    def _telemetry(self, message: Any) -> Verdict:
        if message == []:
            return verdict.IGNORED
        records = list(payloads.entries(message, self._centre.now_ms))
        if any(self._behaviour.poison(self._entity.name, ts, values) for ts, values in records):
            raise BadEntryError("poison")
        if not self._meter.telemetry("own", sum(len(values) for _, values in records)):
            return verdict.OWN_FAILED
        for ts, values in records:
            if not self._behaviour.lost_after_puback(self._entity.name, ts, values):
                self._centre.store(self._entity.name, ts, values)
        return verdict.TAKEN

    def _attributes(self, message: Any) -> Verdict:
        if not isinstance(message, dict):
            raise BadShapeError("attributes")
        if not self._meter.telemetry("own", len(message)):
            return verdict.OWN_FAILED
        self._entity.client |= message
        return verdict.TAKEN

    def _request(self, number: str, message: Any) -> Verdict:
        if not isinstance(message, dict) or any(isinstance(keys, list) for keys in message.values()):
            raise BadShapeError("clientKeys and sharedKeys are texts")
        if not self._meter.take("own_messages"):
            return verdict.OWN_FAILED
        answer = {}
        for section, source in (("client", self._entity.client), ("shared", self._entity.shared)):
            asked = message.get(f"{section}Keys")
            keys = asked.split(",") if asked else [] if message else list(source)
            if found := {key: source[key] for key in keys if key in source}:
                answer[section] = found
        self._push(f"{ME}attributes/response/{number}", answer)
        return verdict.TAKEN

    def _reply(self, number: str, payload: bytes) -> Verdict:
        try:
            reply = payloads.parse(payload)
        except BadJsonError:
            reply = {"error": payload.decode(errors="replace")}
        self._centre.replied(self._entity.name, int(number), reply)
        return verdict.TAKEN

    def _call(self, number: str, message: Any) -> Verdict:
        if not isinstance(message, dict) or "method" not in message:
            raise BadShapeError("method")
        if message["method"] == "getSessionLimits" and self._behaviour.answers_session_limits:
            self._push(f"{ME}rpc/response/{number}", self._limits())
        return verdict.TAKEN

    def _limits(self) -> dict[str, Any]:
        limits = self._behaviour.limits

        def of(scope: str) -> dict[str, str | None]:
            names = ("messages", "telemetry_messages", "data_points")
            asked = [getattr(limits, f"{scope}_{name}") or None for name in names]
            return dict(zip(("messages", "telemetryMessages", "telemetryDataPoints"), asked, strict=True))

        answer = {
            "maxPayloadSize": self._behaviour.payload_bytes_max,
            "maxInflightMessages": 100,
            "rateLimits": of("own"),
        }
        return answer | ({"gatewayRateLimits": of("gateway")} if self._entity.gateway else {})


def provision(centre: Centre, behaviour: Behaviour, payload: bytes) -> dict[str, Any]:
    """The answer to a provisioning request."""
    try:
        asked = payloads.parse(payload)
    except BadJsonError:
        asked = None
    asked = asked if isinstance(asked, dict) else {}
    profile = behaviour.provisioning.get(
        (str(asked.get("provisionDeviceKey")), str(asked.get("provisionDeviceSecret")))
    )
    if profile is None:
        return {"errorMsg": "Provision data was not found!", "status": "NOT_FOUND"}
    name = asked.get("deviceName") or secrets.token_hex(10)
    if name in centre.devices or asked.get("credentialsType", "ACCESS_TOKEN") != "ACCESS_TOKEN":
        return {"errorMsg": "Failed to provision device!", "status": "FAILURE"}
    token = asked.get("token") or secrets.token_hex(10)
    centre.add(Entity(name, profile, gateway=asked.get("gateway") is True, token=token))
    return {"credentialsType": "ACCESS_TOKEN", "credentialsValue": token, "status": "SUCCESS"}
