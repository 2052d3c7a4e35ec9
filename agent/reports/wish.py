"""What report someone wants. Light: the agent's own process passes it on."""

from __future__ import annotations

from typing import NamedTuple

from agent.reports.options import Kind, Language


class ReportRefused(Exception):  # noqa: N818 - an answer to who asked
    """It cannot be made now; the text says why."""


class Wish(NamedTuple):
    """Local times like 2026-11-16T08:30, a month like 2026-11; "" where nothing was said: then the command's
    own default holds."""

    kind: Kind
    language: Language
    meter: str = ""
    begin: str = ""
    end: str = ""
    month: str = ""

    @property
    def asked(self) -> dict[str, str]:
        """What was said, for the audit log."""
        return {key: value for key, value in self._asdict().items() if value}

    @property
    def words(self) -> list[str]:
        """As options of `uicps-agent report`; what a person typed is never taken for an option."""
        given = {"meter": self.meter, "from": self.begin, "to": self.end, "month": self.month}
        return [f"--lang={self.language}", *(f"--{key}={value}" for key, value in given.items() if value)]
