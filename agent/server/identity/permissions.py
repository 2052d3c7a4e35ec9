"""Who may do what: the one table that every route and message is judged by."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping


class Role(enum.StrEnum):
    """What a user may do, each including the one before: look; operate; administer."""

    VIEWER = "viewer"
    TECHNICIAN = "technician"
    ADMIN = "admin"


class Permission(enum.StrEnum):
    """One thing that can be allowed. The names are also the scopes of API keys."""

    READ = "read"  # live values, points, states, alarms
    EXPORT = "export"  # history: CSV
    ACKNOWLEDGE = "acknowledge"  # alarms
    COMMAND = "command"  # write points, release them
    PUSH = "push"  # hand in readings from outside
    REPORT = "report"  # have reports made, and remove them
    SCAN = "scan"  # look for devices on the lines
    CONFIGURE = "configure"  # sites, lines, devices, points, schedules
    USERS = "users"  # users and keys of others
    AUDIT = "audit"  # the audit log
    ACCOUNT = "account"  # one's own password and second factor


P = Permission
_VIEWER = frozenset({P.READ, P.EXPORT, P.ACCOUNT})
_TECHNICIAN = _VIEWER | {P.ACKNOWLEDGE, P.COMMAND, P.PUSH, P.REPORT, P.SCAN, P.CONFIGURE}
_ADMIN = _TECHNICIAN | {P.USERS, P.AUDIT}

ALLOWED: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.TECHNICIAN: _TECHNICIAN,
    Role.ADMIN: _ADMIN,
}

# A machine has no password to change, and must not be able to make others.
SCOPES = frozenset(Permission) - {P.ACCOUNT, P.USERS}

# Before the second factor that the role demands: only to set it up.
ENROLMENT = frozenset({P.ACCOUNT})


def scopes(names: Iterable[str]) -> frozenset[Permission]:
    """The permissions of `names`; ValueError says which cannot be a key's."""
    wanted = set(names)
    wrong = sorted(wanted - {each.value for each in SCOPES})
    if wrong or not wanted:
        known = ", ".join(sorted(SCOPES))
        raise ValueError(f"scopes: expected one or more of {known}, found {', '.join(wrong) or 'none'}")
    return frozenset(Permission(name) for name in wanted)
