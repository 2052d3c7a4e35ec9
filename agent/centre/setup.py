"""Looking at the centre and doing what the plan says.

Rules. What went wrong on the way (a lost answer, a version that someone else made old) is never guessed:
the centre is looked at again and planned anew, `ROUNDS_MAX` times. So a `sync` that was killed anywhere
is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from agent.centre.client import Rest, RestError
from agent.centre.plan import Action, Found, Plan, Raw, plan
from agent.centre.wanted import CREATED, Ref, Wanted, marked, resolved

ROUNDS_MAX = 4
LOOK_AGAIN = frozenset({0, 400, 404, 409, 500, 502, 503, 504})
DASHBOARDS_MAX = 20


async def look(rest: Rest, wanted: Wanted) -> Found:
    """What the centre has under the wanted names."""
    profiles = {each["name"]: each["id"]["id"] async for each in rest.pages("/api/deviceProfileInfos")}
    devices = await _named(rest, "/api/tenant/devices", "deviceName", [each.name for each in wanted.devices])
    assets = await _named(rest, "/api/tenant/assets", "assetName", [each.name for each in wanted.assets])
    gateway = devices.get(wanted.gateway.name)
    relations: dict[tuple[str, str, str], Raw] = {}
    for raw in (*assets.values(), *((gateway,) if gateway else ())):
        relations |= await _relations(rest, raw["id"])
    created = {to for source, kind, to in relations if gateway and kind == CREATED and _is(gateway, source)}
    return Found(
        profiles,
        devices,
        assets,
        relations,
        frozenset(created),
        await rest.get(f"/api/device/{gateway['id']['id']}/credentials") if gateway else None,
        await _dashboards(rest, wanted.title),
    )


def _is(raw: Raw, entity_id: str) -> bool:
    return bool(raw["id"]["id"] == entity_id)


async def _named(rest: Rest, path: str, key: str, names: Collection[str]) -> dict[str, Raw]:
    found = {name: await rest.find(path, {key: name}) for name in names}
    return {name: raw for name, raw in found.items() if raw is not None}


async def _relations(rest: Rest, source: Mapping[str, str]) -> dict[tuple[str, str, str], Raw]:
    params = {"fromId": source["id"], "fromType": source["entityType"]}
    answer = await rest.get("/api/relations", params)
    return {(each["from"]["id"], each["type"], each["to"]["id"]): each for each in answer}


async def _dashboards(rest: Rest, title: str) -> tuple[Raw, ...]:
    """The dashboards of exactly that title, oldest first, with what they are made of."""
    pages = rest.pages("/api/tenant/dashboards", {"textSearch": title})
    infos = [each async for each in pages if each["title"] == title]
    infos.sort(key=lambda each: (each.get("createdTime", 0), each["id"]["id"]))
    if len(infos) > DASHBOARDS_MAX:
        raise RestError("GET /api/tenant/dashboards", 0, f"expected at most {DASHBOARDS_MAX} of {title!r}")
    found = [await rest.find(f"/api/dashboard/{each['id']['id']}") for each in infos]
    return tuple(each for each in found if each is not None)


async def sync(
    rest: Rest, wanted: Wanted, adopt: Collection[str] = (), done: Callable[[Action], None] = lambda _: None
) -> Plan:
    """Bring the centre to what is wanted; `done` hears of each step. The plan that is left: without actions.

    RestError when the centre does not take it, after ROUNDS_MAX rounds; what was done stays done.
    """
    last: RestError | None = None
    for _ in range(ROUNDS_MAX):
        found = await look(rest, wanted)
        left = plan(wanted, found, adopt)
        if not left.actions:
            return left
        try:
            await _carry_out(rest, wanted, found.ids(), left, done)
        except RestError as error:
            if error.status not in LOOK_AGAIN:
                raise
            last = error
    found = await look(rest, wanted)
    left = plan(wanted, found, adopt)
    if left.actions:
        text = f"still {len(left.actions)} to do after {ROUNDS_MAX} rounds"
        raise last or RestError("sync", 0, f"{text}: does something else change the same things?")
    return left


async def _carry_out(
    rest: Rest, wanted: Wanted, ids: dict[Ref, str], left: Plan, done: Callable[[Action], None]
) -> None:
    for action in left.actions:
        made = await _do(rest, wanted, action._replace(body=resolved(action.body, ids)))
        if action.verb == "create" and action.kind != "DASHBOARD":
            ids[Ref(action.kind, action.name)] = made["id"]["id"]
        done(action)


_SAVE = {
    "DEVICE_PROFILE": "/api/deviceProfile",
    "DEVICE": "/api/device",
    "ASSET": "/api/asset",
    "DASHBOARD": "/api/dashboard",
}


async def _do(rest: Rest, wanted: Wanted, action: Action) -> Any:
    """One action, its body without references; what the centre made of it."""
    body = action.body
    match action.verb, action.kind:
        case "unrelate", _:
            return await rest.delete("/api/relation", _relation_params(body))
        case "delete", _:
            return await rest.delete(f"/api/dashboard/{body['id']['id']}")
        case (("relate" | "credentials"), _):
            path = "/api/relation" if action.verb == "relate" else "/api/device/credentials"
            return await rest.post(path, body, repeatable=True)
        case _, "DASHBOARD":
            conf = marked(body["configuration"], wanted.owner, wanted.language)
            return await rest.post(_SAVE["DASHBOARD"], {**body, "configuration": conf})
        case "create", "DEVICE" if "device" in body:
            credentials = {"credentialsType": "ACCESS_TOKEN", "credentialsId": body["token"]}
            body = {"device": body["device"], "credentials": credentials}
            return await rest.post("/api/device-with-credentials", body)
    return await rest.post(_SAVE[action.kind], body)


def _relation_params(raw: Raw) -> dict[str, str]:
    return {
        "fromId": raw["from"]["id"],
        "fromType": raw["from"]["entityType"],
        "relationType": raw["type"],
        "toId": raw["to"]["id"],
        "toType": raw["to"]["entityType"],
    }
