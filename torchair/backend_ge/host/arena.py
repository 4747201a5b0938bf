"""Places of tensors in one block of memory, so that no two that live at the same time overlap."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

ALIGNMENT = 64
"""Bytes. A cache line, and what torch's own allocator gives."""

_SMALL_PLAN = 1500
"""Up to this many blocks several orders are tried; each costs time with the square of the number."""


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
    """Best fit among the blocks that may live at the same time; the smallest of several orders.

    Args:
        blocks: what is to be placed.
        is_before: whether one call is done before another begins, for calls on several streams; None
            when they run one after the other.
    """
    sizes = [_round_up(block.size) for block in blocks]
    max_live = _max_live(blocks, sizes)
    conflict = _overlap_in_time(blocks) if is_before is None else _unordered(blocks, is_before)
    best: ArenaPlan | None = None
    for order in _orders(blocks, sizes):
        plan = ArenaPlan(*_place(order, sizes, conflict), max_live)
        if best is None or plan.size < best.size:
            best = plan
        if best.size <= max_live:
            break
    return best if best is not None else ArenaPlan([], 0, 0)


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _orders(blocks: Sequence[Block], sizes: Sequence[int]) -> Iterable[list[int]]:
    indices = range(len(blocks))
    yield sorted(indices, key=lambda i: (-sizes[i], blocks[i].first))
    if len(blocks) <= _SMALL_PLAN:
        yield sorted(indices, key=lambda i: blocks[i].first)
        yield sorted(indices, key=lambda i: (blocks[i].first - blocks[i].last, -sizes[i]))
        yield sorted(indices, key=lambda i: -sizes[i] * (blocks[i].last - blocks[i].first + 1))


def _overlap_in_time(blocks: Sequence[Block]) -> Callable[[int, int], bool]:
    spans = [(block.first, block.last) for block in blocks]

    def conflict(left: int, right: int) -> bool:
        (a, b), (c, d) = spans[left], spans[right]
        return a <= d and c <= b

    return conflict


def _unordered(
    blocks: Sequence[Block], is_before: Callable[[int, int], bool]
) -> Callable[[int, int], bool]:
    def precedes(left: Block, right: Block) -> bool:
        return all(is_before(use, right.first) for use in left.uses)

    def conflict(left: int, right: int) -> bool:
        return not (
            precedes(blocks[left], blocks[right]) or precedes(blocks[right], blocks[left])
        )

    return conflict


def _place(
    order: Sequence[int], sizes: Sequence[int], conflict: Callable[[int, int], bool]
) -> tuple[list[int], int]:
    offsets = [0] * len(sizes)
    placed: list[tuple[int, int]] = []  # (offset, block), by offset
    end = 0
    for index in order:
        offset = _best_gap(index, placed, sizes, conflict)
        offsets[index] = offset
        insort(placed, (offset, index))
        end = max(end, offset + sizes[index])
    return offsets, end


def _best_gap(
    index: int,
    placed: Sequence[tuple[int, int]],
    sizes: Sequence[int],
    conflict: Callable[[int, int], bool],
) -> int:
    """The offset of the smallest gap that fits, or the end of what is in the way."""
    size, best, best_gap, reached = sizes[index], -1, 0, 0
    for offset, other in placed:
        if not conflict(index, other):
            continue
        gap = offset - reached
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = reached, gap
        reached = max(reached, offset + sizes[other])
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
