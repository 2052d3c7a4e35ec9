"""What to ask of a device that refuses some of its registers. Pure.

A block that answers exception 2 or 3 is halved until what is refused is a single value: that one is bad,
the rest is good. When a bad value was found, the good pieces that touch each other are joined again, so
that the device is asked as few times as possible; when none was found (the device's limit is smaller than
its profile says, or a hole between values may not be read) the pieces stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.drivers.modbus.pdu import is_bit_table
from agent.drivers.modbus.plan import Block, block_of


def halves(block: Block) -> tuple[Block, Block] | None:
    """Two blocks that read the same values, about equally long; None if it is a single value.

    Values that share a register stay together: no cut goes through a value.
    """
    middle = block.address + block.width / 2
    cuts = [at for at in range(1, len(block.spans)) if _may_cut(block, at)]
    if not cuts:
        return None
    cut = min(cuts, key=lambda at: abs(block.spans[at].address - middle))
    return block_of(block.spans[:cut]), block_of(block.spans[cut:])


def _may_cut(block: Block, at: int) -> bool:
    return max(span.end for span in block.spans[:at]) <= block.spans[at].address


def joined(blocks: Iterable[Block], *, max_registers: int, max_bits: int) -> tuple[Block, ...]:
    """The blocks with those joined that touch (nothing between them) and fit in one request."""
    result: list[Block] = []
    for block in sorted(blocks):
        last = result[-1] if result else None
        most = max_bits if is_bit_table(block.table) else max_registers
        touches = last is not None and last.table == block.table and last.end == block.address
        if last and touches and last.width + block.width <= most:
            result[-1] = block_of(last.spans + block.spans)
        else:
            result.append(block)
    return tuple(result)
