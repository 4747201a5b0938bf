"""Places of tensors in one block of memory, so that no two that live at the same time overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALIGNMENT = 64
"""Bytes. A cache line, and what torch's own allocator gives."""

_ROUNDS = 100
"""How often the order of blocks is improved."""

_GOOD_ENOUGH = 1.02
"""Times the bytes that are alive at one time: no improvement is sought below this."""


@dataclass(frozen=True, slots=True)
class Block:
    """Memory that is needed from the call that defines it to the last call that uses it.

    Args:
        size: bytes, more than 0.
        first: call that defines it.
        uses: calls that use it, ``first`` included.
    """

    size: int
    first: int
    uses: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last of its uses in the order of the calls."""
        return max(self.uses)


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """Offsets of blocks, in bytes.

    Args:
        offsets: one per block, multiples of ``ALIGNMENT``.
        size: of the whole arena.
        max_live: the most bytes, rounded up to ``ALIGNMENT`` per block, that calls in order need at
            one time: no plan is smaller.
    """

    offsets: list[int]
    size: int
    max_live: int


def plan_arena(
    blocks: Sequence[Block], is_before: Callable[[int, int], bool] | None = None
) -> ArenaPlan:
    """Best fit, large blocks first; then the block at the top comes earlier, again and again.

    Args:
        blocks: what is to be placed.
        is_before: whether one call is done before another begins, for calls on several streams;
            None when they run one after the other.
    """
    sizes = [_round_up(block.size) for block in blocks]
    neighbours = _overlaps(blocks) if is_before is None else _unordered(blocks, is_before)
    order = sorted(range(len(blocks)), key=lambda i: (-sizes[i], blocks[i].first))
    max_live = _max_live(blocks, sizes)
    best, best_size = list[int](), -1
    for _ in range(_ROUNDS):
        offsets, size = _place(order, sizes, neighbours)
        if best_size < 0 or size < best_size:
            best, best_size = offsets, size
        if best_size <= _GOOD_ENOUGH * max_live:
            break
        top = max(order, key=lambda i: offsets[i] + sizes[i])
        position = order.index(top)
        order.insert(position // 4, order.pop(position))
    return ArenaPlan(best, max(best_size, 0), max_live)


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _overlaps(blocks: Sequence[Block]) -> list[list[int]]:
    """Per block, those that are alive at the same time, for calls that run one after the other."""
    neighbours: list[list[int]] = [[] for _ in blocks]
    active: list[int] = []
    for index in sorted(range(len(blocks)), key=lambda i: blocks[i].first):
        active = [other for other in active if blocks[other].last >= blocks[index].first]
        for other in active:
            neighbours[other].append(index)
        neighbours[index].extend(active)
        active.append(index)
    return neighbours


def _unordered(blocks: Sequence[Block], is_before: Callable[[int, int], bool]) -> list[list[int]]:
    """Per block, those of which neither is done with before the other begins."""

    def precedes(left: Block, right: Block) -> bool:
        return all(is_before(use, right.first) for use in left.uses)

    neighbours: list[list[int]] = [[] for _ in blocks]
    for index, block in enumerate(blocks):
        for other in range(index):
            if not precedes(blocks[other], block) and not precedes(block, blocks[other]):
                neighbours[index].append(other)
                neighbours[other].append(index)
    return neighbours


def _place(
    order: Sequence[int], sizes: Sequence[int], neighbours: Sequence[Sequence[int]]
) -> tuple[list[int], int]:
    offsets = [-1] * len(sizes)
    end = 0
    for index in order:
        taken = sorted((offsets[n], sizes[n]) for n in neighbours[index] if offsets[n] >= 0)
        offsets[index] = _best_gap(sizes[index], taken)
        end = max(end, offsets[index] + sizes[index])
    return offsets, end


def _best_gap(size: int, taken: Sequence[tuple[int, int]]) -> int:
    """The offset of the smallest gap that fits, or the end of what is in the way."""
    best, best_gap, reached = -1, 0, 0
    for offset, other in taken:
        gap = offset - reached
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = reached, gap
        reached = max(reached, offset + other)
    return best if best >= 0 else reached


def _max_live(blocks: Sequence[Block], sizes: Sequence[int]) -> int:
    changes: list[tuple[int, int, int]] = []
    for block, size in zip(blocks, sizes, strict=True):
        changes.append((block.first, 0, size))
        changes.append((block.last, 1, -size))
    live = most = 0
    for _, _, change in sorted(changes):
        live += change
        most = max(most, live)
    return most
