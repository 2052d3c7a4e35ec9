"""What the ThingsBoard of the tests holds, and the rules by which it takes changes."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping
from typing import Any

Entity = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - an answer
    """An answer other than 200, with ThingsBoard's error code."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


def ref(kind: str, entity_id: str) -> dict[str, str]:
    return {"entityType": kind, "id": entity_id}


class Centre:
    """`series` is key -> time -> value of an entity id; equal times overwrite, as they do there."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.entities: dict[str, Entity] = {}
        self.credentials: dict[str, Entity] = {}
        self.relations: dict[tuple[str, str, str], Entity] = {}
        self.attributes: dict[tuple[str, str], dict[str, Any]] = {}
        self.series: dict[str, dict[str, dict[int, Any]]] = {}
        self.entities_max = 10_000
        self.versions = True  # before 3.8 entities have none
        self._clock = clock
        self.save("DEVICE_PROFILE", {"name": "default", "type": "DEFAULT", "default": True})

    # -- as REST asks

    def any(self, entity_id: str) -> Entity:
        if entity_id not in self.entities:
            raise Refusal(404, 32, "Requested item wasn't found!")
        return self.entities[entity_id]

    def get(self, kind: str, entity_id: str) -> Entity:
        entity = self.any(entity_id)
        if entity["id"]["entityType"] != kind:
            raise Refusal(404, 32, "Requested item wasn't found!")
        return self._shown(entity)

    def named(self, kind: str, name: str) -> Entity:
        found = self.find(kind, name)
        if found is None:
            raise Refusal(404, 32, "Requested item wasn't found!")
        return self._shown(found)

    def find(self, kind: str, name: str) -> Entity | None:
        """The entity of that name (the title, of a dashboard), or None."""
        return next((each for each in self.of(kind) if _name(each) == name), None)

    def of(self, kind: str) -> list[Entity]:
        return [entity for entity in self.entities.values() if entity["id"]["entityType"] == kind]

    def search(self, kind: str, text: str) -> list[Entity]:
        found = [each for each in self.of(kind) if text.lower() in _name(each).lower()]
        # A list of dashboards or profiles holds infos, without what they are made of.
        hidden = {"configuration", "profileData"}
        return [
            {key: value for key, value in self._shown(each).items() if key not in hidden} for each in found
        ]

    def _shown(self, entity: Entity) -> Entity:
        shown = copy.deepcopy(entity)
        if not self.versions:
            del shown["version"]
        return shown

    def save(self, kind: str, given: Entity, token: str | None = None) -> Entity:
        given = copy.deepcopy(given)
        name = _name(given)
        if not name:
            raise Refusal(400, 31, f"{kind.title()} name should be specified!")
        held = self.find(kind, name) if kind != "DASHBOARD" else None
        if "id" not in given:
            if held:
                raise Refusal(400, 31, f"{kind.title()} with such name already exists!")
            return self._shown(self._new(kind, given, token))
        old = self.any(given["id"]["id"])
        if held and held["id"] != given["id"]:
            raise Refusal(400, 31, f"{kind.title()} with such name already exists!")
        if given.get("version") not in (None, old["version"]):
            raise Refusal(409, 35, f"The entity has already changed (version {old['version']})")
        entity = given | {"version": old["version"] + 1, "createdTime": old["createdTime"]}
        self._settle_profile(kind, entity)
        self.entities[given["id"]["id"]] = entity
        return self._shown(entity)

    def _new(self, kind: str, given: Entity, token: str | None) -> Entity:
        if len(self.of(kind)) >= self.entities_max:
            raise Refusal(403, 41, f"{kind.title()}s limit reached")
        if token and any(each["credentialsId"] == token for each in self.credentials.values()):
            raise Refusal(400, 31, "Device credentials are already assigned to another device!")
        entity_id = str(uuid.uuid4())
        entity = {
            **given,
            "id": ref(kind, entity_id),
            "createdTime": int(self._clock() * 1000),
            "version": 1,
        }
        entity.setdefault("additionalInfo", None)
        self._settle_profile(kind, entity)
        self.entities[entity_id] = entity
        if kind == "DEVICE":
            self.credentials[entity_id] = {
                "id": {"id": str(uuid.uuid4())},
                "deviceId": ref("DEVICE", entity_id),
                "credentialsType": "ACCESS_TOKEN",
                "credentialsId": token or uuid.uuid4().hex[:20],
                "credentialsValue": None,
            }
        return entity

    def _settle_profile(self, kind: str, entity: Entity) -> None:
        """A device's type is the name of its profile; a type that is unknown makes one."""
        if kind != "DEVICE":
            return
        profile_id = entity.get("deviceProfileId")
        if profile_id is None:
            name = entity.get("type") or "default"
            found = self.find("DEVICE_PROFILE", name)
            profile = found or self._new("DEVICE_PROFILE", {"name": name, "type": "DEFAULT"}, None)
        else:
            profile = self.get("DEVICE_PROFILE", profile_id["id"])
        entity["deviceProfileId"], entity["type"] = profile["id"], profile["name"]

    def delete(self, entity_id: str) -> None:
        self.any(entity_id)
        del self.entities[entity_id]
        self.relations = {key: each for key, each in self.relations.items() if entity_id not in key}

    def credentials_of(self, device_id: str) -> Entity:
        self.get("DEVICE", device_id)
        return copy.deepcopy(self.credentials[device_id])

    def save_credentials(self, given: Entity) -> Entity:
        held = self.credentials.get(given["deviceId"]["id"])
        if held is None or held["id"] != given.get("id"):
            raise Refusal(400, 31, "Unable to update non-existent device credentials!")
        self.credentials[given["deviceId"]["id"]] = copy.deepcopy(given)
        return given

    def relate(self, relation: Entity) -> None:
        for side in ("from", "to"):
            self.any(relation[side]["id"])
        self.relations[(relation["from"]["id"], relation["type"], relation["to"]["id"])] = copy.deepcopy(
            {"additionalInfo": None, **relation}
        )

    def unrelate(self, from_id: str, kind: str, to_id: str) -> None:
        if (from_id, kind, to_id) not in self.relations:
            raise Refusal(404, 32, "Requested item wasn't found!")
        del self.relations[(from_id, kind, to_id)]

    # -- as MQTT does

    def gateway_connect(self, gateway: str, name: str, type_name: str = "default") -> None:
        """A sub-device is connected: one that is unknown is made, and related to its gateway."""
        gateway_id = self.named("DEVICE", gateway)["id"]
        if self.find("DEVICE", name):
            return
        info = {"lastConnectedGateway": gateway_id["id"]}
        made = self.save("DEVICE", {"name": name, "type": type_name, "additionalInfo": info})
        self.relate({"from": gateway_id, "to": made["id"], "type": "Created", "typeGroup": "COMMON"})

    def telemetry(self, device: str, time_ms: int, values: Mapping[str, Any]) -> None:
        """Values are stored, as they are some time after a PUBACK."""
        series = self.series.setdefault(self.named("DEVICE", device)["id"]["id"], {})
        for key, value in values.items():
            series.setdefault(key, {})[time_ms] = value


def _name(entity: Entity) -> str:
    return str(entity.get("name") or entity.get("title") or "")
