"""Every fault of a configuration is found at once, and each says place, expectation and finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import load
from agent.schema import FaultyFile

GOOD = """
[agent]
site = "lab"

[[uplink]]
name = "center"
kind = "thingsboard"
host = "127.0.0.1"
token_file = "center.token"

[[line]]
name = "meters"
driver = "modbus-tcp"
host = "127.0.0.1"
port = 5020
[[line.device]]
name = "m1"
profile = "eastron-sdm630"
unit_id = 1

[[line]]
name = "wifi"
driver = "udp"
port = 9000
[[line.device]]
name = "room"
profile = "ambient"
unsigned = true
"""


def write(folder: Path, text: str, token_mode: int = 0o600) -> Path:
    token = folder / "center.token"
    token.write_text("secret\n")
    token.chmod(token_mode)
    file = folder / "config.toml"
    file.write_text(text)
    return file


def faults(folder: Path, text: str, token_mode: int = 0o600) -> list[str]:
    file = write(folder, text, token_mode)
    with pytest.raises(FaultyFile) as caught:
        load(file)
    return [str(fault).removeprefix(f"{file}: ") for fault in caught.value.faults]


def test_a_good_file_is_read_and_its_paths_start_at_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.data_dir == tmp_path / "data"
    assert config.options.uplink[0].token_file == tmp_path / "center.token"
    assert set(config.profiles) == {"eastron-sdm630", "ambient"}
    assert not (tmp_path / "data").exists()


def test_a_secret_that_systemd_hands_in_is_taken_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_in = tmp_path / "run"
    handed_in.mkdir()
    text = GOOD.replace('"center.token"', '"credentials/center.token"')
    file = write(tmp_path, text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_in))
    assert "expected a readable file" in faults(tmp_path, text)[0]
    (handed_in / "credentials_center.token").touch(mode=0o400)
    (handed_in / "credentials_center.token").write_text("secret\n")
    assert load(file).options.uplink[0].token_file == handed_in / "credentials_center.token"


def test_all_faults_come_together(tmp_path: Path) -> None:
    text = (
        GOOD.replace("port = 5020", 'port = "5020"')
        .replace("unit_id = 1", 'unit_id = "5"')
        .replace('host = "127.0.0.1"\ntoken_file', "token_file")
        + "[store]\nsize_max_mb = 1\ncommit_intervall_s = 1\n[sever]\n"
    )
    assert sorted(faults(tmp_path, text)) == [
        'line[0].device[0].unit_id: expected a whole number, found "5"',
        'line[0].port: expected a whole number, found "5020"',
        "sever: unknown key, did you mean 'server'?",
        "store.commit_intervall_s: unknown key, did you mean 'commit_interval_s'?",
        "store.size_max_mb: expected greater than or equal to 8, found 1",
        "uplink[0].host: expected a value, found none",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("port = 5020", "bautrate = 1", "line[0].bautrate: unknown key; known keys: "),
        ("port = 5020", "prt = 1", "line[0].prt: unknown key, did you mean 'port'?"),
        ("unit_id = 1", "unitid = 1", "line[0].device[0].unitid: unknown key, did you mean 'unit_id'?"),
        ("unit_id = 1", "unit_id = 300", "unit_id: expected less than or equal to 255, found 300"),
        ('name = "m1"', 'name = "m 1"', "line[0].device[0].name: expected a name of letters, digits"),
        ('driver = "udp"', 'driver = "udpp"', "did you mean 'udp'?"),
        ('driver = "udp"\n', "", "line[1]: expected a key 'driver' that says what this is, found none"),
        ('site = "lab"', "", "agent.site: expected a value, found none"),
        ('site = "lab"', 'site = "lab"\ntimezone = "Mars/Base"', "expected a time zone like"),
        ('site = "lab"', 'site = "lab"\nlog_level = "loud"', "agent.log_level: expected"),
        ("port = 5020", "timeout_s = nan", "line[0].timeout_s: expected a finite number, found NaN"),
        ('profile = "eastron-sdm630"', 'profile = "estron"', "no profile of this name; known profiles:"),
        ('profile = "eastron-sdm630"', 'profile = "ambient"', 'a profile for driver = "modbus"'),
        ('name = "m1"', 'name = "room"', "expected each device once, 'room' is also at line[0]"),
        ('name = "m1"', 'name = "agent"', "expected another name: 'agent' is the agent itself"),
        ('name = "wifi"', 'name = "meters"', "line[1].name: expected each line once"),
        ("unit_id = 1", 'unit_id = 1\n[[line.device]]\nname = "m2"\nprofile = "eastron-sdm630"\nunit_id = 1',
         "line[0].device[1].unit_id: expected each unit id once, 1 is also at line[0].device[0].unit_id"),
        ("unsigned = true", "", "line[1].device[0].unsigned: expected a key of 'room' in the key_file"),
        ("unsigned = true", 'unsigned = true\n[[line.device]]\nname = "r2"\nprofile = "ambient"\nid = "room"',
         "line[1].device[0].name: expected each id once, 'room' is also at device[1].id"),
        ("port = 9000", 'port = 9000\nkey_file = "none.keys"', "line[1].key_file: expected a readable file"),
        ("center.token", "other.token", "uplink[0].token_file: expected a readable file with the secret"),
        ('kind = "thingsboard"', 'kind = "thingsbored"', "expected one of 'thingsboard', 'mqtt', found"),
        ('kind = "thingsboard"', 'kind = "thingsboard"\nca_file = "ca.pem"', "expected tls = true beside it"),
    ],
)  # fmt: skip
def test_each_fault_has_its_words(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = faults(tmp_path, GOOD.replace(old, new, 1))
    assert any(expected in fault for fault in found), found


def test_faults_of_every_kind_come_in_one_round(tmp_path: Path) -> None:
    text = GOOD.replace("port = 5020", "prt = 5020").replace("eastron-sdm630", "estron")
    text = text.replace('name = "room"', 'name = "m1"').replace("center.token", "none.token")
    kinds = ("unknown key", "no profile of this name", "expected each device once", "No such file")
    found = faults(tmp_path, text)
    assert [sum(kind in fault for fault in found) for kind in kinds] == [1, 1, 1, 1]


@pytest.mark.parametrize("token", ["", "two\nlines", "x" * 5000, "\x00"])
def test_a_token_that_cannot_be_one_is_a_fault(tmp_path: Path, token: str) -> None:
    file = write(tmp_path, GOOD)
    (tmp_path / "center.token").write_text(token)
    with pytest.raises(FaultyFile, match="expected one line of text with the secret"):
        load(file)


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", ""])
def test_a_host_that_cannot_be_one_is_a_fault(tmp_path: Path, host: str) -> None:
    assert any("host" in fault for fault in faults(tmp_path, GOOD.replace("127.0.0.1", host)))


def test_a_secret_others_can_read_is_a_fault_with_its_mending(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, GOOD, token_mode=0o644)
    assert fault.startswith(
        "uplink[0].token_file: expected a file that others cannot read, found mode 644: chmod 600"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[agent\n", "expected TOML:"), ("x = '\xff'".encode("latin-1"), "expected TOML:")],
)
def test_what_is_not_toml_is_said(tmp_path: Path, text: str | bytes, expected: str) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FaultyFile, match=expected):
        load(file)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FaultyFile, match="expected a readable file: No such file"):
        load(tmp_path / "none.toml")


PROFILE = 'driver = "modbus"\ntitle = "x"\nsource = ["test"]\n[[group]]\nname = "all"\n'


def test_faults_of_a_profile_name_its_file_and_where_it_is_used(tmp_path: Path) -> None:
    own = tmp_path / "profiles"
    own.mkdir()
    (own / "mine.toml").write_text(PROFILE + '[[group.point]]\nname = "v"\nadress = 3\n')
    text = GOOD.replace('site = "lab"', 'site = "lab"\nprofile_dir = "profiles"').replace(
        "eastron-sdm630", "mine"
    )
    first, second = sorted(faults(tmp_path, text))
    assert first.startswith("line[0].device[0].profile: ")
    assert "mine.toml: group[0].point[0].address: expected a value, found none" in first
    assert "mine.toml: group[0].point[0].adress: unknown key, did you mean 'address'?" in second


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ("{ nothing = 1 }", "fallback.nothing: expected a writable point of profile intesis-ac (on, mode,"),
        ("{ temperature_setpoint = 99 }", "fallback.temperature_setpoint: expected"),
        ("{ temperature = 20 }", "fallback.temperature: expected a point that can be written"),
    ],
)
def test_a_fallback_that_cannot_be_written_is_a_fault(tmp_path: Path, fallback: str, expected: str) -> None:
    text = GOOD.replace('profile = "eastron-sdm630"', f'profile = "intesis-ac"\nfallback = {fallback}')
    (fault,) = faults(tmp_path, text)
    assert expected in fault
    assert "line[0].device[0]." in fault


def test_a_users_profile_wins_over_a_built_in_one(tmp_path: Path) -> None:
    own = tmp_path / "profiles"
    own.mkdir()
    (own / "eastron-sdm630.toml").write_text(PROFILE + '[[group.point]]\nname = "v"\naddress = 3\n')
    config = load(write(tmp_path, GOOD.replace('site = "lab"', 'site = "lab"\nprofile_dir = "profiles"')))
    assert config.profiles["eastron-sdm630"].title == "x"  # type: ignore[attr-defined]


def test_a_point_twice_in_a_profile_is_a_fault(tmp_path: Path) -> None:
    own = tmp_path / "profiles"
    own.mkdir()
    (own / "mine.toml").write_text(PROFILE + '[[group.point]]\nname = "v"\naddress = 3\n' * 2)
    text = GOOD.replace('site = "lab"', 'site = "lab"\nprofile_dir = "profiles"').replace(
        "eastron-sdm630", "mine"
    )
    (fault,) = faults(tmp_path, text)
    assert "expected each point once, found twice: v" in fault


def test_unit_id_0_is_another_than_1(tmp_path: Path) -> None:
    second = '\n[[line.device]]\nname = "m2"\nprofile = "eastron-sdm630"\nunit_id = 0'
    config = load(write(tmp_path, GOOD.replace("unit_id = 1", f"unit_id = 1{second}")))
    assert len(config.options.line[0].device) == 2


def test_an_own_certificate_is_looked_at(tmp_path: Path) -> None:
    server = '[server]\ntls_cert_file = "no.pem"\ntls_key_file = "no.key"\n'
    found = faults(tmp_path, GOOD + server)
    assert any("server.tls_key_file: expected a readable file" in each for each in found)
    assert any("server.tls_cert_file" in each for each in found)
    (tmp_path / "no.key").write_text("nonsense")
    (tmp_path / "no.key").chmod(0o600)
    (tmp_path / "no.pem").write_text("nonsense")
    (found_one,) = faults(tmp_path, GOOD + server)
    assert "expected a certificate and its key in PEM" in found_one
    found = faults(tmp_path, GOOD + '[server]\ntls_cert_file = "no.pem"\n')
    assert any("expected both tls_cert_file and tls_key_file, or neither" in each for each in found)
    found = faults(tmp_path, GOOD + '[server]\ntotp_required = ["root"]\n')
    assert any("server.totp_required[0]" in each for each in found)


AC = """
[[line]]
name = "ac"
driver = "modbus-rtu"
port = "{port}"
[[line.device]]
name = "unit-{unit}"
profile = "{profile}"
fallback = {fallback}
"""
WIDE_LIMITS = """
driver = "modbus"
title = "t"
source = ["s"]
[[group]]
name = "g"
[[group.point]]
name = "setpoint"
address = 0
scale = 0.5
writable = true
on_silence = "keeps it"
"""


def test_a_fallback_that_the_registers_cannot_hold_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text(WIDE_LIMITS)
    text = GOOD.replace('site = "lab"', 'site = "lab"\nprofile_dir = "."')
    for value, words in (("-10.5", "expected what fits in u16"), ("10.25", "expected a multiple of 0.5")):
        table = AC.format(port="/dev/a", unit=1, profile="wide", fallback=f"{{ setpoint = {value} }}")
        (fault,) = faults(tmp_path, text + table)
        assert fault.startswith(f"line[2].device[0].fallback.setpoint: {words}")


def test_a_port_and_a_link_to_it_are_the_same_port(tmp_path: Path) -> None:
    target, link = tmp_path / "ttyUSB0", tmp_path / "by-id"
    target.touch()
    link.symlink_to(target)
    lines = [
        AC.format(port=port, unit=at, profile="intesis-ac", fallback="{}").replace('"ac"', f'"ac{at}"')
        for at, port in enumerate((link, target))
    ]
    (fault,) = faults(tmp_path, GOOD + "".join(lines))
    assert fault.startswith("line[3].port: expected each serial port once")


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(file).options.agent.site == "lab"


ALARMS = (
    GOOD
    + """
