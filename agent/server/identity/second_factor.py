"""The second factor: codes of an authenticator app (TOTP, RFC 6238) and recovery codes on paper.

Rules.
1. A code is good for its own 30 s and one step to either side, and only once: no code of the same or an
   older step is taken after it.
2. Wrong codes beside a right password are counted on disk; after FAILURES_MAX no code is judged until
   someone unlocks the user, or he uses a recovery code.
3. A recovery code works once; only hashes are kept.
4. The secret must be kept as it is: whoever can read identity.db can make codes.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import io
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import pyotp

from agent.database import Database

STEP_S = 30
STEPS_AROUND = 1
FAILURES_MAX = 10
RECOVERY_CODES = 10
ENROLMENT_S_MAX = 900.0
ENROLMENTS_MAX = 64

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # nothing that looks like something else


class Verdict(enum.Enum):
    """What a code turned out to be."""

    GOOD = "good"
    WRONG = "wrong"
    REPLAYED = "replayed"
    LOCKED = "locked"


class Enrolment(NamedTuple):
    """What an authenticator app needs: by QR code (`uri`) or typed (`secret`)."""

    secret: str
    uri: str

    def svg(self) -> str:
        """The QR code for a page: attributes only, no styles, as our CSP wants it."""
        import segno  # noqa: PLC0415 - rarely needed

        code: str = segno.make(self.uri, error="m").svg_inline(border=4, light="#fff", omitsize=True)
        return code

    def terminal(self) -> str:
        """The QR code for a terminal."""
        import segno  # noqa: PLC0415 - rarely needed

        out = io.StringIO()
        segno.make(self.uri, error="l").terminal(out, border=2, compact=True)
        return out.getvalue()


class SecondFactors:
    """Enrols and judges. `clock` is Unix time in seconds, `issuer` what the app shows beside the name."""

    def __init__(
        self, database: Database, issuer: str = "UICPS", clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._issuer, self._clock = database, issuer, clock
        self._enrolling: OrderedDict[str, tuple[Enrolment, float]] = OrderedDict()

    def begin(self, user: str) -> Enrolment:
        """A fresh secret for `user`; it counts once a code of it is confirmed."""
        secret = pyotp.random_base32()
        uri = pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=self._issuer)
        enrolment = Enrolment(secret, uri)
        self._enrolling.pop(user.lower(), None)
        self._enrolling[user.lower()] = enrolment, self._clock()
        if len(self._enrolling) > ENROLMENTS_MAX:
            self._enrolling.popitem(last=False)
        return enrolment

    async def confirm(self, user: str, code: str) -> list[str] | None:
        """Switch the second factor on and give the recovery codes; None if `code` is not of the secret.

        What was issued before, without it, is over.
        """
        enrolment, begun_s = self._enrolling.get(user.lower(), (None, 0.0))
        if enrolment is None or not 0 <= self._clock() - begun_s < ENROLMENT_S_MAX:
            return None
        step = self._step(enrolment.secret, code)
        if step is None:
            return None
        del self._enrolling[user.lower()]
        codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
        change = "totp_secret = ?, totp_step = ?, totp_failures = 0, generation = generation + 1"
        await self._database.write(
            (f"UPDATE user SET {change} WHERE name = ?", (enrolment.secret, step, user)),  # noqa: S608
            ("DELETE FROM recovery_code WHERE user = ?", (user,)),
            *(("INSERT INTO recovery_code VALUES (?, ?)", (user, _hash(code))) for code in codes),
        )
        return codes

    async def remove(self, user: str) -> None:
        """Switch it off; what was issued under it is over."""
        change = "totp_secret = NULL, totp_failures = 0, generation = generation + 1"
        await self._database.write(
            (f"UPDATE user SET {change} WHERE name = ?", (user,)),  # noqa: S608
            ("DELETE FROM recovery_code WHERE user = ?", (user,)),
        )

    async def judge(self, user: str, code: str, *, count: bool = True) -> Verdict:
        """Whether `code` lets `user` in now. `count`: a wrong one counts towards locking him."""
        rows = await self._database.rows(
            "SELECT totp_secret, totp_failures FROM user WHERE name = ?", (user,)
        )
        if not rows or rows[0][0] is None:
            return Verdict.WRONG
        secret, failures = rows[0]
        if failures >= FAILURES_MAX:
            return Verdict.LOCKED
        step = self._step(secret, code)
        if step is None:
            if count:
                sql = "UPDATE user SET totp_failures = totp_failures + 1 WHERE name = ?"
                await self._database.write((sql, (user,)))
            return Verdict.WRONG
        sql = "UPDATE user SET totp_step = ?, totp_failures = 0 WHERE name = ? AND totp_step < ?"
        (taken,) = await self._database.write((sql, (step, user, step)))
        return Verdict.GOOD if taken else Verdict.REPLAYED

    async def recover(self, user: str, code: str) -> bool:
        """Use up one of the recovery codes of `user`; whether it was one."""
        sql = "DELETE FROM recovery_code WHERE user = ? AND hash = ?"
        (used,) = await self._database.write((sql, (user, _hash(code))))
        if used:
            await self._database.write(("UPDATE user SET totp_failures = 0 WHERE name = ?", (user,)))
        return used > 0

    async def recovery_codes_left(self, user: str) -> int:
        ((left,),) = await self._database.rows("SELECT count(*) FROM recovery_code WHERE user = ?", (user,))
        return int(left)

    def _step(self, secret: str, code: str) -> int | None:
        """The time step that `code` belongs to, None if to none near now."""
        given = re.sub(r"\s", "", code[:32]).encode()
        totp, now = pyotp.TOTP(secret), int(self._clock()) // STEP_S
        found = None
        for step in range(max(0, now - STEPS_AROUND), now + STEPS_AROUND + 1):
            if hmac.compare_digest(totp.generate_otp(step).encode(), given):
                found = step
        return found


def _recovery_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    return f"{text[:4]}-{text[4:8]}-{text[8:]}"


def _hash(code: str) -> bytes:
    return hashlib.sha256(re.sub(r"[\s-]", "", code[:64]).upper().encode()).digest()
