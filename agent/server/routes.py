"""The REST API as one table: each route with its permission and its types. The server serves it, openapi.py
describes it."""

from __future__ import annotations

from typing import NamedTuple

from agent.server import shapes
from agent.server.api import Api, LedgerQuery, PointsQuery
from agent.server.audit.routes import AuditQuery, AuditRoutes
from agent.server.export import Export, ExportQuery
from agent.server.identity.permissions import Permission as May
from agent.server.logs import LogQuery, Ring
from agent.server.messages import CommandNews
from agent.server.metrics import Metrics
from agent.server.office import Office
from agent.server.people import NewUser, People, UserChange, WantedKey
from agent.server.route import Route
from agent.server.steering import AlarmQuery, Order, Shelving, Steering

CSV = "text/csv"
TEXT = "text/plain"
V1 = "/api/v1"


class Handlers(NamedTuple):
    """What answers."""

    office: Office
    api: Api
    export: Export
    steering: Steering
    people: People
    audit: AuditRoutes
    ring: Ring
    metrics: Metrics


def table(on: Handlers) -> list[Route]:
    """Every route with a token."""
    return [*_state(on), *_steering(on), *_account(on), *_people(on), *_records(on)]


def _state(on: Handlers) -> list[Route]:
    api, export = on.api, on.export
    exported = on.office.audited("export", export.csv)
    busy = {429: "as many exports as may are running"}
    return [
        Route("GET", f"{V1}/version", May.READ, api.version, "What runs here", answer=shapes.Version),
        Route("GET", f"{V1}/status", May.READ, api.status, "How the agent is", answer=shapes.Loose),
        Route("GET", f"{V1}/points", May.READ, api.points, "What points there are", PointsQuery,
              answer=shapes.Points),
        Route("GET", f"{V1}/latest", May.READ, api.latest, "The newest reading of each group", PointsQuery,
              answer=shapes.Latest),
        Route("GET", f"{V1}/lines", May.READ, api.lines, "The lines and their statistics",
              answer=shapes.Lines),
        Route("GET", f"{V1}/uplinks", May.READ, api.uplinks, "The uplinks: state and backlog",
              answer=shapes.Uplinks),
        Route("GET", f"{V1}/ledger", May.READ, api.ledger, "What became of every reading, by device and hour",
              LedgerQuery, answer=shapes.Ledger),
        Route("GET", f"{V1}/export.csv", May.EXPORT, exported, "History as CSV", ExportQuery, answer=CSV,
              refuses=busy),
        Route("GET", f"{V1}/export/estimate", May.EXPORT, export.estimate, "About how much that is",
              ExportQuery, answer=shapes.Estimate),
        Route("GET", "/metrics", May.READ, on.metrics.metrics, "Everything for Prometheus", answer=TEXT),
    ]  # fmt: skip


def _steering(on: Handlers) -> list[Route]:
    do = on.steering
    refused = {409: "it cannot be done to this alarm now; the text says why"}
    alarm = f"{V1}/alarms/{{alarm}}"
    return [
        Route("GET", f"{V1}/commands", May.READ, do.commands, "Leases, and those that are over",
              answer=shapes.Commands),
        Route("POST", f"{V1}/commands", May.COMMAND, do.submit, "Write a point, as a lease", body=Order,
              answer=CommandNews, status=201, refuses={422: "the command is refused; the text says why"}),
        Route("DELETE", f"{V1}/commands/{{point}}", May.COMMAND, do.release, "End the lease of people",
              answer=shapes.Released),
        Route("GET", f"{V1}/alarms", May.READ, do.alarms, "Alarms that are not over", answer=shapes.Alarms),
        Route("GET", f"{V1}/alarms/events", May.READ, do.alarm_events, "What happened to them, newest first",
              AlarmQuery, answer=shapes.AlarmEvents),
        Route("POST", f"{alarm}/acknowledge", May.ACKNOWLEDGE, do.acknowledge, "I have seen it",
              answer=shapes.Loose, refuses=refused),
        Route("POST", f"{alarm}/shelve", May.ACKNOWLEDGE, do.shelve, "Put it away for a time", body=Shelving,
              answer=shapes.Loose, refuses=refused),
        Route("POST", f"{alarm}/unshelve", May.ACKNOWLEDGE, do.unshelve, "Have it back",
              answer=shapes.Loose, refuses=refused),
    ]  # fmt: skip


def _account(on: Handlers) -> list[Route]:
    me, account = f"{V1}/me", on.office.account
    wrong = {409: "not as things are; the text says why", 429: "too many failures: wait"}
    return [
        Route("GET", me, May.ACCOUNT, account.me, "Who I am and what I may do", answer=shapes.Loose),
        Route("POST", f"{me}/password", May.ACCOUNT, account.set_password, "Change my password",
              body=shapes.PasswordChange, answer=shapes.Loose, refuses=wrong),
        Route("POST", f"{me}/totp", May.ACCOUNT, account.begin_totp, "Begin a second factor",
              body=shapes.Password, answer=shapes.Loose, refuses=wrong),
        Route("POST", f"{me}/totp/confirm", May.ACCOUNT, account.confirm_totp, "Switch it on",
              body=shapes.Totp, answer=shapes.Loose, refuses=wrong),
        Route("DELETE", f"{me}/totp", May.ACCOUNT, account.remove_totp, "Switch it off", body=shapes.Proof,
              answer=shapes.Loose, refuses=wrong),
    ]  # fmt: skip


def _people(on: Handlers) -> list[Route]:
    people, user = on.people, f"{V1}/users/{{name}}"
    refused = {409: "it cannot be so; the text says why"}
    unknown = {404: "there is none of this name"}
    return [
        Route("GET", f"{V1}/users", May.USERS, people.users, "All users", answer=shapes.UserList),
        Route("POST", f"{V1}/users", May.USERS, people.add_user, "A new user", body=NewUser,
              answer=shapes.UserInfo, status=201, refuses=refused),
        Route("PATCH", user, May.USERS, people.change_user, "Change a user; his sockets end",
              body=UserChange, answer=shapes.UserInfo, refuses=refused | unknown),
        Route("DELETE", user, May.USERS, people.remove_user, "Forget a user", answer=shapes.UserInfo,
              refuses=refused | unknown),
        Route("GET", f"{V1}/keys", May.USERS, people.keys, "All API keys", answer=shapes.KeyList),
        Route("POST", f"{V1}/keys", May.USERS, people.add_key, "A new API key, shown this once",
              body=WantedKey, answer=shapes.NewKey, status=201, refuses=refused),
        Route("DELETE", f"{V1}/keys/{{key}}", May.USERS, people.remove_key, "Revoke a key, by name or id",
              answer=shapes.KeyInfo, refuses=unknown),
    ]  # fmt: skip


def _records(on: Handlers) -> list[Route]:
    exported = on.office.audited("audit.export", on.audit.csv)
    return [
        Route("GET", f"{V1}/audit", May.AUDIT, on.audit.entries, "The audit log, newest first", AuditQuery,
              answer=shapes.Entries),
        Route("GET", f"{V1}/audit.csv", May.AUDIT, exported, "All of it", AuditQuery, answer=CSV),
        Route("GET", f"{V1}/logs", May.CONFIGURE, on.ring.lines, "The newest lines of the log", LogQuery,
              answer=shapes.Logs),
    ]  # fmt: skip
