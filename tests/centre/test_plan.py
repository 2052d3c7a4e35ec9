"""The plan as a pure function: whatever is there, carried out it is empty, and what is foreign stays."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from agent.centre.plan import Found, Plan, plan
from agent.centre.wanted import CREATED, MARK, Wanted, marked, resolved, wanted
from agent.model import Device, Group, Point
from agent.uplink.rest_options import RoomOptions
from tests.centre.conftest import site
from tests.thingsboard_http.model import Centre, Entity

NAMES = ("a", "b", "c", "d")
PROFILES = ("default", "meter", "ac")


def found_in(centre: Centre, want: Wanted) -> Found:
    """What `look` finds, without a socket."""
    devices = {each.name: centre.find("DEVICE", each.name) for each in want.devices}
    assets = {each.name: centre.find("ASSET", each.name) for each in want.assets}
    there = copy.deepcopy({name: raw for name, raw in devices.items() if raw})
    places = copy.deepcopy({name: raw for name, raw in assets.items() if raw})
    gateway = there.get(want.gateway.name)
    sources = {raw["id"]["id"] for raw in (*places.values(), *((gateway,) if gateway else ()))}
    relations = {key: raw for key, raw in centre.relations.items() if key[0] in sources}
    gateway_id = gateway["id"]["id"] if gateway else ""
    return Found(
        {each["name"]: each["id"]["id"] for each in centre.of("DEVICE_PROFILE")},
        there,
        places,
        relations,
        frozenset(to for source, kind, to in relations if kind == CREATED and source == gateway_id),
        centre.credentials_of(gateway_id) if gateway else None,
        tuple(copy.deepcopy(each) for each in centre.of("DASHBOARD") if each["title"] == want.title),
    )


def carry_out(centre: Centre, want: Wanted, left: Plan, until: int | None = None) -> None:
    """Do the first `until` actions, as `setup` does them over REST."""
    for action in left.actions[:until]:
        body = resolved(action.body, found_in(centre, want).ids())
        if action.kind == "DASHBOARD" and action.verb != "delete":
            body["configuration"] = marked(body["configuration"], want.owner, want.language)
        match action.verb:
            case "relate":
                centre.relate(body)
            case "unrelate":
                centre.unrelate(body["from"]["id"], body["type"], body["to"]["id"])
            case "delete":
                centre.delete(body["id"]["id"])
            case "credentials":
                centre.save_credentials(body)
            case _ if "device" in body:
                centre.save("DEVICE", body["device"], body["token"])
            case _:
                centre.save(action.kind, body)


@st.composite
def sites(draw: st.DrawFn) -> Wanted:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    groups = [
        Group(
            Device(name, draw(st.sampled_from(PROFILES)), draw(st.sampled_from(("", "One", "Two")))),
            "g",
            (Point("active_power", "W"), Point("temperature", "°C")),
            1000,
        )
        for name in names
    ]
    places = draw(st.lists(st.sampled_from((None, "r1", "r2")), min_size=len(names), max_size=len(names)))
    rooms = [
        RoomOptions(name=room, building=draw(st.sampled_from(("", "east"))), devices=inside)
        for room in ("r1", "r2")
        if (inside := [name for name, place in zip(names, places, strict=True) if place == room])
    ]
    token = draw(st.sampled_from((None, "T1", "T2")))
    return wanted("acme", groups, rooms=rooms, token=token, language=draw(st.sampled_from(("en", "pt-BR"))))


@st.composite
def centres(draw: st.DrawFn) -> Centre:
    """A centre in which people, other agents and MQTT have already made something."""
    centre = Centre(lambda: 0.0)
    infos = st.sampled_from((None, {"note": "mine"}, {MARK: "other"}, {MARK: "acme"}, {MARK: "acme", "x": 1}))
    for name in draw(st.lists(st.sampled_from((*NAMES, "acme")), unique=True)):
        device = {"name": name, "type": draw(st.sampled_from(PROFILES)), "additionalInfo": draw(infos)}
        centre.save("DEVICE", device)
    for name in draw(st.lists(st.sampled_from(("acme", "acme / r1", "acme / east")), unique=True)):
        centre.save("ASSET", {"name": name, "type": "site", "additionalInfo": draw(infos)})
    if centre.find("DEVICE", "acme"):
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
            centre.gateway_connect("acme", name)
    entities = [each["id"] for kind in ("DEVICE", "ASSET") for each in centre.of(kind)]
    if entities:
        pairs = st.tuples(st.sampled_from(entities), st.sampled_from(entities))
        for source, target in draw(st.lists(pairs, max_size=5)):
            body = {"from": source, "to": target, "type": "Contains", "typeGroup": "COMMON"}
            centre.relate({**body, "additionalInfo": draw(infos)})
    if draw(st.booleans()):
        configuration = {"widgets": {}, **draw(st.sampled_from(({}, {MARK: {"owner": "acme"}})))}
        centre.save("DASHBOARD", {"title": "acme - UICPS Edge Agent", "configuration": configuration})
    return centre


ADOPT = st.sets(st.sampled_from((*NAMES, "acme", "acme / r1", "acme - UICPS Edge Agent")))


@given(sites(), centres(), ADOPT)
def test_carried_out_it_is_empty(want: Wanted, centre: Centre, adopt: set[str]) -> None:
    carry_out(centre, want, plan(want, found_in(centre, want), adopt))
    assert plan(want, found_in(centre, want), adopt).actions == ()
    again = plan(want, found_in(centre, want))
    assert again.actions == ()  # what was adopted is ours from then on
    assert not {refusal.name for refusal in again.refusals} & adopt - {"acme"}


@given(sites(), centres(), st.integers(0, 30))
def test_cut_off_anywhere_the_next_one_finishes(want: Wanted, centre: Centre, until: int) -> None:
    carry_out(centre, want, plan(want, found_in(centre, want)), until)
    carry_out(centre, want, plan(want, found_in(centre, want)))
    assert plan(want, found_in(centre, want)).actions == ()


@given(sites(), sites(), centres())
def test_from_one_site_to_another(first: Wanted, second: Wanted, centre: Centre) -> None:
    for want in (first, second):
        carry_out(centre, want, plan(want, found_in(centre, want)))
    assert plan(second, found_in(centre, second)).actions == ()


@given(sites(), centres())
def test_what_is_foreign_stays_as_it_is(want: Wanted, centre: Centre) -> None:
    before = copy.deepcopy(centre.entities)
    relations = copy.deepcopy(centre.relations)
    left = plan(want, found_in(centre, want))
    refused = {refusal.name for refusal in left.refusals}
    carry_out(centre, want, left)
    for entity_id, raw in before.items():
        if not _is_ours(raw, before, relations):
            assert centre.entities[entity_id] == raw
            name = raw.get("name") or raw["title"]
            wanted_names = {each.name for each in (*want.devices, *want.assets)} | {want.title}
            assert name in refused or name not in wanted_names or raw["id"]["entityType"] == "DEVICE_PROFILE"
    for key, raw in relations.items():
        if (raw["additionalInfo"] or {}).get(MARK) != "acme":
            assert centre.relations[key] == raw


def _is_ours(raw: Entity, entities: dict[str, Entity], relations: dict[tuple[str, str, str], Entity]) -> bool:
    if raw["id"]["entityType"] == "DASHBOARD":
        return MARK in raw["configuration"]
    mark = (raw.get("additionalInfo") or {}).get(MARK)
    made = any(
        kind == CREATED
        and to == raw["id"]["id"]
        and (entities[source]["additionalInfo"] or {}).get(MARK) == "acme"
        for source, kind, to in relations
    )
    return mark == "acme" or (mark is None and made)


def test_the_reasons_never_hold_the_token() -> None:
    want = site()
    held = {"credentialsType": "ACCESS_TOKEN", "credentialsId": "0LD"}
    gateway = {"id": {"id": "1", "entityType": "DEVICE"}, "name": "acme", "additionalInfo": {MARK: "acme"}}
    left = plan(want, Found(devices={"acme": gateway}, credentials=held))
    said = [(action.verb, action.detail) for action in left.actions]
    assert ("credentials", "access token of token_file; closes its connection") in said
    assert "0LD" not in repr(Found(credentials=held))
