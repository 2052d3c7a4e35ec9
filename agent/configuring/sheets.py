"""Own profiles of a running agent: `profile_dir`, changed while the lines run.

Rules. A profile is read as `profile check` does, then the whole configuration is tried with it (a fallback
or a rule may need a point that is gone); only then it takes its place. An own one wins over a built-in of its
name, and gives way to it again when it is removed. One that devices use cannot be removed, unless a built-in
is behind it. Only the lines whose devices use it are restarted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agent.config import Config, load, profiles_in_use
from agent.configuring.document import Apply
from agent.configuring.files import etag, exchange, keep, settle
from agent.drivers.profile import BUILT_IN
from agent.drivers.shelf import files_of, read_profile
from agent.schema import NAME_PATTERN, Fault, FaultyFile
from agent.server.parts import InUse, Sheet, Stale

OWN_MAX = 500
NAME_CHARS_MAX = 64


class Sheets:
    """Of the configuration `file`; `apply` and `changing` are those of `Configuring`."""

    def __init__(self, file: Path, apply: Apply, changing: asyncio.Lock) -> None:
        self._file, self._apply, self._changing = file, apply, changing

    async def all(self) -> list[Sheet]:
        """Every profile, by name. OSError if the folder cannot be read."""
        return await asyncio.to_thread(self._all)

    async def find(self, name: str) -> Sheet | None:
        """The profile of this name, None if there is none."""
        return await asyncio.to_thread(self._find, name)

    async def put(self, name: str, seen: str | None, text: str) -> tuple[Sheet, list[str]]:
        """Have `text` as the profile `name`: what it is now, and the lines that were restarted.

        Stale if the one there is, is not the version `seen` (None: there is none), FaultyFile.
        """
        async with self._changing:
            self._expect(await self.find(name), seen)
            config = await asyncio.to_thread(self._tried, name, text)
            touched = await self._applied(config, lambda: self._put(config.profile_dir, name, text))
            return _known(await self.find(name)), touched

    async def remove(self, name: str, seen: str) -> list[str]:
        """The lines that were restarted. Stale; InUse, by which devices; ValueError: it is no own one."""
        async with self._changing:
            sheet = await self.find(name)
            if sheet is None or not sheet.own:
                raise ValueError(f"there is no own profile {name[:NAME_CHARS_MAX]!r}")
            self._expect(sheet, seen)
            if sheet.devices and not (BUILT_IN / f"{name}.toml").exists():
                raise InUse(sheet.devices)
            config = await asyncio.to_thread(self._tried, name, None)
            return await self._applied(config, lambda: _remove(config.profile_dir / f"{name}.toml"))

    def _expect(self, sheet: Sheet | None, seen: str | None) -> None:
        now = sheet.etag if sheet else None
        if now != seen:
            raise Stale(now or "")

    async def _applied(self, config: Config, put: Any) -> list[str]:
        """Make the agent so and the disk too, or neither."""
        touched = await self._apply(config)
        try:
            await asyncio.to_thread(put)
        except OSError:
            await self._apply(await asyncio.to_thread(load, self._file))
            raise
        return touched

    # ---------------------------------------------------------------- in threads

    def _all(self) -> list[Sheet]:
        folder, used = profiles_in_use(self._file)
        return [_sheet(name, file, used.get(name, ())) for name, file in files_of(folder).items()]

    def _find(self, name: str) -> Sheet | None:
        folder, used = profiles_in_use(self._file)
        file = files_of(folder).get(name)
        return _sheet(name, file, used.get(name, ())) if file else None

    def _tried(self, name: str, text: str | None) -> Config:
        """The configuration with `text` as the profile `name`; None: without an own one."""
        if not re.fullmatch(NAME_PATTERN, name) or len(name) > NAME_CHARS_MAX:
            text_ = (
                f"expected a name of up to {NAME_CHARS_MAX} letters, digits, '-' and '_', found {name[:80]!r}"
            )
            raise FaultyFile([Fault("profile", "", text_)])
        with TemporaryDirectory(prefix="uicps-profiles-") as folder, _renamed(folder):
            own = Path(folder)
            for file in profiles_in_use(self._file)[0].glob("*.toml"):
                if file.stem != name:
                    (own / file.name).symlink_to(file.resolve())
            if text is not None:
                (own / f"{name}.toml").write_text(text, encoding="utf-8")
                if len(list(own.iterdir())) > OWN_MAX:
                    raise FaultyFile([Fault("profile", "", f"expected at most {OWN_MAX} own profiles")])
                read_profile(own / f"{name}.toml")
            return load(self._file, own)

    def _put(self, folder: Path, name: str, text: str) -> None:
        folder.mkdir(exist_ok=True)
        exchange(folder / f"{name}.toml", text)


def _remove(file: Path) -> None:
    keep(file)
    file.unlink()
    settle(file.parent)


@contextmanager
def _renamed(folder: str) -> Iterator[None]:
    """Faults name the profile, not where it was tried."""
    try:
        yield
    except FaultyFile as faulty:
        raise FaultyFile(
            [Fault(*(each.replace(f"{folder}/", "") for each in fault)) for fault in faulty.faults]
        ) from None


def _known(sheet: Sheet | None) -> Sheet:
    if sheet is None:
        raise OSError("the profile has gone")
    return sheet


def _sheet(name: str, file: Path, devices: Sequence[str]) -> Sheet:
    text, driver, title, points, fault = file.read_text(encoding="utf-8"), "", "", [], ""
    try:
        profile: Any = read_profile(file)
        driver, title = profile.driver, profile.title
        points = [point.name for group in profile.group for point in group.point]
    except FaultyFile as faulty:
        fault = str(faulty.faults[0])
    own = file.parent != BUILT_IN
    return Sheet(name, etag(text), text, own, driver, title, points, devices, fault)
