"""What the datasheet of a serial module says: how a frame looks and where its values are.

One profile, one frame format: `text` (fields between separators, or key=value), `json` (an object a
line) or `binary` (a fixed number of bytes). A group is what one frame carries; a module that sends
several kinds of frame has a group for each, told apart by `match`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from agent.drivers.profile import POINTS_PER_GROUP_MAX, Offset, PointOptions, Said, Scale, Sources
from agent.drivers.serial import checksum
from agent.schema import Name, Options

Type = Literal["u8", "s8", "u16", "s16", "u24", "s24", "u32", "s32", "u64", "s64", "f32", "f64"]
FRAME_BYTES_MAX = 65536


def _hex(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"expected bytes in hexadecimal like 'AA 55', found {text!r}") from None
    return text


class ChecksumOptions(Options):
    """The check of a frame: over what lies between `start` and itself, unless `covers_*` say more.

    In text it is hexadecimal and follows the last `after`; in a binary frame it is the last bytes
    before `end`.
    """

    kind: checksum.Kind
    after: Annotated[str, Field(max_length=8)] = ""
    order: Literal["big", "little"] = "big"
    covers_start: bool = False
    covers_after: bool = False


class _Lines(Options):
    """Text from `start` (anything, if empty) to `end`."""

    start: Annotated[str, Field(max_length=16)] = ""
    end: Annotated[str, Field(min_length=1, max_length=8)] = "\n"
    bytes_max: Annotated[int, Field(ge=8, le=FRAME_BYTES_MAX)] = 1024
    checksum: ChecksumOptions | None = None

    @model_validator(mode="after")
    def _check_is_found(self) -> _Lines:
        if self.checksum and not self.checksum.after:
            raise ValueError("checksum.after: expected the text in front of the check, like '*'")
        return self


class TextFrame(_Lines):
    """`separator` between fields (a blank: any run of them); with `assign` a field is key=value."""

    format: Literal["text"]
    separator: Annotated[str, Field(min_length=1, max_length=4)] = ","
    assign: Annotated[str, Field(max_length=4)] = ""
    decimal_comma: bool = False

    @model_validator(mode="after")
    def _comma_has_one_meaning(self) -> TextFrame:
        if self.decimal_comma and self.separator == ",":
            raise ValueError("decimal_comma: expected another separator than ',' beside it")
        return self


class JsonFrame(_Lines):
    """A JSON object a line."""

    format: Literal["json"]


class BinaryFrame(Options):
    """`length` bytes in all, from `start` to `end` (both hexadecimal); the check stands before `end`."""

    format: Literal["binary"]
    start: str = ""
    end: str = ""
    length: Annotated[int, Field(ge=2, le=FRAME_BYTES_MAX)]
    checksum: ChecksumOptions | None = None

    _start_is_hex = field_validator("start", "end")(_hex)

    @model_validator(mode="after")
    def _can_be_found(self) -> BinaryFrame:
        if not bytes.fromhex(self.start) and self.checksum is None:
            raise ValueError("expected start bytes or a checksum: without either no frame can be told")
        if self.body_end < len(bytes.fromhex(self.start)):
            raise ValueError(f"length: expected more than start, check and end, found {self.length}")
        if self.checksum and (self.checksum.after or self.checksum.covers_after):
            raise ValueError("checksum.after: only text has it; here the check stands before end")
        return self

    @property
    def body_end(self) -> int:
        """Where the check (or `end`) begins."""
        check = checksum.width_bytes(self.checksum.kind) if self.checksum else 0
        return self.length - check - len(bytes.fromhex(self.end))


class Place(Options):
    """Where a text lies in a frame: `field` counts from 0, `key` is a name, `at` a byte."""

    field: Annotated[int, Field(ge=0, le=999)] | None = None
    key: Annotated[str, Field(max_length=64)] = ""
    at: Annotated[int, Field(ge=0, lt=FRAME_BYTES_MAX)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Place:
        if sum((self.field is not None, bool(self.key), self.at is not None)) != 1:
            raise ValueError("expected one of field, key and at")
        return self


class Match(Place):
    """A group's frames have `equals` at this place (hexadecimal in a binary frame)."""

    equals: Annotated[str, Field(min_length=1, max_length=64)]


