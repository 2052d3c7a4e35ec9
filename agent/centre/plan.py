"""What is to be done so that the centre is as wanted. Pure: `plan(wanted, found) -> Plan`.

Rules.
1. Only what carries our mark (or was made by our gateway over MQTT) is touched; the rest is refused, and
   the refusal says how to adopt it.
2. Profiles are shared by all boxes of a tenant: a missing one is made, and none is ever changed.
3. A device keeps the profile that people gave it; only `default`, which nobody chose, is replaced.
4. A dashboard that people changed is not overwritten.
5. Nothing with data in it is deleted: only relations that are ours and wrong, and doubles of a dashboard.
6. Once all of a plan is done, the next one is empty.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.centre.wanted import (
    CONTAINS,
    MARK,
    Link,
    Ref,
    Wanted,
    WantedAsset,
    WantedDevice,
    digest,
    reference,
    resolved,
)

Raw = Mapping[str, Any]


class Action(NamedTuple):
    """One request: `verb` create, update, delete, relate, unrelate or credentials. `detail` is for people."""

    verb: str
    kind: str
    name: str
    detail: str
    body: Any


class Refusal(NamedTuple):
    """Something that was left alone, and the way out."""

    name: str
    reason: str


class Plan(NamedTuple):
    """`notes` are worth knowing, and need nothing done."""

    actions: tuple[Action, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What the centre has under the wanted names. `relations`: (from id, kind, to id) -> whose mark;
    `created`: ids of devices that our gateway made over MQTT."""

    profiles: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, Raw] = field(default_factory=dict)
    assets: Mapping[str, Raw] = field(default_factory=dict)
    relations: Mapping[tuple[str, str, str], Raw] = field(default_factory=dict)
    created: frozenset[str] = frozenset()
    credentials: Raw | None = field(default=None, repr=False)
    dashboards: Sequence[Raw] = ()

    def ids(self) -> dict[Ref, str]:
        """The ids that are known."""
        ids = {Ref("DEVICE_PROFILE", name): each for name, each in self.profiles.items()}
        ids |= {Ref("DEVICE", name): each["id"]["id"] for name, each in self.devices.items()}
        return ids | {Ref("ASSET", name): each["id"]["id"] for name, each in self.assets.items()}


def plan(wanted: Wanted, found: Found, adopt: Collection[str] = ()) -> Plan:
    """What to do, in the order in which it can be done."""
    refusals = list(_refusals(wanted, found, adopt))
    refused = {ref for ref, _ in refusals}
    actions = [
        *_profiles(wanted, found),
        *_assets(wanted, found, refused),
        *_devices(wanted, found, refused),
        *_links(wanted, found, refused),
    ]
    said = [refusal for _, refusal in refusals]
    if wanted.gateway not in refused:
        credentials = _credentials(wanted, found)
        actions += [each for each in credentials if isinstance(each, Action)]
        said += [each for each in credentials if isinstance(each, Refusal)]
    dashboard = list(_dashboard(wanted, found, adopt))
    actions += [each for each in dashboard if isinstance(each, Action)]
    said += [each for each in dashboard if isinstance(each, Refusal)]
    return Plan(tuple(actions), tuple(said), tuple(each for each in dashboard if isinstance(each, str)))


def mark_of(raw: Raw) -> str | None:
    """Who made (or adopted) a device or asset, None if no agent did."""
    mark = _info(raw).get(MARK)
    return None if mark is None else str(mark)


def _info(raw: Raw) -> Mapping[str, Any]:
    info = raw.get("additionalInfo")
    return info if isinstance(info, Mapping) else {}


def _refusals(wanted: Wanted, found: Found, adopt: Collection[str]) -> Iterator[tuple[Ref, Refusal]]:
    """The devices and assets that have a wanted name and are not ours."""
    gateway = found.devices.get(wanted.gateway.name)
    gateway_is_ours = gateway is not None and (
        mark_of(gateway) == wanted.owner or wanted.gateway.name in adopt
    )
    for kind, raws in (("DEVICE", found.devices), ("ASSET", found.assets)):
        for name, raw in raws.items():
            made = gateway_is_ours and raw["id"]["id"] in found.created and mark_of(raw) is None
            if mark_of(raw) != wanted.owner and not made and name not in adopt:
                yield Ref(kind, name), Refusal(name, _whose(kind, name, mark_of(raw), found, wanted))


