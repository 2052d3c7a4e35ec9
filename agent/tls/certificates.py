"""The box's own certificates as the server sees them: a context, and whether they must be made anew.

Making and reading them is `authority.py`, run as a program of its own for the moment it takes.
"""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson

from agent.tls.addresses import normal
from agent.tls.context import TlsError, own_context

log = logging.getLogger(__name__)

PROGRAM = "agent.tls.authority"
MAKE_S_MAX = 60.0


class Made(NamedTuple):
    """What is known of the authority (PEM, SHA-256) and of the server's certificate.

    `names`: those it covers and those the authority may not sign. Unix seconds: good `from_s`, due `renew_s`.
    """

    ca_pem: str
    fingerprint: str
    names: list[str]
    from_s: float
    renew_s: float


class Certificates:
    """In `folder`. `clock` is Unix time in seconds, `names` asks what they must cover. Not for the loop."""

    def __init__(
        self, folder: Path, names: Callable[[], Sequence[str]], clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._names, self._clock = folder, names, clock
        self._context: ssl.SSLContext | None = None
        self._made: Made | None = None

    def open(self) -> ssl.SSLContext:
        """A context with a certificate that is good now; made if need be. TlsError if that cannot be."""
        self._made = self._make()
        self._context = own_context(self._folder / "server.pem", self._folder / "server.key")
        return self._context

    def check(self) -> bool:
        """Renew the server certificate if it is time; whether it was. To be called now and then."""
        if self._made is None or self._context is None or not self._due(self._made):
            return False
        self._made = self._make()
        self._context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as browsers show it; "" before `open`."""
        return self._made.fingerprint if self._made else ""

    @property
    def ca_pem(self) -> bytes:
        """What clients install to trust this box; no secret."""
        return self._made.ca_pem.encode() if self._made else b""

    def _due(self, made: Made) -> bool:
        missing = {normal(each) for each in self._names()} - set(made.names)
        return not made.from_s <= self._clock() <= made.renew_s or bool(missing)

    def _make(self) -> Made:
        question = {"folder": str(self._folder), "names": list(self._names()), "now_s": self._clock()}
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                (sys.executable, "-P", "-m", PROGRAM),
                input=orjson.dumps(question),
                capture_output=True,
                timeout=MAKE_S_MAX,
                check=True,
            )
            answer = orjson.loads(done.stdout)
        except subprocess.CalledProcessError as error:
            last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise TlsError(f"{self._folder}: making certificates failed: {last}") from error
        except (subprocess.TimeoutExpired, ValueError) as error:
            raise TlsError(f"{self._folder}: making certificates failed: {error!r}") from error
        for level, text in answer["said"]:
            log.log(level, "%s", text)
        if "error" in answer:
            raise TlsError(answer["error"])
        return Made(**answer["made"])