class SerialPoint(PointOptions):
    """A value of a frame. value = raw x scale + offset; a raw text or number in `invalid` is NaN.

    text: `field` or `key`, `suffix` cut off, `codes` for words. json: `key`, dotted, the point's name
    if left out. binary: `at`, `type`, `order`, `bit`.
    """

    field: Annotated[int, Field(ge=0, le=999)] | None = None
    key: Annotated[str, Field(max_length=128)] = ""
    suffix: Annotated[str, Field(max_length=16)] = ""
    codes: Annotated[Mapping[str, float], Field(max_length=256)] = Field(default_factory=dict)
    at: Annotated[int, Field(ge=0, lt=FRAME_BYTES_MAX)] | None = None
    type: Type = "u8"
    order: Literal["big", "little"] = "big"
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    scale: Scale = 1
    offset: Offset = 0
    invalid: Annotated[list[str | int], Field(max_length=16)] = Field(default_factory=list)


class SerialGroup(Options):
    """The points of one kind of frame."""

    name: Name
    match: Match | None = None
    point: Annotated[list[SerialPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


_OWN_KEYS = {
    "text": {"field", "key", "suffix", "codes"},
    "json": {"key", "codes"},
    "binary": {"at", "type", "order", "bit"},
}
_BYTES = {"u8": 1, "s8": 1, "u16": 2, "s16": 2, "u24": 3, "s24": 3, "f32": 4, "f64": 8}


def value_bytes(kind: Type) -> int:
    """Bytes that a value of this type takes."""
    return _BYTES.get(kind, int(kind[1:]) // 8)


class SerialProfile(Options):
    """A datasheet. `id` is where a frame names its module, if several share the wire."""

    driver: Literal["serial"]
    title: Said
    source: Sources
    frame: Annotated[TextFrame | JsonFrame | BinaryFrame, Field(discriminator="format")]
    id: Place | None = None
    group: Annotated[list[SerialGroup], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _is_whole(self) -> SerialProfile:
        points = [point for group in self.group for point in group.point]
        names = [point.name for point in points]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each point once, found twice: {', '.join(twice)}")
        for point in points:
            if wrong := self._fault(point):
                raise ValueError(f"point {point.name}: {wrong}")
        for place in (self.id, *(group.match for group in self.group)):
            if place and (wrong := self._misplaced(place)):
                raise ValueError(wrong)
        if sum(group.match is None for group in self.group) > 1:
            raise ValueError("match: expected it in every group but one: it tells the frames apart")
        return self

    def _fault(self, point: SerialPoint) -> str:
        """Why `point` cannot be read from such a frame, or an empty text."""
        foreign = set().union(*_OWN_KEYS.values()) - _OWN_KEYS[self.frame.format]
        if used := sorted(point.model_fields_set & foreign):
            return f"{used[0]}: not for a {self.frame.format} frame"
        if isinstance(self.frame, TextFrame):
            return self._text_fault(self.frame, point)
        if isinstance(self.frame, BinaryFrame):
            return self._binary_fault(self.frame, point)
        return ""

    @staticmethod
    def _text_fault(frame: TextFrame, point: SerialPoint) -> str:
        if frame.assign and point.field is not None:
            return "field: with frame.assign a value is found by its key"
        if not frame.assign and point.field is None:
            return "field: expected its place among the fields, from 0"
        return ""

    @staticmethod
    def _binary_fault(frame: BinaryFrame, point: SerialPoint) -> str:
        if point.at is None:
            return "at: expected the byte where the value begins, from 0"
        if point.at + value_bytes(point.type) > frame.body_end:
            return f"at: expected {point.type} to end before byte {frame.body_end}"
        if point.bit is not None and point.type.startswith("f"):
            return "bit: expected a whole-number type beside it"
        if any(isinstance(raw, str) for raw in point.invalid):
            return "invalid: expected whole numbers"
        return ""

    def _misplaced(self, place: Place) -> str:
        wanted = "key" if self.frame.format == "json" else "at" if self.frame.format == "binary" else ""
        if isinstance(self.frame, TextFrame):
            wanted = "key" if self.frame.assign else "field"
        found = next(name for name in ("field", "key", "at") if getattr(place, name) not in (None, ""))
        if found != wanted:
            return f"expected {wanted} as a place in such a frame, found {found}"
        if isinstance(self.frame, BinaryFrame):
            return self._beyond(self.frame, place)
        return ""

    @staticmethod
    def _beyond(frame: BinaryFrame, place: Place) -> str:
        count = 1
        if isinstance(place, Match):
            count = len(bytes.fromhex(_hex(place.equals)))
        if (place.at or 0) + count > frame.body_end:
            return f"at: expected a place before byte {frame.body_end}"
        return ""
