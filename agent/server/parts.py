"""What of the agent the server serves beside hub and store. What asks for a part that is None gets 503."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from agent.dispatch import Dispatch
from agent.intake import Intake
from agent.reports.shelf import Shelf
from agent.reports.wish import Wish
from agent.schedule import Jobs

Document: TypeAlias = MutableMapping[str, Any]


class Stale(Exception):  # noqa: N818 - it was changed by someone else
    """It is not the version that was seen; the text is its ETag now, "" if it is not there."""


class InUse(Exception):  # noqa: N818 - it cannot go now
    """Devices need it."""

    def __init__(self, devices: Sequence[str]) -> None:
        super().__init__(f"expected a profile that no device uses, found it used by {', '.join(devices)}")


class Configuration(Protocol):
    """The configuration file."""

    async def read(self) -> tuple[str, Document]:
        """Its ETag and its tables."""

    async def change(self, seen: str, edit: Callable[[Document], None]) -> tuple[str, list[str]]:
        """Have `edit` change the tables: the new ETag, and which lines were stopped or started. Stale,
        FaultyFile, or what `edit` raises: nothing was changed."""


class Sheet(NamedTuple):
    """A profile: its file's text, whether it is one's own, and which devices use it. `fault`: why it cannot
    be read, "" if it can."""

    name: str
    etag: str
    text: str
    own: bool
    driver: str
    title: str
    points: Sequence[str]
    devices: Sequence[str]
    fault: str


class Profiles(Protocol):
    """The profiles there are."""

    async def all(self) -> list[Sheet]: ...

    async def find(self, name: str) -> Sheet | None: ...

    async def put(self, name: str, seen: str | None, text: str) -> tuple[Sheet, list[str]]:
        """What it is now, and which lines were restarted. Stale, FaultyFile."""

    async def remove(self, name: str, seen: str) -> list[str]:
        """Which lines were restarted. Stale, InUse; ValueError: it is no own one."""


class Reports(Protocol):
    """What reports there are, and having one made."""

    @property
    def shelf(self) -> Shelf: ...

    def makings(self) -> list[dict[str, Any]]:
        """Those that were asked for since the start, the newest first."""

    def ask(self, wish: Wish, who: str) -> dict[str, Any]:
        """Have it made after those before it. ReportRefused: too many wait."""


class ScanOrder(NamedTuple):
    """What to search: the network ("tcp") or serial port ("rtu") `where`. Empty: what is likely."""

    kind: Literal["tcp", "rtu"]
    where: str
    port: int = 0
    units: Sequence[int] = ()
    baudrates: Sequence[int] = ()
    wait_s: float = 1.0
    rs485: bool = False
    pause: bool = False


class ScanRefused(Exception):  # noqa: N818 - says why
    """It cannot be now."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Scans(Protocol):
    """Searches for devices; each as plain data (shapes.Scan)."""

    async def ports(self) -> list[dict[str, Any]]: ...

    async def start(self, order: ScanOrder, by: str) -> dict[str, Any]:
        """ScanRefused."""

    def all(self) -> list[dict[str, Any]]: ...

    def find(self, number: int) -> dict[str, Any] | None: ...

    async def cancel(self, number: int) -> dict[str, Any] | None: ...


class Parts(NamedTuple):
    """See the module."""

    dispatch: Dispatch | None = None
    configuration: Configuration | None = None
    profiles: Profiles | None = None
    intake: Intake | None = None
    scans: Scans | None = None
    jobs: Jobs | None = None
    reports: Reports | None = None
