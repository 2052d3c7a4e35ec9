"""Commands from the LAN: the one way from a request to `Dispatch`, and into the audit log."""

from __future__ import annotations

from typing import Any, Protocol

from agent.dispatch import Command, Dispatch, Priority
from agent.server.identity.gate import Caller


class Note(Protocol):
    """`Audit.note`."""

    def __call__(self, kind: str, *, who: str = "", peer: str | None = "", **what: object) -> None: ...


class Orders:
    """Every order is noted, with what held the point before."""

    def __init__(self, dispatch: Dispatch, note: Note) -> None:
        self.dispatch, self._note = dispatch, note

    def submit(self, caller: Caller, peer: str | None, point: str, value: float, lease_s: float) -> Command:
        """A lease with the priority of people; `dispatch.Refused` says why not."""
        before = self.dispatch.winner(point) if point in self.dispatch.points else None
        asked = {"point": point, "value": value, "lease_s": lease_s, "before": _brief(before)}
        self._note("command.submit", who=caller.label, peer=peer, **asked)
        return self.dispatch.submit(point, value, Priority.MANUAL, caller.label, lease_s)

    def release(self, caller: Caller, peer: str | None, point: str) -> bool:
        """End the lease of people on `point`; whether there was one."""
        before = self.dispatch.winner(point) if point in self.dispatch.points else None
        released = self.dispatch.release(point, Priority.MANUAL)
        self._note(
            "command.release",
            who=caller.label,
            peer=peer,
            point=point,
            released=released,
            before=_brief(before),
        )
        return released

    def shown(self, command: Command) -> dict[str, Any]:
        """`command` for JSON."""
        return {
            "command": command.id,
            "point": command.point,
            "value": command.value,
            "priority": command.priority.name.lower(),
            "source": command.source,
            "state": command.state.value,
            "reason": command.reason,
            "submitted_ms": command.submitted_ms,
            "left_s": round(self.dispatch.left_s(command), 1),
        }


def _brief(command: Command | None) -> dict[str, Any] | None:
    if command is None:
        return None
    return {"value": command.value, "priority": command.priority.name.lower(), "source": command.source}
