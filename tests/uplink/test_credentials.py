"""Every way to authenticate, against the fake with real TLS; what `check` says of the wrong ones."""

from __future__ import annotations

import gc
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.config import load
from agent.schema import FaultyFile
from agent.store import Store
from agent.uplink.credentials import CredentialOptions, keep_private, login, secret, tls_context
from agent.uplink.provision import _token
from agent.uplink.thingsboard import ThingsBoard, ThingsBoardOptions
from tests.conftest import until
from tests.thingsboard import Entity, FakeThingsBoard
from tests.thingsboard.certificates import Authority
from tests.uplink.test_thingsboard import delivering, fill, wanted


def file(folder: Path, name: str, text: str) -> Path:
    made = folder / name
    made.touch(mode=0o600)
    made.write_text(text)
    return made


def options(port: int, **more: object) -> ThingsBoardOptions:
    base = {"kind": "thingsboard", "name": "center", "host": "127.0.0.1", "port": port}
    return ThingsBoardOptions.model_validate(base | {"puback_timeout_s": 1.0, "retry_s_max": 1.0} | more)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "readings.db") as store:
        fill(store, 5)
        yield store


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def arrived(board: FakeThingsBoard) -> bool:
    return {(device, ts, key): value for (device, key, ts), value in board.centre.stored.items()} == wanted(5)


async def test_basic_credentials_with_a_client_id(tmp_path: Path, store: Store) -> None:
    user, password = file(tmp_path, "user", "box-7\n"), file(tmp_path, "password", "geheim ß\n")
    async with FakeThingsBoard() as board:
        board.centre.devices["gateway"].token = ""
        board.centre.devices["gateway"].basic = ("id-7", "box-7", "geheim ß")
        right = options(board.port, username_file=user, password_file=password, client_id="id-7")
        async with delivering(ThingsBoard(right, store)):
            await until(lambda: arrived(board))


async def test_a_client_certificate(tmp_path: Path, store: Store, authority: Authority) -> None:
    box = authority.pair("box")
    async with FakeThingsBoard(tls=authority.server()) as board:
        board.centre.devices["gateway"].token = ""
        board.centre.devices["gateway"].certificate = box.der
        ours = options(board.port, tls=True, ca_file=authority.ca_file, cert_file=box.cert, key_file=box.key)
        async with delivering(ThingsBoard(ours, store)):
            await until(lambda: arrived(board))


async def test_a_certificate_the_centre_does_not_know_is_an_outage(
    tmp_path: Path, store: Store, authority: Authority
) -> None:
    box = authority.pair("stranger")
    async with FakeThingsBoard(tls=authority.server()) as board:
        ours = options(board.port, tls=True, ca_file=authority.ca_file, cert_file=box.cert, key_file=box.key)
        uplink = ThingsBoard(ours, store)
        async with delivering(uplink):
            await until(lambda: "Not authorized" in uplink.state.last_error)


# paho leaves the socket of a failed handshake to the garbage collector, which closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_token_over_tls_goes_only_to_a_centre_we_trust(
    tmp_path: Path, store: Store, authority: Authority
) -> None:
    token = file(tmp_path, "token", "T0KEN")
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger")
    async with FakeThingsBoard(tls=authority.server()) as board:
        uplink = ThingsBoard(options(board.port, tls=True, ca_file=stranger.ca_file, token_file=token), store)
        async with delivering(uplink):
            await until(lambda: "certificate verify failed" in uplink.state.last_error)
        assert not board.centre.messages
        right = options(board.port, tls=True, ca_file=authority.ca_file, token_file=token)
        async with delivering(ThingsBoard(right, store)):
            await until(lambda: arrived(board))
    gc.collect()  # here, or the warning falls on another test


def provisioning(folder: Path, port: int, secret_text: str = "shh") -> ThingsBoardOptions:
    return options(
        port,
        provision_key_file=file(folder, "provision.key", "k3y"),
        provision_secret_file=file(folder, "provision.secret", secret_text),
        provision_name="box 7",
    )


async def test_the_first_start_asks_for_a_token_once(tmp_path: Path, store: Store) -> None:
    state = tmp_path / "uplinks"
    async with FakeThingsBoard() as board:
        board.behaviour.provisioning = {("k3y", "shh"): "uicps-agent"}
        async with delivering(ThingsBoard(provisioning(tmp_path, board.port), store, state)):
            await until(lambda: arrived(board))
        kept = state / "center.token"
        assert kept.read_text().strip() == board.centre.devices["box 7"].token
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert board.centre.devices["box 7"].gateway
        async with delivering(ThingsBoard(provisioning(tmp_path, board.port), store, state)):
            fill(store, 1, 5)
            await until(lambda: len(board.centre.stored) == 24)
        assert board.centre.messages["/provision/request"] == 1