def _whose(kind: str, name: str, mark: str | None, found: Found, wanted: Wanted) -> str:
    maker = f"belongs to the agent of site {mark!r}" if mark else "was not made by this agent"
    proof = ""
    if Ref(kind, name) == wanted.gateway and _has_token(found, wanted):
        proof = "; its access token is this box's"
    return f"the {kind.lower()} {name!r} is there and {maker}{proof}; to take it over: --adopt {name!r}"


def _has_token(found: Found, wanted: Wanted) -> bool:
    held = found.credentials or {}
    if held.get("credentialsType") != "ACCESS_TOKEN" or not wanted.token:
        return False
    return hmac.compare_digest(str(held.get("credentialsId")).encode(), wanted.token.encode())


def _profiles(wanted: Wanted, found: Found) -> Iterator[Action]:
    for name in wanted.profiles:
        if name not in found.profiles:
            disabled = {"type": "DISABLED"}
            body = {
                "name": name,
                "description": f"Made by UICPS Edge Agent ({MARK}: {wanted.owner})",
                "type": "DEFAULT",
                "transportType": "DEFAULT",
                "provisionType": "DISABLED",
                "profileData": {
                    "configuration": {"type": "DEFAULT"},
                    "transportConfiguration": {"type": "DEFAULT"},
                    "provisionConfiguration": disabled,
                },
            }
            yield Action("create", "DEVICE_PROFILE", name, "", body)


def _assets(wanted: Wanted, found: Found, refused: Collection[Ref]) -> Iterator[Action]:
    for want in wanted.assets:
        raw = found.assets.get(want.name, {})
        if Ref("ASSET", want.name) not in refused:
            changes = _asset_changes(want, raw, wanted.owner)
            yield from _save("ASSET", want.name, {"name": want.name, "type": want.type}, raw, changes)


def _asset_changes(want: WantedAsset, raw: Raw, owner: str) -> dict[str, Any]:
    changes: dict[str, Any] = {"additionalInfo": {**_info(raw), MARK: owner}}
    if want.label:
        changes["label"] = want.label
    return changes


def _devices(wanted: Wanted, found: Found, refused: Collection[Ref]) -> Iterator[Action]:
    for want in wanted.devices:
        raw = found.devices.get(want.name, {})
        if Ref("DEVICE", want.name) in refused:
            continue
        changes = _device_changes(want, raw, wanted.owner, found)
        token = wanted.token if want.gateway else None
        for action in _save("DEVICE", want.name, {"name": want.name}, raw, changes):
            with_token = action.verb == "create" and token
            yield action._replace(body={"device": action.body, "token": token}) if with_token else action


def _device_changes(want: WantedDevice, raw: Raw, owner: str, found: Found) -> dict[str, Any]:
    changes: dict[str, Any] = {"additionalInfo": {**_info(raw), MARK: owner}}
    if want.gateway:
        changes["additionalInfo"] |= {"gateway": True, "overwriteActivityTime": True}
    if want.label:
        changes["label"] = want.label
    if raw.get("type", "default") == "default" and want.profile != "default":
        known = found.profiles.get(want.profile)
        profile_id = known or reference(Ref("DEVICE_PROFILE", want.profile))
        changes["deviceProfileId"] = {"entityType": "DEVICE_PROFILE", "id": profile_id}
    return changes


def _save(
    kind: str, name: str, new: Mapping[str, Any], raw: Raw, changes: Mapping[str, Any]
) -> Iterator[Action]:
    """Make what is not there; change what is, if it differs."""
    if not raw:
        yield Action("create", kind, name, "", {**new, **changes})
        return
    different = {key: value for key, value in changes.items() if raw.get(key) != value}
    if different:
        names = sorted("profile" if key == "deviceProfileId" else key for key in different)
        yield Action("update", kind, name, ", ".join(names), {**raw, **different})


