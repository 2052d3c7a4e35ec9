"""The JSON form of a datagram, easy to start with: unsigned at first, then with a signature behind it. Pure.

Signed: the JSON object, then 8 hex digits of key id, then 32 of the tag, which is made of every byte
before its own. The bytes are signed as they are: nothing is written anew to be checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from agent.drivers.udp.keys import TAG_BYTES, Key
from agent.drivers.udp.message import (
    AGE_MS_MAX,
    DATAGRAM_BYTES_MAX,
    NUMBER_MAX,
    SAMPLES_MAX,
    VALID_S_MAX,
    Ack,
    Command,
    Data,
    Result,
    Sample,
)
from agent.drivers.udp.refusal import Refused
from agent.model import NAN

TAG_DIGITS = 2 * TAG_BYTES
KEY_ID_DIGITS = 8
TRAILER_BYTES = KEY_ID_DIGITS + TAG_DIGITS
UNIX_MS_MAX = 2**53
_QUALITIES = {"bad": 0, "uncertain": 1, "good": 2}


def check_size(data: bytes) -> None:
    if len(data) > DATAGRAM_BYTES_MAX:
        raise Refused("malformed", f"expected at most {DATAGRAM_BYTES_MAX} bytes, found {len(data)}")


class Trailer(NamedTuple):
    key_id: int
    tag: bytes


def trailer_of(data: bytes) -> Trailer | None:
    """The signature behind a JSON object; None if there is none (the datagram ends with the object)."""
    if data.rstrip().endswith(b"}"):
        return None
    try:
        digits = data[-TRAILER_BYTES:].decode("ascii")
        key_id, tag = bytes.fromhex(digits[:KEY_ID_DIGITS]), bytes.fromhex(digits[KEY_ID_DIGITS:])
    except ValueError:
        tag = b""
    if len(tag) != TAG_BYTES:
        raise Refused("malformed", f"expected a JSON object or one and 40 hex digits, found {data[-48:]!r}")
    return Trailer(int.from_bytes(key_id, "big"), tag)


def signed_part(data: bytes) -> bytes:
    """What the tag of a signed JSON datagram is made of."""
    return data[:-TAG_DIGITS]


def body_of(data: bytes, trailer: Trailer | None) -> dict[str, Any]:
    """The JSON object of a datagram."""
    text = data[:-TRAILER_BYTES] if trailer else data
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused("malformed", f"expected JSON, found {data[:40]!r}: {error}") from None
    if not isinstance(body, dict):
        raise Refused("malformed", f"expected a JSON object, found {data[:40]!r}")
    return body


def sign(body: Mapping[str, Any], key: Key) -> bytes:
    """A signed JSON datagram."""
    part = orjson.dumps(body) + b"%08x" % key.id
    return part + key.tag(part).hex().encode("ascii")


def module_id(body: Mapping[str, Any]) -> str:
    name = body.get("id")
    if not isinstance(name, str):
        raise Refused("malformed", f"id: expected a text, found {_shown(name)}")
    return name


class Keys(NamedTuple):
    """What of the keys of a datagram and those of its profile does not meet; filled while it is read."""

    unknown: list[str]
    missing: set[str]


def read_data(body: Mapping[str, Any], index: Mapping[str, int], keys: Keys) -> Data:
    """The samples in a JSON object; `index` places each key. What does not meet is added to `keys`."""
    seq = _whole(body, "seq", NUMBER_MAX)
    unix_ms = _whole(body, "ts", UNIX_MS_MAX, 0)
    if "samples" in body:
        samples = [_sample(each, index, keys) for each in _samples(body)]
    else:
        samples = [(seq, 0, _quality(body), *_values(body, index, keys))]
    oldest = min((int(sample[0]) for sample in samples), default=seq)
    return Data(
        _whole(body, "boot", NUMBER_MAX, 0),
        seq,
        _whole(body, "oldest", NUMBER_MAX, oldest),
        unix_ms,
        _whole(body, "valid_s", VALID_S_MAX, 0),
        body.get("ack") is True,
        samples,
    )


def _samples(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    samples = body["samples"]
    if (
        not isinstance(samples, list)
        or len(samples) > SAMPLES_MAX
        or not all(isinstance(each, dict) for each in samples)
    ):
        raise Refused(
            "malformed", f"samples: expected at most {SAMPLES_MAX} objects, found {_shown(samples)}"
        )
    return samples


def _sample(body: Mapping[str, Any], index: Mapping[str, int], keys: Keys) -> Sample:
    number, age_ms = _whole(body, "n", NUMBER_MAX), _whole(body, "age_ms", AGE_MS_MAX, 0)
    return (number, age_ms, _quality(body), *_values(body, index, keys))


def _quality(body: Mapping[str, Any]) -> int:
    word = body.get("quality", "good")
    if not isinstance(word, str) or word not in _QUALITIES:
        raise Refused("malformed", f"quality: expected one of {', '.join(_QUALITIES)}, found {_shown(word)}")
    return _QUALITIES[word]


def _values(body: Mapping[str, Any], index: Mapping[str, int], keys: Keys) -> Sequence[float]:
    sent = body.get("values")
    if not isinstance(sent, dict):
        raise Refused("malformed", f"values: expected an object, found {_shown(sent)}")
    values = [NAN] * len(index)
    for key, value in sent.items():
        at = index.get(key)
        if at is None:
            keys.unknown.append(key)
        else:
            values[at] = _number(key, value)
    keys.missing.update(index.keys() - sent.keys())
    return values


def _number(key: str, value: object) -> float:
    if value is None:
        return NAN
    if isinstance(value, int | float) and math.isfinite(number := float(value)):
        return number
    raise Refused("malformed", f"values.{key}: expected a number, found {_shown(value)}")


def _whole(body: Mapping[str, Any], key: str, most: int, missing: int | None = None) -> int:
    value = body.get(key)
    if value is None and missing is not None:
        return missing
    if type(value) is int and 0 <= value <= most:
        return value
    raise Refused("malformed", f"{key}: expected a whole number from 0 to {most}, found {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_result(body: Mapping[str, Any]) -> Result:
    """The answer to a command in a JSON object."""
    result = body["result"]
    if not isinstance(result, dict):
        raise Refused("malformed", f"result: expected an object, found {_shown(result)}")
    value = _number("value", result.get("value"))
    boot, command_id = _whole(body, "boot", NUMBER_MAX), _whole(result, "id", UNIX_MS_MAX)
    return Result(boot, command_id, _whole(result, "status", 255), value)


def ack(message: Ack, key: Key, size_max: int) -> bytes | None:
    """An acknowledgement of at most `size_max` bytes, its bitmap cut to fit; None if that cannot be."""
    answer = {"boot": message.boot, "ack": message.seq, "safe": message.safe, "complete": message.complete}
    room = size_max - len(sign(answer | {"bits": ""}, key))
    if room < 0:
        return None
    return sign(answer | {"bits": message.bits[: room // 2].hex()}, key)


def command(message: Command, point: str, key: Key) -> bytes:
    wanted = {"id": message.id, "point": point, "value": message.value}
    return sign({"boot": message.boot, "command": wanted}, key)
