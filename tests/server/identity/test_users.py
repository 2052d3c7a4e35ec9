from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from agent.server import Role, User, UserError, Users
from agent.server.identity import schema
from tests.server.conftest import CHEAP

PASSWORD = "correct horse"


@pytest.fixture
async def users(tmp_path: Path) -> AsyncIterator[Users]:
    async with Users(tmp_path / "identity.db", hasher=CHEAP) as users:
        yield users


async def test_a_user_is_verified_by_name_and_password(users: Users) -> None:
    added = await users.add("Ana", PASSWORD, "technician")
    assert added == User("Ana", Role.TECHNICIAN, 1)
    assert await users.verify("Ana", PASSWORD) == added
    assert await users.verify("ANA", PASSWORD) == added
    assert await users.verify("Ana", PASSWORD + " ") is None
    assert await users.verify("Ana", "") is None
    assert await users.verify("Ana", "x" * 100_000) is None
    assert await users.verify("Bea", PASSWORD) is None


async def test_users_are_there_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "identity.db"
    async with Users(file, hasher=CHEAP) as users:
        await users.add("ana", PASSWORD)
    async with Users(file, hasher=CHEAP) as users:
        assert await users.verify("ana", PASSWORD) == User("ana", Role.VIEWER, 1)
        assert [user.name for user in await users.list()] == ["ana"]


def modes_in(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_the_file_is_private_and_holds_argon2id_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with Users(tmp_path / "identity.db") as users:  # with the real parameters
            await users.add("ana", PASSWORD)
            assert await users.verify("ana", PASSWORD) is not None
            modes = modes_in(tmp_path)
    finally:
        os.umask(old)
    assert modes == {0o600}
    with sqlite3.connect(tmp_path / "identity.db") as db:
        ((hashed,),) = db.execute("SELECT password_hash FROM user")
    db.close()
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert PASSWORD not in hashed


async def test_a_password_is_the_same_from_two_keyboards(users: Users) -> None:
    await users.add("ana", unicodedata.normalize("NFD", "coração é bom"))
    assert await users.verify("ana", unicodedata.normalize("NFC", "coração é bom")) is not None


async def test_a_hash_of_older_parameters_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "identity.db"
    async with Users(file, hasher=CHEAP) as users:
        await users.add("ana", PASSWORD)
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    async with Users(file, hasher=stronger) as users:
        assert await users.verify("ana", PASSWORD) is not None
    async with Users(file, hasher=CHEAP) as users:
        ((hashed,),) = await users.database.rows("SELECT password_hash FROM user")
    assert "m=16,t=2" in hashed


async def test_without_memory_no_password_is_called_wrong(tmp_path: Path) -> None:
    async with Users(tmp_path / "identity.db", hasher=CHEAP) as users:
        await users.add("ana", PASSWORD)
        greedy = "UPDATE user SET password_hash = replace(password_hash, ?, 'm=4294967295')"
        await users.database.write((greedy, (f"m={CHEAP.memory_cost}",)))
        with pytest.raises(OSError, match="no password can be checked now: Memory allocation"):
            await users.verify("ana", PASSWORD)


async def test_a_new_password_ends_the_old_one(users: Users) -> None:
    await users.add("ana", PASSWORD)
    assert await users.set_password("ana", "another one") == User("ana", Role.VIEWER, 2)
    assert await users.verify("ana", PASSWORD) is None
    assert await users.verify("ana", "another one") is not None
    with pytest.raises(UserError, match='user "bea" is not known; known users: ana'):
        await users.set_password("bea", "another one")


@pytest.mark.parametrize(
    ("name", "password", "role", "said"),
    [
        ("", PASSWORD, "viewer", "name: expected 1-64 letters"),
        ("a:b", PASSWORD, "viewer", 'found "a:b"'),
        ("x" * 65, PASSWORD, "viewer", "name: expected 1-64 letters"),
        ("ana\n", PASSWORD, "viewer", "name: expected"),
        (
            "ana",
            "1234567",
            "viewer",
            "password: expected at least 8 characters and at most 256 bytes, found 7",
        ),
        ("ana", "é" * 129, "viewer", "found 129 characters, 258 bytes"),
        ("ana", PASSWORD, "root", 'role: expected one of viewer, technician, admin, found "root"'),
    ],
)
async def test_what_cannot_be_a_user_says_why(
    users: Users, name: str, password: str, role: str, said: str
) -> None:
    with pytest.raises(UserError) as fault:
        await users.add(name, password, role)
    assert said in str(fault.value)
    assert PASSWORD not in str(fault.value)
    assert await users.list() == []


async def test_a_name_is_taken_once_and_the_file_stays_free(users: Users, tmp_path: Path) -> None:
    await users.add("ana", PASSWORD)
    with pytest.raises(UserError, match='user "ANA" exists already'):
        await users.add("ANA", PASSWORD)
    # Another process (`uicps-agent user add` beside the service) is not locked out by that.
    async with Users(tmp_path / "identity.db", hasher=CHEAP) as others:
        await others.add("bea", PASSWORD)
    assert await users.verify("bea", PASSWORD) is not None


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "identity.db"
    file.write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match=r"identity\.db: cannot be opened"):
        async with Users(file, hasher=CHEAP):
            pass


async def test_an_unknown_name_costs_as_much_as_a_wrong_password(tmp_path: Path) -> None:
    judged: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            judged.append(str(hash).rpartition("$")[0].rpartition("$")[0])
            return super().verify(hash, password)  # type: ignore[return-value]

    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    async with Users(tmp_path / "identity.db", hasher=hasher) as users:
        await users.add("ana", PASSWORD)
        await users.set_disabled("ana", True)
        assert await users.verify("ana", "wrong password") is None
        assert await users.verify("bea", "wrong password") is None
    assert len(judged) == 2
    assert judged[0] == judged[1]  # the same parameters


async def test_only_one_of_two_first_admins_is_made(users: Users) -> None:
    outcomes = await asyncio.gather(
        users.add_first("ana", PASSWORD), users.add_first("bea", PASSWORD), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["User", "UserError"]
    assert len(await users.list()) == 1


async def test_a_file_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "identity.db"
    first = (Path(schema.__file__).parent / "001_users.sql").read_text()
    with sqlite3.connect(file) as db:
        db.executescript(first + "PRAGMA user_version = 1;")
        row = ("ana", "viewer", CHEAP.hash(PASSWORD), 7, 1)
        db.execute("INSERT INTO user VALUES (?, ?, ?, ?, ?)", row)
    db.close()
    async with Users(file, hasher=CHEAP) as users:
        assert await users.verify("ana", PASSWORD) == User("ana", Role.VIEWER, 7)
