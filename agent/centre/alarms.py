"""Alarms at ThingsBoard, by its REST side: an outlet.

Rules.
1. An alarm of ours is one of theirs: its type is our id, its originator the device that it is about, or the
   gateway device. While one is active at the centre, saving it again updates that very alarm, and one that
   is over is looked for first: doing an event twice does no harm.
2. What was acknowledged or cleared here is so there. The other way round is not asked.
3. An event that the centre will never take (400) is passed over, with a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agent.alarms import Alarm, Change, Event, Priority
from agent.alarms.texts import change_word
from agent.centre.client import Params, Rest, RestError

log = logging.getLogger(__name__)

BATCH_MAX = 50
PAGE_SIZE = 100
SEVERITIES: Mapping[Priority, str] = {
    Priority.CRITICAL: "CRITICAL",
    Priority.HIGH: "MAJOR",
    Priority.MEDIUM: "MINOR",
    Priority.LOW: "WARNING",
}
TOLD = (
    Change.RAISED,
    Change.HELD,
    Change.CLEARED,
    Change.ACKNOWLEDGED,
    Change.UNSHELVED,
    Change.UNSUPPRESSED,
)


class CentreAlarms:
    """`rest` is entered for each delivery; `gateway` and `devices` are names at the centre."""

    batch_max = BATCH_MAX

    def __init__(self, rest: Rest, gateway: str, devices: Collection[str], language: str) -> None:
        self._rest, self._gateway, self._devices, self._language = rest, gateway, devices, language
        self._ids: dict[str, Mapping[str, str]] = {}

    async def deliver(self, events: Sequence[Event], lost: int) -> None:
        """Save what `events` say; OSError as soon as one does not get through."""
        async with self._rest:
            for event in events:
                if event.change not in TOLD:
                    continue
                try:
                    await self._tell(event)
                except RestError as error:
                    self._ids.clear()  # a device may have been made anew there
                    if error.status != 400:
                        raise
                    log.warning("alarm %s is refused at the centre: %s", event.alarm.id, error)

    async def _tell(self, event: Event) -> None:
        alarm, originator = event.alarm, await self._originator(event.alarm)
        saved = None if alarm.raised else await self._find(originator, alarm)
        if saved is None:
            saved = await self._rest.post("/api/alarm", self._body(event, originator), repeatable=True)
        path, status = f"/api/alarm/{saved['id']['id']}", str(saved["status"])
        if not alarm.unseen and status.endswith("_UNACK"):
            await self._rest.post(f"{path}/ack", None)
        if not alarm.raised and status.startswith("ACTIVE"):
            await self._rest.post(f"{path}/clear", None)

    async def _find(self, originator: Mapping[str, str], alarm: Alarm) -> Any:
        """This very alarm as the centre has it, None if it has not.

        Saving one that is cleared there already (the answer to that was lost) would make another.
        """
        path = f"/api/alarm/{originator['entityType']}/{originator['id']}"
        query: Params = {
            "pageSize": PAGE_SIZE,
            "page": 0,
            "sortProperty": "createdTime",
            "sortOrder": "DESC",
        }
        for found in (await self._rest.get(path, query))["data"]:
            same = found.get("startTs") == alarm.raised_ms or str(found.get("status")).startswith("ACTIVE")
            if found.get("type") == alarm.id and same:
                return found
        return None

    def _body(self, event: Event, originator: Mapping[str, str]) -> dict[str, Any]:
        alarm = event.alarm
        details = {
            "text": alarm.words.in_language(self._language),
            "change": change_word(event.change, self._language),
            "source": alarm.source,
            "detail": alarm.detail,
            "value": alarm.as_json()["value"],
        }
        return {
            "originator": originator,
            "type": alarm.id,
            "severity": SEVERITIES[alarm.priority],
            "startTs": alarm.raised_ms,
            "endTs": event.time_ms,
            "details": details,
        }

    async def _originator(self, alarm: Alarm) -> Mapping[str, str]:
        device = alarm.source.partition(".")[0]
        name = device if device in self._devices else self._gateway
        found = await self._device(name) or await self._device(self._gateway)
        if found is None:
            raise OSError(f"no device {self._gateway!r} at the centre: uicps-agent thingsboard sync makes it")
        return found

    async def _device(self, name: str) -> Mapping[str, str] | None:
        if name not in self._ids:
            found = await self._rest.find("/api/tenant/devices", {"deviceName": name})
            if found is None:
                return None
            self._ids[name] = {"entityType": "DEVICE", "id": found["id"]["id"]}
        return self._ids[name]
