"""The shapes of what is asked and answered about who someone is."""

from __future__ import annotations

from typing import Literal

from agent.server.shapes import Shape


class SetupState(Shape):
    open: bool


class FirstAdmin(Shape):
    """`code`: of the agent's log."""

    code: str
    name: str
    password: str


class FirstUser(Shape):
    name: str
    role: Literal["admin"]


class Factor(Shape):
    """Of who has a second factor: one of them."""

    totp: str = ""
    recovery_code: str = ""


class Pair(Shape):
    """`expires_in`: seconds. `totp_enrolment_required`: they open nothing but `/api/v1/me`."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    totp_enrolment_required: bool = False


class RefreshToken(Shape):
    refresh_token: str


class AnyToken(Shape):
    token: str
    token_type_hint: str = ""


class Nothing(Shape):
    pass


class UserInfo(Shape):
    name: str
    role: Literal["viewer", "technician", "admin"]
    disabled: bool
    second_factor: bool


class UserList(Shape):
    users: list[UserInfo]


class KeyInfo(Shape):
    id: str
    name: str
    scopes: list[str]
    created_by: str
    created_ms: int
    expires_s: int | None


class KeyList(Shape):
    keys: list[KeyInfo]


class NewKey(KeyInfo):
    """`key` is shown this once."""

    key: str


class PasswordChange(Shape):
    password: str
    new_password: str
    totp: str = ""
    recovery_code: str = ""


class Proof(Shape):
    password: str
    totp: str = ""
    recovery_code: str = ""


class Password(Shape):
    password: str


class Totp(Shape):
    totp: str
