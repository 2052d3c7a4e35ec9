"""Check values of the CRC catalogue, and checks of frames of real devices."""

import pytest

from agent.drivers.serial.checksum import Kind, checksum, width_bytes

DIGITS = b"123456789"


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        # reveng's catalogue of CRCs, the field "check": over the digits 1 to 9
        ("crc8", DIGITS, 0xF4),
        ("crc8-maxim", DIGITS, 0xA1),
        ("crc16-modbus", DIGITS, 0x4B37),
        ("crc16-ccitt", DIGITS, 0x29B1),
        ("crc16-xmodem", DIGITS, 0x31C3),
        ("sum8", DIGITS, 0xDD),
        ("xor", DIGITS, 0x31),
        # NMEA 0183, the usual example sentence: $GPGLL,...*1D
        ("xor", b"GPGLL,4916.45,N,12311.12,W,225444,A,", 0x1D),
        # A PZEM-016 answer (device-facts 5, no. 1): its CRC is the last two bytes, low byte first
        ("crc16-modbus", bytes.fromhex("01 04 14 08D1 006C0000 00F40000 00260000 01F4 0064 0000"), 0x3451),
        # MH-Z19's read command FF 01 86 00 00 00 00 00 79: over bytes 1 to 7
        ("sum8-negated", bytes.fromhex("01 86 00 00 00 00 00"), 0x79),
        ("crc16-ccitt", b"", 0xFFFF),
        ("xor", b"", 0),
    ],
)
def test_known_values(kind: Kind, data: bytes, expected: int) -> None:
    assert checksum(kind, data) == expected


def test_widths() -> None:
    assert (width_bytes("xor"), width_bytes("crc8-maxim"), width_bytes("crc16-ccitt")) == (1, 1, 2)


def test_all_bytes_add_up_to_zero_with_the_negated_sum() -> None:
    data = bytes(range(7, 90))
    assert (sum(data) + checksum("sum8-negated", data)) % 256 == 0
