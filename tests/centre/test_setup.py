"""`sync` against a fake ThingsBoard on real sockets: made, changed, left alone, cut off anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.centre import setup
from agent.centre.client import Rest, RestError
from agent.centre.plan import Action, Plan, plan
from agent.centre.wanted import MARK, Wanted
from agent.model import Device, Group, Point
from agent.uplink.rest_options import RoomOptions
from tests.centre.conftest import GROUPS, METER, ROOM, client, site
from tests.thingsboard_http.model import Entity
from tests.thingsboard_http.server import FakeThingsBoard

TITLE = "acme - UICPS Edge Agent"


async def planned(rest: Rest, want: Wanted, adopt: tuple[str, ...] = ()) -> Plan:
    return plan(want, await setup.look(rest, want), adopt)


def entity(fake: FakeThingsBoard, kind: str, name: str) -> Entity:
    found = fake.centre.find(kind, name)
    assert found is not None, f"no {kind} {name}"
    return found


def related(fake: FakeThingsBoard) -> set[tuple[str, str, str]]:
    names = {key: each.get("name") or each["title"] for key, each in fake.centre.entities.items()}
    return {(names[source], kind, names[target]) for source, kind, target in fake.centre.relations}


async def test_a_dry_run_changes_nothing(fake: FakeThingsBoard, rest: Rest) -> None:
    left = await planned(rest, site())
    assert fake.writes == []
    verbs = [(action.verb, action.kind, action.name) for action in left.actions]
    assert verbs[:3] == [
        ("create", "DEVICE_PROFILE", "eastron-sdm630"),
        ("create", "DEVICE_PROFILE", "intesis-ac"),
        ("create", "DEVICE_PROFILE", "uicps-agent"),
    ]
    assert verbs[-1] == ("create", "DASHBOARD", TITLE)
    assert "T0KEN" not in repr(site())


async def test_an_empty_centre_becomes_as_wanted(fake: FakeThingsBoard, rest: Rest) -> None:
    done: list[Action] = []
    left = await setup.sync(rest, site(), done=done.append)
    assert left == Plan((), ())
    gateway = entity(fake, "DEVICE", "acme")
    assert gateway["additionalInfo"] == {MARK: "acme", "gateway": True, "overwriteActivityTime": True}
    assert gateway["type"] == "uicps-agent"
    assert fake.centre.credentials[gateway["id"]["id"]]["credentialsId"] == "T0KEN"
    meter = entity(fake, "DEVICE", "main-meter")
    assert (meter["label"], meter["type"]) == ("Main meter", "eastron-sdm630")
    room = entity(fake, "ASSET", "acme / Bloco A / 101")
    assert (room["label"], room["type"], room["additionalInfo"]) == ("Sala 101", "room", {MARK: "acme"})
    assert related(fake) == {
        ("acme", "Contains", "acme / Bloco A"),
        ("acme / Bloco A", "Contains", "acme / Bloco A / 101"),
        ("acme / Bloco A / 101", "Contains", "ac-101"),
        ("acme", "Contains", "main-meter"),
        ("acme", "Contains", "acme"),
        ("acme", "Created", "main-meter"),
        ("acme", "Created", "ac-101"),
    }
    assert "\x00" not in repr(fake.centre.entities)
    assert len(done) == len(fake.writes)


async def test_a_second_run_has_nothing_to_do(fake: FakeThingsBoard, rest: Rest) -> None:
    await setup.sync(rest, site())
    before = len(fake.writes)
    assert await planned(rest, site()) == Plan((), ())
    await setup.sync(rest, site())
    assert len(fake.writes) == before


@pytest.mark.parametrize("versions", [True, False])
async def test_what_changed_in_the_config_changes_there(
    fake: FakeThingsBoard, rest: Rest, versions: bool
) -> None:
    fake.centre.versions = versions
    await setup.sync(rest, site())
    moved = ROOM.model_copy(update={"name": "102", "label": "Sala 102"})
    changed = Group(Device("main-meter", "eastron-sdm630", "Geral"), "fast", METER.points, 1000)
    assert await setup.sync(rest, site(rooms=(moved,), groups=(changed, *GROUPS[2:]))) == Plan((), ())
    assert entity(fake, "DEVICE", "main-meter")["label"] == "Geral"
    assert ("acme / Bloco A / 102", "Contains", "ac-101") in related(fake)
    assert "Geral" in repr(entity(fake, "DASHBOARD", TITLE))


async def test_a_device_that_moved_leaves_its_old_room(fake: FakeThingsBoard, rest: Rest) -> None:
    rooms = (ROOM, RoomOptions(name="102", devices=["main-meter"]))
    await setup.sync(rest, site(rooms=rooms))
    swapped = (
        ROOM.model_copy(update={"devices": ["main-meter"]}),
        RoomOptions(name="102", devices=["ac-101"]),
    )
    mine = {"from": entity(fake, "ASSET", "acme / 102")["id"], "to": entity(fake, "DEVICE", "acme")["id"]}
    fake.centre.relate({**mine, "type": "Contains", "typeGroup": "COMMON"})
    await setup.sync(rest, site(rooms=swapped))
    inside = {link for link in related(fake) if link[1] == "Contains" and link[2] in ("ac-101", "main-meter")}
    assert inside == {
        ("acme / Bloco A / 101", "Contains", "main-meter"),
        ("acme / 102", "Contains", "ac-101"),
    }
    assert ("acme / 102", "Contains", "acme") in related(fake)  # someone else's: stays


async def test_what_it_did_not_make_is_left_alone_and_can_be_adopted(
    fake: FakeThingsBoard, rest: Rest
) -> None:
    foreign = [
        fake.centre.save("DEVICE", {"name": "main-meter", "type": "mine", "label": "Hands off"}),
        fake.centre.save("DEVICE", {"name": "ac-101", "additionalInfo": {MARK: "other", "note": "x"}}),
        fake.centre.save("ASSET", {"name": "acme", "type": "campus"}),
        fake.centre.save("DASHBOARD", {"title": TITLE, "configuration": {"widgets": {}}}),
    ]
    left = await setup.sync(rest, site())
    assert [fake.centre.get(each["id"]["entityType"], each["id"]["id"]) for each in foreign] == foreign
    assert [refusal.name for refusal in left.refusals] == ["main-meter", "ac-101", "acme", TITLE]
    assert "--adopt 'main-meter'" in left.refusals[0].reason
    assert "belongs to the agent of site 'other'" in left.refusals[1].reason
    assert not {"main-meter", "ac-101"} & {target for _, _, target in related(fake)}

    names = ("main-meter", "ac-101", "acme", TITLE)
    assert await setup.sync(rest, site(), names) == Plan((), ())
    meter = entity(fake, "DEVICE", "main-meter")
    assert (meter["type"], meter["label"]) == ("mine", "Main meter")  # the profile people gave it stays
    assert entity(fake, "DEVICE", "ac-101")["additionalInfo"] == {MARK: "acme", "note": "x"}
    assert await planned(rest, site()) == Plan((), ())


async def test_a_gateway_made_by_hand_with_our_token_says_so(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.centre.save("DEVICE", {"name": "acme"}, "T0KEN")
    left = await planned(rest, site())
    assert "its access token is this box's" in left.refusals[0].reason
    await setup.sync(rest, site(), ("acme",))
    assert entity(fake, "DEVICE", "acme")["additionalInfo"]["gateway"] is True


async def test_what_our_gateway_made_over_mqtt_is_ours(fake: FakeThingsBoard, rest: Rest) -> None:
    await setup.sync(rest, site(groups=(METER,), rooms=()))
    fake.centre.gateway_connect("acme", "ac-101")
    assert await setup.sync(rest, site()) == Plan((), ())
    assert entity(fake, "DEVICE", "ac-101")["type"] == "intesis-ac"  # was "default", which nobody chose
    fake.centre.save("DEVICE", {"name": "gw2"})
    fake.centre.gateway_connect("gw2", "theirs")
    theirs = Group(Device("theirs", "x"), "g", (Point("p"),), 0)
    left = await planned(rest, site(groups=(*GROUPS, theirs)))
    assert [refusal.name for refusal in left.refusals] == ["theirs"]


async def test_what_a_foreign_gateway_made_is_foreign(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.centre.save("DEVICE", {"name": "acme"})
    fake.centre.gateway_connect("acme", "ac-101")
    assert [refusal.name for refusal in (await planned(rest, site())).refusals] == ["acme", "ac-101"]
    assert (await planned(rest, site(), ("acme",))).refusals == ()


async def test_the_access_token_follows_the_file(fake: FakeThingsBoard, rest: Rest) -> None:
    await setup.sync(rest, site())
    left = await planned(rest, site(token="N3W"))
    assert [action.verb for action in left.actions] == ["credentials"]
    assert "N3W" not in left.actions[0].detail
    assert await setup.sync(rest, site(token="N3W")) == Plan((), ())
    gateway_id = entity(fake, "DEVICE", "acme")["id"]["id"]
    assert fake.centre.credentials[gateway_id]["credentialsId"] == "N3W"
    fake.centre.credentials[gateway_id]["credentialsType"] = "X509_CERTIFICATE"
    left = await planned(rest, site())
    assert "X509_CERTIFICATE" in left.refusals[0].reason
    assert await planned(rest, site(token=None)) == Plan((), ())


class TestDashboard:
    async def test_what_people_changed_is_left_so(self, fake: FakeThingsBoard, rest: Rest) -> None:
        await setup.sync(rest, site())
        board = entity(fake, "DASHBOARD", TITLE)
        board["configuration"]["settings"]["showTitle"] = True
        left = await planned(rest, site())
        assert left.actions == left.refusals == ()
        assert "was changed by someone and is left so" in left.notes[0]

        other = site(groups=GROUPS[:2], rooms=())
        left = await setup.sync(rest, other)
        assert [refusal.name for refusal in left.refusals] == [TITLE]
        assert entity(fake, "DASHBOARD", TITLE)["configuration"]["settings"]["showTitle"] is True
        assert await setup.sync(rest, other, (TITLE,)) == Plan((), ())
        assert entity(fake, "DASHBOARD", TITLE)["configuration"]["settings"]["showTitle"] is False

    async def test_renamed_it_is_theirs_and_a_new_one_is_made(
        self, fake: FakeThingsBoard, rest: Rest
    ) -> None:
        await setup.sync(rest, site())
        entity(fake, "DASHBOARD", TITLE)["title"] = "Mine"
        await setup.sync(rest, site())
        assert {each["title"] for each in fake.centre.of("DASHBOARD")} == {"Mine", TITLE}

    async def test_made_twice_one_goes(self, fake: FakeThingsBoard, rest: Rest) -> None:
        await setup.sync(rest, site())
        first = entity(fake, "DASHBOARD", TITLE)
        twin = fake.centre.save("DASHBOARD", {"title": TITLE, "configuration": first["configuration"]})
        fake.centre.any(twin["id"]["id"])["createdTime"] -= 1000
        assert await setup.sync(rest, site()) == Plan((), ())
        assert [each["id"] for each in fake.centre.of("DASHBOARD")] == [twin["id"]]  # the older one

    async def test_another_language_is_an_update(self, fake: FakeThingsBoard, rest: Rest) -> None:
        await setup.sync(rest, site())
        await setup.sync(rest, site(language="pt-BR"))
        assert "Potência ativa" in repr(entity(fake, "DASHBOARD", TITLE))
        assert len(fake.centre.of("DASHBOARD")) == 1


WRITES = 17  # of a whole sync of the small site; the next test says if that changes


async def test_the_number_of_writes(fake: FakeThingsBoard, rest: Rest) -> None:
    await setup.sync(rest, site())
    assert len(fake.writes) == WRITES


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("cut", range(WRITES))
async def test_killed_anywhere_the_next_run_finishes(fake: FakeThingsBoard, cut: int, after: bool) -> None:
    """A cancellation in the middle of any write, done there or not, and nothing is made twice."""
    fake.surprise(method="POST", path="(?!/api/auth).*", hang=True, after=after, skip=cut, times=99)
    async with client(fake) as rest:
        task = asyncio.create_task(setup.sync(rest, site()))
        while len(fake.writes) <= cut:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    fake._surprises.clear()
    async with client(fake) as rest:
        assert await setup.sync(rest, site()) == Plan((), ())
    assert len(fake.centre.of("DASHBOARD")) == 1
    assert len(fake.centre.of("DEVICE")) == len(fake.centre.of("ASSET")) == 3


@pytest.mark.parametrize("what", [{"cut": True}, {"status": 502}, {"status": 409}])
@pytest.mark.parametrize("at", [0, 4, 8, WRITES - 1])
async def test_answers_lost_on_the_way_need_no_second_run(
    fake: FakeThingsBoard, rest: Rest, what: dict[str, Any], at: int
) -> None:
    fake.surprise(method="POST", path="(?!/api/auth).*", after=True, skip=at, **what)
    assert await setup.sync(rest, site()) == Plan((), ())
    assert len(fake.centre.of("DASHBOARD")) == 1


async def test_a_version_made_old_by_someone_else(fake: FakeThingsBoard, rest: Rest) -> None:
    await setup.sync(rest, site())
    fake.surprise(method="POST", path="/api/device", status=409)
    changed = Group(Device("main-meter", "eastron-sdm630", "Geral"), "fast", METER.points, 1000)
    await setup.sync(rest, site(groups=(changed, *GROUPS[2:])))
    assert entity(fake, "DEVICE", "main-meter")["label"] == "Geral"


async def test_a_limit_of_the_tenant_ends_it_with_its_words(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.centre.entities_max = 1
    with pytest.raises(RestError, match="403: Device_Profiles limit reached"):
        await setup.sync(rest, site())
    fake.centre.entities_max = 10_000
    assert await setup.sync(rest, site()) == Plan((), ())


async def test_a_centre_that_never_takes_it_ends_too(fake: FakeThingsBoard, rest: Rest) -> None:
    fake.surprise(method="POST", path="/api/asset", status=400, text="Asset name is malformed", times=999)
    with pytest.raises(RestError, match="Asset name is malformed"):
        await setup.sync(rest, site())
