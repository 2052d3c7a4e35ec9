"""The LAN server: composes identity, live, export and page behind one listening socket.

`status()` is the service's word about itself, asked on `/healthz` and `/api/v1/status`. It may hold
anything; these keys mean something here: `healthy` (bool), `reasons` (texts, why not), and for the
page's status line `readings_per_s`, `stored_readings`, `backlog_readings` (numbers).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler
from argon2 import PasswordHasher

from agent.alarms import Alarms
from agent.hub import Hub
from agent.server import replies, site
from agent.server.alarms import AlarmRoutes
from agent.server.api import Api, Status
from agent.server.audit import Alarm
from agent.server.audit.routes import AuditRoutes
from agent.server.conversation import Site
from agent.server.described import Described
from agent.server.doorman import BACKLOG, Doorman
from agent.server.export import Export
from agent.server.identity.permissions import Permission
from agent.server.jobs import JobRoutes
from agent.server.live import Live
from agent.server.logs import ON_THE_BOX, Ring
from agent.server.metrics import Metrics
from agent.server.noise import requests_log
from agent.server.office import Office
from agent.server.options import ServerOptions, is_loopback
from agent.server.orders import Orders
from agent.server.parts import Parts
from agent.server.people import People
from agent.server.profiles import ProfileRoutes
from agent.server.pushing import Pushing
from agent.server.replies import Refused
from agent.server.reports import DOOR, ReportRoutes
from agent.server.route import Route
from agent.server.routes import CERTIFICATE, Handlers, table
from agent.server.scanning import Scanning
from agent.server.setting import Setting
from agent.server.steering import Steering
from agent.server.websocket import Sockets
from agent.store import Store
from agent.tls import Certificates, names_of_this_box, own_context

log = logging.getLogger(__name__)

TLS_FOLDER = "tls"
BODY_BYTES_MAX = 16 * 1024
KNOWN_BODY_BYTES_MAX = 256 * 1024  # of those who bring a good token
SHUTDOWN_S_MAX = 6.0
TICK_S = 0.5
CERTIFICATE_CHECK_S = 60.0

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to reach, not to listen at


def _to_the_log(code: str, text: str) -> None:
    log.warning("alarm %s: %s", code, text)


class Server:
    """Listens while entered. `folder` holds users, keys, certificates and the audit log.

    `alarm(code, text)` is told of attacks; `alarms` are shown and acknowledged, if there are any; `certain`
    says whether the box's clock is to be trusted.
    """

    def __init__(
        self,
        options: ServerOptions,
        hub: Hub,
        store: Store,
        folder: Path,
        status: Status,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        certain: Callable[[], bool] = lambda: True,
        alarm: Alarm = _to_the_log,
        alarms: Alarms | None = None,
        hasher: PasswordHasher | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._options, self._hub, self._store, self._folder, self._status = (
            options,
            hub,
            store,
            folder,
            status,
        )
        self._clock, self._monotonic = clock, monotonic
        self._alarms = alarms
        self._parts = parts or Parts()
        self.office = Office(
            options, folder, alarm, clock=clock, monotonic=monotonic, certain=certain, hasher=hasher
        )
        self.users, self.audit = self.office.users, self.office.audit
        self._live = Live(hub)
        self._ring = Ring()
        self._certificates: Certificates | None = None

    async def __aenter__(self) -> Self:
        """Listen. OSError says what is in the way: the port, a key file, the users' file."""
        async with AsyncExitStack() as stack:
            logging.getLogger().addHandler(self._ring)
            stack.callback(logging.getLogger().removeHandler, self._ring)
            await stack.enter_async_context(self.office)
            context = await asyncio.to_thread(self._tls) if self._options.https else None
            listener = stack.enter_context(self._listener())
            doorman = Doorman(
                self._options.connections_max,
                self.office.shut_out,
                head_s=self._options.head_wait_s,
                body_s=self._options.body_wait_s,
            )
            self.app = self._app(doorman)
            logger = requests_log(self.office.shut_out)
            runner = web.AppRunner(self.app, access_log=None, logger=logger, shutdown_timeout=SHUTDOWN_S_MAX)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            if runner.server is None:
                raise RuntimeError("the runner was not set up")
            self._url = _url(listener, https=context is not None)
            taking = doorman.run(listener, runner.server, context)
            self._tasks = [asyncio.create_task(taking), asyncio.create_task(self._tick(doorman))]
            stack.push_async_callback(_ended, self._tasks)
            self._live.open()
            stack.callback(self._live.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye to the WebSockets, give running answers SHUTDOWN_S_MAX, close."""
        await self._stack.aclose()

    async def served(self) -> None:
        """For ever; raises what ends the serving: OSError if the listening socket has died."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return self._url

    def announce(self) -> None:
        """Log what whoever installs this box must read: how to trust it, how to make the first admin."""
        if self._certificates is not None:
            log.info(
                "https: trust this box by %s/ca.crt, SHA-256 %s", self._url, self._certificates.fingerprint
            )
        elif not self._options.https and not is_loopback(self._options.host):
            log.warning("server: plain HTTP on the network: passwords and tokens can be read on the way")
        if self.office.setup.open:
            # Critical, or log_level = "error" would leave everyone outside.
            log.critical(
                "no user yet: make the first admin at %s with the setup code %s (or uicps-agent user add)",
                self._url,
                self.office.setup.code,
                extra=ON_THE_BOX,
            )

    def _tls(self) -> ssl.SSLContext:
        options = self._options
        if options.tls_cert_file is not None and options.tls_key_file is not None:
            return own_context(options.tls_cert_file, options.tls_key_file)

        def names() -> list[str]:
            return list(dict.fromkeys([*names_of_this_box(), *options.tls_names]))

        self._certificates = Certificates(self._folder / TLS_FOLDER, names, self._clock)
        return self._certificates.open()

    def _listener(self) -> socket.socket:
        host, port = self._options.host, self._options.port
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        except OSError as error:
            raise OSError(
                f"cannot listen at {host} port {port}: {error.strerror or error}; "
                "choose another [server] host or port, or stop what uses it"
            ) from error
        listener.setblocking(False)
        return listener

    async def _tick(self, doorman: Doorman) -> None:
        """Twice a second: what others changed in the users' file, what ran out of time."""
        loop = asyncio.get_running_loop()
        checked_s = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            await self.office.tick()
            self.sockets.tick()
            doorman.sweep()
            if self._certificates is not None and loop.time() - checked_s > CERTIFICATE_CHECK_S:
                checked_s = loop.time()
                await asyncio.to_thread(self._renew, self._certificates)

    def _renew(self, certificates: Certificates) -> None:
        try:
            certificates.check()
        except OSError as error:  # the old one is good for weeks
            log.warning("https: the certificate cannot be renewed now: %s", error)

    def _app(self, doorman: Doorman) -> web.Application:
        office, options = self.office, self._options
        dispatch = self._parts.dispatch
        orders = Orders(dispatch, office.audit.note) if dispatch else None
        about = Site(self._hub, self._store, self._live, orders, self._alarms, jobs=self._parts.jobs)
        sockets = Sockets(
            *(about, office.gate, office.grants.renewed, options),
            clock=self._clock,
            monotonic=self._monotonic,
            refused=office.refused,
            shut_out=office.shut_out,
        )
        office.standing.listen(sockets.recheck)
        app = web.Application(
            middlewares=[
                office.gate.roomy(KNOWN_BODY_BYTES_MAX),
                replies.refusals(office.refused),
                doorman.patient,
            ],
            client_max_size=BODY_BYTES_MAX,
        )

        async def farewell(app: web.Application) -> None:
            sockets.close()

        app.on_response_prepare.append(replies.guard)
        app.on_shutdown.append(farewell)
        app.add_routes(self._routes(sockets, orders))
        self.sockets = sockets
        return app

    def _routes(self, sockets: Sockets, orders: Orders | None) -> list[web.RouteDef]:
        """Everything that can be asked for."""
        needs = self.office.gate.needs
        self._api = Api(self._hub, self._store, self._status, self._clock)
        self._reports = ReportRoutes(self._parts.reports, self.audit.note, self._monotonic)
        self.routes = table(self._handlers(orders))
        described = Described(self.routes)
        return [
            *site.routes(),
            web.get("/api/openapi.json", described.json),
            web.get("/api/docs", described.page),
            web.get("/ws", sockets.connect, allow_head=False),
            web.get(DOOR, self._reports.through, allow_head=False),
            *(
                web.route(each.method, each.path, _guarded(each, needs), **_head(each))
                for each in self.routes
            ),
        ]

    def _handlers(self, orders: Orders | None) -> Handlers:
        return Handlers(
            self._ca,
            self.office,
            self._api,
            Export(self._hub, self._store, self._options, self._clock, self.office.shut_out),
            Steering(orders),
            People(self.office),
            Setting(self._parts.configuration, self.audit.note),
            ProfileRoutes(self._parts.profiles, self.audit.note),
            JobRoutes(self._parts.jobs, self.audit.note),
            Pushing(self._parts.intake),
            Scanning(self._parts.scans, self.audit.note),
            AlarmRoutes(self._alarms, self.audit) if self._alarms else None,
            AuditRoutes(self.audit),
            self._reports,
            self._ring,
            Metrics(self._hub, self._status, self._clock),
        )

    async def _ca(self, request: web.Request) -> web.Response:
        """The authority's certificate, for the trust store of a client."""
        if self._certificates is None:
            raise Refused(404, "not_found", "this agent has no authority of its own", kind="not_found")
        headers = {"Content-Disposition": 'attachment; filename="uicps-ca.crt"'}
        body = self._certificates.ca_pem
        return web.Response(body=body, content_type=CERTIFICATE, headers=headers)


def _guarded(route: Route, needs: Callable[[Permission, Handler], Handler]) -> Handler:
    return route.handler if route.permission is None else needs(route.permission, route.handler)


def _head(route: Route) -> dict[str, bool]:
    """What streams is not made to be thrown away."""
    return {"allow_head": not isinstance(route.answer, str)} if route.method == "GET" else {}


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """What they failed with is for who awaits `served`."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _url(listener: socket.socket, *, https: bool) -> str:
    address, port = listener.getsockname()[:2]
    address = _ANY.get(address, address)
    host = f"[{address}]" if ":" in address else address
    return f"{'https' if https else 'http'}://{host}:{port}"
