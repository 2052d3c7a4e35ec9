"""What ThingsBoard grants to a gateway's session, as it tells when asked (3.8 and newer). Pure."""

from __future__ import annotations

import orjson

from agent.uplink.pace import Limits, rates

QUESTION = orjson.dumps({"method": "getSessionLimits", "params": {}})


def granted(payload: bytes) -> Limits | None:
    """The limits of a gateway's sub-devices, or of the device itself; None if the answer says nothing.

    An introduction counts as a "message", data as a "telemetry message": both limits are kept by every one.
    """
    try:
        answer = orjson.loads(payload)
        found = answer.get("gatewayRateLimits") or answer["rateLimits"]
        messages = rates(found.get("messages")) + rates(found.get("telemetryMessages"))
        limits = Limits(messages, rates(found.get("telemetryDataPoints")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    sound = all(rate.amount > 0 and rate.seconds > 0 for kind in limits for rate in kind)
    return limits if sound else None