[[alarm]]
name = "volts"
kind = "limit"
point = "m1.voltage_l1"
high = 240.0
[[alarm]]
name = "hot"
kind = "expression"
when = "room.temperature > 28 and m1.active_power > 0"
suppressed_by = ["volts.high"]
[[outlet]]
name = "hook"
kind = "webhook"
url = "https://hooks.example/"
secret_file = "center.token"
[[outlet]]
name = "team"
kind = "mail"
host = "mail.example"
sender = "a@example.org"
to = ["b@example.org"]
[[outlet]]
name = "there"
kind = "thingsboard"
uplink = "center"
"""
)


def test_alarms_and_outlets_are_read(tmp_path: Path) -> None:
    options = load(write(tmp_path, ALARMS)).options
    assert [each for rule in options.alarm for each in rule.ids] == ["volts.high", "hot"]
    assert [outlet.name for outlet in options.outlet] == ["hook", "team", "there"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("high = 240.0\n", "", "alarm[0]: expected at least one of high_high, high, low, low_low"),
        ('"limit"', '"limt"', "did you mean 'limit'?"),
        ("m1.voltage_l1", "m1.volts", "alarm[0].point: expected a point of device m1, found 'volts'"),
        ("room.temperature", "room.temp", "alarm[1].when: expected a point of device room, found 'temp'"),
        ("28 and", "28 und", "alarm[1].when: expected the end"),
        ('["volts.high"]', '["volts"]', "alarm[1].suppressed_by: expected the id of another alarm"),
        ('name = "hot"', 'name = "volts"', "alarm[1].name: expected each alarm once"),
        ('name = "team"', 'name = "hook"', "outlet[1].name: expected each outlet once"),
        (
            'uplink = "center"',
            'uplink = "centre"',
            "outlet[2].uplink: expected an uplink to a ThingsBoard (center)",
        ),
        (
            'secret_file = "center.token"',
            'secret_file = "no"',
            "outlet[0].secret_file: expected a readable file",
        ),
        (
            'host = "mail.example"',
            'host = "h"\nuser = "u"',
            "outlet[1]: expected both user and password_file",
        ),
        (
            '"https://hooks.example/"',
            '"http://h/"\nca_file = "center.token"',
            "outlet[0].ca_file: expected TLS",
        ),
    ],
)
def test_each_fault_of_alarms_has_its_words(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert any(expected in fault for fault in faults(tmp_path, ALARMS.replace(old, new, 1)))
