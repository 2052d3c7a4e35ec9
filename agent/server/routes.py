"""The REST API as one table: each route with its permission and its types. The server serves it, openapi.py
describes it."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp.typedefs import Handler

from agent.server import shapes
from agent.server.alarms import Acknowledge, AlarmRoutes, EventsQuery, Shelve, Unshelve
from agent.server.api import Api, LedgerQuery, PointsQuery
from agent.server.audit.routes import AuditQuery, AuditRoutes
from agent.server.export import Export, ExportQuery
from agent.server.identity import shapes as access
from agent.server.identity.permissions import Permission as May
from agent.server.jobs import JobList, JobRoutes, JobShape, RunList, RunsQuery
from agent.server.logs import LogQuery, Ring
from agent.server.messages import CommandNews
from agent.server.metrics import Metrics
from agent.server.office import Office
from agent.server.people import NewUser, People, UserChange, WantedKey
from agent.server.profiles import PointChange, ProfileRoutes, ProfileText
from agent.server.pushing import Pushed, Pushing
from agent.server.reports import ReportOrder, ReportRoutes
from agent.server.route import Route
from agent.server.scanning import RtuScan, Scanning, TcpScan
from agent.server.setting import DeviceChange, LineChange, Setting, SiteChange
from agent.server.steering import Order, Steering

CSV = "text/csv"
TEXT = "text/plain"
CERTIFICATE = "application/x-x509-ca-cert"
V1 = "/api/v1"


class Handlers(NamedTuple):
    """What answers."""

    ca: Handler
    office: Office
    api: Api
    export: Export
    steering: Steering
    people: People
    setting: Setting
    profiles: ProfileRoutes
    jobs: JobRoutes
    pushing: Pushing
    scanning: Scanning
    alarms: AlarmRoutes | None
    audit: AuditRoutes
    reports: ReportRoutes
    ring: Ring
    metrics: Metrics


def table(on: Handlers) -> list[Route]:
    """Every route of the API."""
    alarms = _alarms(on.alarms) if on.alarms else []
    return [
        *_open(on),
        *_state(on),
        *_steering(on),
        *_pushing(on),
        *alarms,
        *_jobs(on),
        *_account(on),
        *_people(on),
        *_setting(on),
        *_reports(on.reports),
        *_profiles(on),
        *_scanning(on),
        *_records(on),
    ]


def _open(on: Handlers) -> list[Route]:
    """What is asked without a token: how one comes by one."""
    setup, grants = on.office.setup, on.office.grants
    failures = {429: "too many failures: wait"}
    wrong = {401: "the name, the password or the second factor is wrong or missing", **failures}
    return [
        Route("GET", "/healthz", None, on.api.healthz, "Whether the agent is well", answer=shapes.Health,
              others={503: shapes.Unhealthy}),
        Route("GET", "/ca.crt", None, on.ca, "The authority behind the certificate, to be trusted",
              answer=CERTIFICATE, refuses={404: "the agent has none of its own"}),
        Route("GET", "/setup", None, setup.state, "Whether the first admin is to be made",
              answer=access.SetupState),
        Route("POST", "/setup", None, setup.first_admin, "Make the first admin", body=access.FirstAdmin,
              answer=access.FirstUser, status=201,
              refuses={403: "the code is wrong", 409: "there is a user already", **failures}),
        Route("POST", "/token", None, grants.token, "Log in: a pair of tokens", body=access.Factor,
              answer=access.Pair, refuses={403: "the account may not log in now", **wrong}, basic=True),
        Route("POST", "/token/refresh", None, grants.refresh, "A fresh pair; the token works once",
              body=access.RefreshToken, answer=access.Pair),
        Route("POST", "/token/revoke", None, grants.revoke, "End the session of a token",
              body=access.AnyToken, answer=access.Nothing, refuses={401: "the token is not one of ours"}),
    ]  # fmt: skip


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
    return [
        Route("GET", f"{V1}/commands", May.READ, do.commands, "Leases, and those that are over",
              answer=shapes.Commands),
        Route("POST", f"{V1}/commands", May.COMMAND, do.submit, "Write a point, as a lease", body=Order,
              answer=CommandNews, status=201, refuses={422: "the command is refused; the text says why"}),
        Route("DELETE", f"{V1}/commands/{{point}}", May.COMMAND, do.release, "End the lease of people",
              answer=shapes.Released),
    ]  # fmt: skip


def _pushing(on: Handlers) -> list[Route]:
    refused = {
        404: "there is no such device",
        409: "the device is read, not told of",
        422: "a value or a time is wrong: nothing was taken, the text says which",
        429: "too many readings in this minute: wait",
    }
    return [
        Route("POST", f"{V1}/devices/{{device}}/readings", May.PUSH, on.pushing.push,
              "Hand in readings of a device that is told of", body=Pushed, answer=shapes.Taken,
              refuses=refused),
    ]  # fmt: skip


def _alarms(do: AlarmRoutes) -> list[Route]:
    alarms = f"{V1}/alarms"
    refused = {409: "it cannot be done to this alarm now; the text says why"}
    return [
        Route("GET", alarms, May.READ, do.active, "Active alarms, the most urgent first",
              answer=shapes.Alarms),
        Route("GET", f"{alarms}/history", May.READ, do.history, "What happened, newest first", EventsQuery,
              answer=shapes.AlarmEvents),
        Route("POST", f"{alarms}/acknowledge", May.ACKNOWLEDGE, do.acknowledge, "I have seen it",
              body=Acknowledge, answer=shapes.Loose, refuses=refused),
        Route("POST", f"{alarms}/shelve", May.ACKNOWLEDGE, do.shelve, "Put it away for a time", body=Shelve,
              answer=shapes.Loose, refuses=refused),
        Route("POST", f"{alarms}/unshelve", May.ACKNOWLEDGE, do.unshelve, "Have it back", body=Unshelve,
              answer=shapes.Loose, refuses=refused),
    ]  # fmt: skip


def _jobs(on: Handlers) -> list[Route]:
    do, jobs = on.jobs, f"{V1}/jobs"
    job = f"{jobs}/{{job}}"
    unknown = {404: "there is none of this name"}
    refused = unknown | {409: "it cannot be done now; the text says why"}
    return [
        Route("GET", jobs, May.READ, do.all, "What runs at its time, and how it went", answer=JobList),
        Route("GET", f"{jobs}/history", May.READ, do.history, "Runs, newest first", RunsQuery,
              answer=RunList, refuses=unknown),
        Route("POST", f"{job}/run", May.CONFIGURE, do.run, "Run it now, also if it is paused",
              answer=JobShape, refuses=refused),
        Route("POST", f"{job}/pause", May.CONFIGURE, do.pause, "Let what is due pass, until resume",
              answer=JobShape, refuses=refused),
        Route("POST", f"{job}/resume", May.CONFIGURE, do.resume, "Run it again when it is due",
              answer=JobShape, refuses=refused),
    ]  # fmt: skip


def _account(on: Handlers) -> list[Route]:
    me, account = f"{V1}/me", on.office.account
    wrong = {409: "not as things are; the text says why", 429: "too many failures: wait"}
    return [
        Route("GET", me, May.ACCOUNT, account.me, "Who I am and what I may do", answer=shapes.Loose),
        Route("POST", f"{me}/password", May.ACCOUNT, account.set_password, "Change my password",
              body=access.PasswordChange, answer=shapes.Loose, refuses=wrong),
        Route("POST", f"{me}/totp", May.ACCOUNT, account.begin_totp, "Begin a second factor",
              body=access.Password, answer=shapes.Loose, refuses=wrong),
        Route("POST", f"{me}/totp/confirm", May.ACCOUNT, account.confirm_totp, "Switch it on",
              body=access.Totp, answer=shapes.Loose, refuses=wrong),
        Route("DELETE", f"{me}/totp", May.ACCOUNT, account.remove_totp, "Switch it off", body=access.Proof,
              answer=shapes.Loose, refuses=wrong),
    ]  # fmt: skip


def _people(on: Handlers) -> list[Route]:
    people, user = on.people, f"{V1}/users/{{name}}"
    refused = {409: "it cannot be so; the text says why"}
    unknown = {404: "there is none of this name"}
    return [
        Route("GET", f"{V1}/users", May.USERS, people.users, "All users", answer=access.UserList),
        Route("POST", f"{V1}/users", May.USERS, people.add_user, "A new user", body=NewUser,
              answer=access.UserInfo, status=201, refuses=refused),
        Route("PATCH", user, May.USERS, people.change_user, "Change a user; his sockets end",
              body=UserChange, answer=access.UserInfo, refuses=refused | unknown),
        Route("DELETE", user, May.USERS, people.remove_user, "Forget a user", answer=access.UserInfo,
              refuses=refused | unknown),
        Route("GET", f"{V1}/keys", May.USERS, people.keys, "All API keys", answer=access.KeyList),
        Route("POST", f"{V1}/keys", May.USERS, people.add_key, "A new API key, shown this once",
              body=WantedKey, answer=access.NewKey, status=201, refuses=refused),
        Route("DELETE", f"{V1}/keys/{{key}}", May.USERS, people.remove_key, "Revoke a key, by name or id",
              answer=access.KeyInfo, refuses=unknown),
    ]  # fmt: skip


def _setting(on: Handlers) -> list[Route]:
    unreadable = {422: "the configuration is no TOML now"}
    do, config = on.setting, f"{V1}/config"
    line, device = f"{config}/lines/{{line}}", f"{config}/devices/{{device}}"
    refused = {
        404: "there is none of this name",
        412: "the configuration was changed since",
        422: "it would be faulty; the text names every fault",
        428: "If-Match is missing",
    }
    return [
        Route("GET", f"{config}/site", May.READ, do.site, "The site, as in the file", answer=shapes.Loose,
              refuses=unreadable),
        Route("PATCH", f"{config}/site", May.CONFIGURE, do.change_site,
              "Change it, from the next start on; needs If-Match", body=SiteChange, answer=shapes.Restarted,
              refuses=refused),
        Route("GET", f"{config}/lines", May.CONFIGURE, do.lines, "The lines, as in the file",
              answer=shapes.Lines, refuses=unreadable),
        Route("GET", f"{config}/devices", May.CONFIGURE, do.devices, "The devices, as in the file",
              answer=shapes.Devices, refuses=unreadable),
        Route("PUT", line, May.CONFIGURE, do.put_line, "Make or change a line; needs If-Match",
              body=LineChange, answer=shapes.Restarted, refuses=refused),
        Route("DELETE", line, May.CONFIGURE, do.remove_line, "A line and its devices go; needs If-Match",
              answer=shapes.Restarted, refuses=refused),
        Route("PUT", device, May.CONFIGURE, do.put_device, "Make, change or move a device; needs If-Match",
              body=DeviceChange, answer=shapes.Restarted, refuses=refused),
        Route("DELETE", device, May.CONFIGURE, do.remove_device, "A device goes; needs If-Match",
              answer=shapes.Restarted, refuses=refused),
    ]  # fmt: skip


def _profiles(on: Handlers) -> list[Route]:
    unreadable = {422: "the configuration is no TOML now"}
    do, profile = on.profiles, f"{V1}/profiles/{{profile}}"
    point = f"{profile}/points/{{point}}"
    refused = {
        404: "there is none of this name",
        409: "it is built in, or in use",
        412: "it was changed since",
        422: "it would be faulty; the text names every fault",
        428: "If-Match (or If-None-Match: *) is missing",
    }
    return [
        Route("GET", f"{V1}/profiles", May.READ, do.all, "The datasheets there are, and who uses them",
              answer=shapes.ProfileList, refuses=unreadable),
        Route("GET", profile, May.READ, do.one, "One datasheet", answer=shapes.Profile,
              refuses={404: refused[404], **unreadable}),
        Route("PUT", profile, May.CONFIGURE, do.put, "Make or change one; needs If-Match or If-None-Match: *",
              body=ProfileText, answer=shapes.Restarted, refuses=refused),
        Route("DELETE", profile, May.CONFIGURE, do.remove, "An own one goes; needs If-Match",
              answer=shapes.Restarted, refuses=refused),
        Route("PUT", point, May.CONFIGURE, do.put_point, "Make, change or move a point; needs If-Match",
              body=PointChange, answer=shapes.Restarted, refuses=refused),
        Route("DELETE", point, May.CONFIGURE, do.remove_point, "A point goes; needs If-Match",
              answer=shapes.Restarted, refuses=refused),
    ]  # fmt: skip


def _reports(do: ReportRoutes) -> list[Route]:
    reports, one = f"{V1}/reports", f"{V1}/reports/{{name}}"
    unknown = {404: "there is none of this name"}
    return [
        Route("GET", reports, May.READ, do.all, "The reports there are, and those being made",
              answer=shapes.ReportList),
        Route("POST", reports, May.REPORT, do.make, "Have a report made", body=ReportOrder,
              answer=shapes.ReportMaking, status=202, refuses={429: "as many wait as may"}),
        Route("GET", one, May.READ, do.fetch, "A report: HTML or CSV, as its name ends", answer="text/html",
              refuses=unknown),
        Route("DELETE", one, May.REPORT, do.remove, "A report goes", answer=shapes.ReportRemoved,
              refuses=unknown),
        Route("POST", f"{one}/open", May.READ, do.open, "An address of it for a window, for a few minutes",
              answer=shapes.ReportDoor, refuses=unknown),
    ]  # fmt: skip


def _scanning(on: Handlers) -> list[Route]:
    do, scans = on.scanning, f"{V1}/scans"
    unknown = {404: "there is none of this number (any more)"}
    refused = {409: "another one is running, or a line reads the port; the text says how to go on"}
    return [
        Route("GET", f"{scans}/ports", May.SCAN, do.ports, "The serial ports of this box, and who reads them",
              answer=shapes.Ports),
        Route("GET", scans, May.SCAN, do.all, "Searches for devices, the newest first", answer=shapes.Scans),
        Route("POST", f"{scans}/tcp", May.SCAN, do.tcp, "Search a network", body=TcpScan, answer=shapes.Scan,
              status=201, refuses=refused),
        Route("POST", f"{scans}/rtu", May.SCAN, do.rtu, "Search a serial port", body=RtuScan,
              answer=shapes.Scan, status=201, refuses=refused),
        Route("GET", f"{scans}/{{scan}}", May.SCAN, do.one, "How far it is, and what it has found",
              answer=shapes.Scan, refuses=unknown),
        Route("DELETE", f"{scans}/{{scan}}", May.SCAN, do.cancel, "End it; what was found stays",
              answer=shapes.Scan, refuses=unknown),
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