def _links(wanted: Wanted, found: Found, refused: Collection[Ref]) -> Iterator[Action]:
    ids = found.ids()
    keep = set()
    for link in wanted.links:
        known = (ids.get(link.source), link.kind, ids.get(link.target))
        keep.add(known)
        if link.source not in refused and link.target not in refused and known not in found.relations:
            detail = f"{link.kind} {link.target.name}"
            yield Action("relate", link.source.kind, link.source.name, detail, _relation(link, wanted.owner))
    names = {entity_id: ref for ref, entity_id in ids.items()}
    for key, raw in found.relations.items():
        if key not in keep and key[1] == CONTAINS and _info(raw).get(MARK) == wanted.owner:
            target = names[key[2]].name if key[2] in names else key[2]
            yield Action("unrelate", names[key[0]].kind, names[key[0]].name, f"{key[1]} {target}", dict(raw))


def _relation(link: Link, owner: str) -> dict[str, Any]:
    return {
        "from": {"entityType": link.source.kind, "id": reference(link.source)},
        "to": {"entityType": link.target.kind, "id": reference(link.target)},
        "type": link.kind,
        "typeGroup": "COMMON",
        "additionalInfo": {MARK: owner},
    }


def _credentials(wanted: Wanted, found: Found) -> list[Action | Refusal]:
    """The gateway's access token is the one in the token file."""
    held, name = found.credentials, wanted.gateway.name
    if held is None or not wanted.token or _has_token(found, wanted):
        return []
    if held.get("credentialsType") != "ACCESS_TOKEN":
        kind = held.get("credentialsType")
        return [Refusal(name, f"the gateway's credentials there are {kind}: expected an access token")]
    detail = "access token of token_file; closes its connection"
    return [Action("credentials", "DEVICE", name, detail, {**held, "credentialsId": wanted.token})]


def _dashboard(wanted: Wanted, found: Found, adopt: Collection[str]) -> Iterator[Action | Refusal | str]:
    title = wanted.title
    ours = [each for each in found.dashboards if _dashboard_mark(each).get("owner") == wanted.owner]
    if not found.dashboards:
        yield Action(
            "create", "DASHBOARD", title, "", {"title": title, "configuration": wanted.configuration}
        )
    elif ours:
        yield from _own_dashboard(wanted, found, ours[0], title in adopt)
        for double in ours[1:]:
            if _is_untouched(double):
                yield Action("delete", "DASHBOARD", title, "made twice when a sync was cut off", double)
            else:
                yield f"a second dashboard {title!r} is there, changed by someone: rename one of them"
    elif title in adopt:
        body = {**found.dashboards[0], "configuration": wanted.configuration}
        yield Action("update", "DASHBOARD", title, "adopted: all that it shows is replaced", body)
    else:
        text = f"the dashboard {title!r} is there and was not made by this agent; rename it to keep it"
        yield Refusal(title, f"{text}, or overwrite it: --adopt {title!r}")


def _own_dashboard(wanted: Wanted, found: Found, raw: Raw, adopted: bool) -> Iterator[Action | Refusal | str]:
    try:
        as_wanted = digest(resolved(wanted.configuration, found.ids()))
    except KeyError:  # it shows a device that is yet to be made
        as_wanted = ""
    untouched = _is_untouched(raw)
    if _dashboard_mark(raw).get("digest") == as_wanted and (untouched or not adopted):
        if not untouched:
            yield f"the dashboard {wanted.title!r} was changed by someone and is left so"
    elif untouched or adopted:
        yield Action("update", "DASHBOARD", wanted.title, "", {**raw, "configuration": wanted.configuration})
    else:
        text = f"the dashboard {wanted.title!r} was changed by someone, and the site since then; rename it"
        yield Refusal(
            wanted.title, f"{text} to keep it and get a new one, or overwrite it: --adopt {wanted.title!r}"
        )


def _dashboard_mark(raw: Raw) -> Mapping[str, Any]:
    conf = raw.get("configuration")
    mark = conf.get(MARK) if isinstance(conf, Mapping) else None
    return mark if isinstance(mark, Mapping) else {}


def language_of(found: Found, owner: str) -> str | None:
    """The language in which our dashboard was made, None if there is none."""
    marks = [_dashboard_mark(raw) for raw in found.dashboards]
    return next((str(mark.get("language")) for mark in marks if mark.get("owner") == owner), None)


def _is_untouched(raw: Raw) -> bool:
    return digest(raw["configuration"]) == _dashboard_mark(raw).get("digest")