async def test_a_centre_that_gives_no_token_is_an_outage_with_words(tmp_path: Path, store: Store) -> None:
    async with FakeThingsBoard() as board:
        board.behaviour.provisioning = {("k3y", "shh"): "uicps-agent"}
        uplink = ThingsBoard(provisioning(tmp_path, board.port, "wrong"), store, tmp_path / "uplinks")
        async with delivering(uplink):
            await until(lambda: "does not know this provisioning key" in uplink.state.last_error)
        board.centre.add(Entity("box 7"))
        uplink = ThingsBoard(provisioning(tmp_path, board.port), store, tmp_path / "uplinks")
        async with delivering(uplink):
            await until(lambda: "it may be there already" in uplink.state.last_error)
    assert not (tmp_path / "uplinks").exists()


@pytest.mark.parametrize(
    "answer",
    [
        b"{", b"[]", b'{"status":"SUCCESS"}', b'{"status":"SUCCESS","credentialsType":"MQTT_BASIC"}',
        b'{"status":"SUCCESS","credentialsType":"ACCESS_TOKEN","credentialsValue":""}',
        b'{"status":"SUCCESS","credentialsType":"ACCESS_TOKEN","credentialsValue":"a\\nb"}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_token_is_refused(answer: bytes) -> None:
    with pytest.raises(ConnectionError, match="the centre"):
        _token(answer)


WAYS: list[tuple[dict[str, object], str]] = [
    ({}, "found none"),
    ({"token_file": "a", "username_file": "b", "password_file": "c"}, "token_file and username_file"),
    ({"username_file": "b"}, "expected password_file beside username_file"),
    ({"token_file": "a", "password_file": "b"}, "password_file: has no meaning with token_file"),
    ({"cert_file": "a", "key_file": "b"}, "expected tls = true beside it"),
    ({"provision_key_file": "a"}, "expected provision_secret_file beside"),
    ({"token_file": "a", "provision_name": "b"}, "provision_name: has no meaning"),
]


@pytest.mark.parametrize(("table", "text"), WAYS)
def test_there_is_one_way_to_authenticate(table: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        CredentialOptions.model_validate(table)


CONFIG = """
[agent]
site = "s"
[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
"""


def faults(folder: Path, lines: str) -> str:
    config = folder / "config.toml"
    config.write_text(CONFIG + lines)
    with pytest.raises(FaultyFile) as found:
        load(config)
    return str(found.value)


def test_check_finds_what_is_wrong_with_the_files(tmp_path: Path, authority: Authority) -> None:
    locked, other = authority.pair("locked", b"pass"), authority.pair("other")
    table = f'tls = true\nca_file = "{authority.ca_file}"\ncert_file = "{{}}"\nkey_file = "{{}}"\n'
    assert "without pass phrase" in faults(tmp_path, table.format(locked.cert, locked.key))
    assert "uplink[0].cert_file: expected a PEM" in faults(tmp_path, table.format(other.cert, locked.cert))
    locked.key.chmod(0o644)
    assert "chmod 600" in faults(tmp_path, table.format(locked.cert, locked.key))
    assert "expected one way to authenticate" in faults(tmp_path, "")
    file(tmp_path, "user", "u\nv")
    text = faults(tmp_path, 'username_file = "user"\npassword_file = "none"\n')
    assert "username_file: expected a readable file with the secret" in text
    assert "password_file: expected a readable file with the secret" in text


def test_a_secret_is_read_anew_and_written_whole(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "token"
    keep_private(kept, "one\n")
    ours = CredentialOptions.model_validate({"token_file": kept})
    assert login(ours).username == "one"
    keep_private(kept, "two\n")
    assert login(ours).username == "two"
    assert [each.name for each in kept.parent.iterdir()] == ["token"]
    assert tls_context(ours) is None
    kept.write_text(json.dumps({"a": 1}) + "\nmore")
    with pytest.raises(OSError, match="expected one line") as found:
        secret(kept)
    assert "more" not in str(found.value)


def test_without_a_token_there_is_nothing_to_connect_with(tmp_path: Path) -> None:
    ours = CredentialOptions.model_validate({"provision_key_file": "a", "provision_secret_file": "b"})
    with pytest.raises(OSError, match="no credentials"):
        login(ours)
    with pytest.raises(FileNotFoundError):
        login(ours, tmp_path / "none")
