"""What holds at the site: the configuration, and what the centre has set over it.

Rules: `settings` are called with a checked value, or with None when the centre sets it no more; ValueError
refuses. What changes takes effect at the next cycle, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from agent.control.options import ControlOptions, RoomOptions, TariffOptions, room_of
from agent.control.room import Room
from agent.control.site.calendar import Calendar, of_room, of_spans
from agent.control.site.outlooks import Terms
from agent.schema import FaultyFile

if TYPE_CHECKING:
    from agent.tariff import Tariff

SAFE_BELOW_K = 1.0


class Wanted:
    """`rooms()` and `terms()` are what holds now; `revision` grows with each change."""

    def __init__(
        self,
        rooms: Sequence[RoomOptions],
        control: ControlOptions,
        tariff: TariffOptions,
        timezone: str,
        folders: Sequence[Path] = (),
    ) -> None:
        self._zone = ZoneInfo(timezone)
        self._rooms, self._control, self._tariff_options, self._folders = rooms, control, tariff, folders
        self._own_tariff = _tariff(tariff.id, folders) if tariff.id else None
        self._tariff = self._own_tariff
        self._comfort: Mapping[str, Any] = {}
        self._schedule: Sequence[Any] | None = None
        self._limit_w: float | None = None
        self.revision = 0

    @property
    def settings(self) -> Mapping[str, Callable[[Any], None]]:
        """By the names of the centre's shared attributes."""
        return {
            "comfort": self._set_comfort,
            "schedule": self._set_schedule,
            "tariff": self._set_tariff,
            "limits": self._set_limits,
        }

    def rooms(self) -> tuple[Room, ...]:
        """The rooms as the core knows them, with the bands that hold."""
        return tuple(room_of(self._with_band(room)) for room in self._rooms)

    def terms(self) -> Terms:
        """Calendars, tariff and limit."""
        limit_kw = self._control.demand_limit_kw
        limits_w = [1000 * limit_kw if limit_kw else None, self._limit_w]
        return Terms(
            {room.id: self._calendar(room) for room in self._rooms},
            self._tariff,
            self._tariff_options.price_brl_kwh,
            min((each for each in limits_w if each is not None), default=None),
            self._zone,
            self._control.holiday_state,
            tuple(self._control.holidays_extra),
        )

    def _with_band(self, room: RoomOptions) -> RoomOptions:
        band = self._comfort.get(room.id)
        if band is None:
            return room
        safe_c = min(max(room.safe_setpoint_c, band.low_c), band.high_c - SAFE_BELOW_K)
        return room.model_copy(
            update={
                "comfort_min_c": band.low_c,
                "comfort_max_c": band.high_c,
                "safe_setpoint_c": safe_c,
            }
        )

    def _calendar(self, room: RoomOptions) -> Calendar:
        own = of_room(room)
        return own if self._schedule is None else of_spans(self._schedule, own.holidays)

    def _set_comfort(self, bands: Mapping[str, Any] | None) -> None:
        known = {room.id for room in self._rooms}
        if strange := sorted(set(bands or {}) - known):
            raise ValueError(f"expected rooms of this site ({', '.join(sorted(known))}), found {strange[0]}")
        self._comfort = dict(bands or {})
        self.revision += 1

    def _set_schedule(self, spans: Sequence[Any] | None) -> None:
        self._schedule = spans
        self.revision += 1

    def _set_tariff(self, tariff_id: str | None) -> None:
        try:
            self._tariff = self._own_tariff if tariff_id is None else _tariff(tariff_id, self._folders)
        except FaultyFile as faulty:
            raise ValueError(str(faulty)) from faulty
        self.revision += 1

    def _set_limits(self, limits: Any) -> None:
        self._limit_w = None if limits is None else limits.demand_w
        self.revision += 1


def _tariff(tariff_id: str, folders: Sequence[Path]) -> Tariff:
    from agent.tariff import load  # noqa: PLC0415 - only where there is one

    return load(tariff_id, folders)
