"""The alarms of the fake ThingsBoard: one active alarm of a type and originator at a time, as there."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from aiohttp import web

from tests.thingsboard_http.model import Centre, Entity, Refusal, ref

SEVERITIES = ("CRITICAL", "MAJOR", "MINOR", "WARNING", "INDETERMINATE")


class AlarmRoutes:
    """`alarms` in the order they were made."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre
        self.alarms: list[Entity] = []

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/alarm", self._save),
            web.post("/api/alarm/{id}/ack", self._acknowledge),
            web.post("/api/alarm/{id}/clear", self._clear),
            web.get("/api/alarm/{type}/{id}", self._list),
        ]

    async def _save(self, request: web.Request) -> web.Response:
        given = await request.json()
        self._centre.any(given["originator"]["id"])
        if given["severity"] not in SEVERITIES or not given["type"]:
            raise Refusal(400, 31, "Alarm type should be specified!")
        active = self._active(given)
        if active is None:
            active = {**given, "id": ref("ALARM", str(uuid.uuid4())), "acknowledged": False, "cleared": False}
            self.alarms.append(active)
        active.update(given)
        return _json(_shown(active))

    def _active(self, given: Entity) -> Entity | None:
        same = ("type", "originator")
        return next(
            (a for a in self.alarms if not a["cleared"] and all(a[key] == given[key] for key in same)), None
        )

    def _one(self, request: web.Request) -> Entity:
        found = (alarm for alarm in self.alarms if alarm["id"]["id"] == request.match_info["id"])
        alarm = next(found, None)
        if alarm is None:
            raise Refusal(404, 32, "Requested item wasn't found!")
        return alarm

    async def _acknowledge(self, request: web.Request) -> web.Response:
        alarm = self._one(request)
        if alarm["acknowledged"]:
            raise Refusal(400, 31, "Alarm was already acknowledged!")
        alarm["acknowledged"] = True
        return _json(_shown(alarm))

    async def _clear(self, request: web.Request) -> web.Response:
        alarm = self._one(request)
        if alarm["cleared"]:
            raise Refusal(400, 31, "Alarm was already cleared!")
        alarm["cleared"] = True
        return _json(_shown(alarm))

    async def _list(self, request: web.Request) -> web.Response:
        of = ref(request.match_info["type"], request.match_info["id"])
        newest = [_shown(alarm) for alarm in reversed(self.alarms) if alarm["originator"] == of]
        found = newest[: int(request.query["pageSize"])]
        return _json({"data": found, "totalElements": len(newest), "totalPages": 1, "hasNext": False})


def _shown(alarm: Entity) -> Entity:
    words = ("CLEARED" if alarm["cleared"] else "ACTIVE", "ACK" if alarm["acknowledged"] else "UNACK")
    return {**alarm, "status": "_".join(words)}


def _json(data: Any) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")
