"""Rotary position embedding, half and interleaved layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.ir import BlockArgument, Operation, SSAValue

from torchair.ir import interned
from torchair.ir.graph_pattern import (
    Call,
    Hole,
    Match,
    call,
    one_of,
    result,
    rewrites,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import (
    FLOATS,
    INT64_MAX,
    VIEWS,
    add,
    are_halves,
    create,
    element_of,
    is_last_dim,
    mul,
    shape_of,
)
from torchair.passes.rewrite_pass import PatternPass


def _every_second(start: int) -> Call:
    """Every second element along the last of four dimensions."""
    return call("aten.slice.Tensor", value("x"), _LAST_OF_FOUR, start, INT64_MAX, 2)


_LAST_OF_FOUR = static("", lambda dim: dim in (3, -1))
_RANK = 4
"""Rank that the operator takes."""
_COSINE, _SINE = value("cosine"), value("sine")
_ROTATED = call("aten.cat", [call("aten.neg", value("high")), value("low")], static("dim"))
_HALF = add(mul(value("x"), _COSINE), mul(_ROTATED, _SINE))

_PAIRS = call(VIEWS, value("x"), Hole("pairs"))
_EVEN = one_of(_every_second(0), call("aten.unbind.int", _PAIRS, -1))
_ODD = one_of(_every_second(1), result(call("aten.unbind.int", _PAIRS, -1), 1))
_TURNED_PAIRS = call(VIEWS, call("aten.stack", [call("aten.neg", _ODD), _EVEN], -1), Hole("size"))
_INTERLEAVED = add(mul(value("x"), _COSINE), mul(_TURNED_PAIRS, _SINE))


def _is_rotation(match: Match) -> bool:
    x, half = match["x"], are_halves(match["low"], match["high"])
    return (
        half is not None
        and half.source is x
        and half.dim == _RANK - 1
        and is_last_dim(match["dim"], x)
        and _fits(x, match)
    )


def _fits(x: SSAValue, match: Match) -> bool:
    """Whether rank, types and the shapes of cosine and sine are what the operator takes."""
    shape, (result,) = shape_of(x), match.root.results
    tables = (match["cosine"], match["sine"])
    if shape is None or len(shape) != _RANK or result.type != x.type:
        return False
    if element_of(x) not in FLOATS or any(element_of(t) != element_of(x) for t in tables):
        return False
    return all((shape_of(t) or (0,))[-1] == shape[-1] for t in tables)


def _is_rotation_of_pairs(match: Match) -> bool:
    pairs = match.get("pairs")
    return (pairs is None or pairs[-1] == 2) and _fits(match["x"], match)


@rewrites(_HALF, where=_is_rotation)
def fuse_half_layout(match: Match, rewriter: Rewriter) -> None:
    _fuse(match, "half", rewriter)


@rewrites(_INTERLEAVED, where=_is_rotation_of_pairs)
def fuse_interleaved_layout(match: Match, rewriter: Rewriter) -> None:
    _fuse(match, "interleave", rewriter)


def _fuse(match: Match, layout: str, rewriter: Rewriter) -> None:
    cosine, sine = (_widen(match[name], match, rewriter) for name in ("cosine", "sine"))
    values = [match["x"], cosine, sine, layout]
    types = [match.root.results[0].type]
    fused = create(rewriter, "npu.npu_rotary_mul", values, types, match.root)
    rewriter.replace(match.root, fused.results)


def _widen(table: SSAValue, match: Match, rewriter: Rewriter) -> SSAValue:
    """The table with leading dimensions of one, as many as the operator wants: made once, where the
    table is."""
    shape = shape_of(table)
    assert shape is not None, "the guard has read it"
    if len(shape) == _RANK:
        return table
    made = rewriter.made.get(table)
    if made is None:
        symbols = interned.symbols_of(table.type)
        type_ = interned.tensor(
            [1, *shape], element_of(table), None if symbols is None else ["1", *symbols]
        )
        place = _after(table, match)
        made = create(rewriter, "aten.unsqueeze", [table, 0], [type_], place).results[0]
        rewriter.made[table] = made
    return _widen(made, match, rewriter)


def _after(table: SSAValue, match: Match) -> Operation:
    """The operation in front of which a value made of a table serves every reader of the table."""
    if isinstance(table, BlockArgument):
        first = table.owner.first_op
        return first if first is not None else match.root
    assert isinstance(table.owner, Operation), "a result"
    following = table.owner.next_op
    return match.root if following is None else following


@dataclass(frozen=True)
class FuseRotaryEmbeddingPass(PatternPass):
    """Fuses rotary position embedding.

        %1 = aten.mul.Tensor(%x, %cos)
        %2 = aten.neg(%high of %x)
        %3 = aten.cat([%2, %low of %x], -1)       ->      %y = npu.npu_rotary_mul(%x, %cos, %sin)
        %4 = aten.mul.Tensor(%3, %sin)
        %y = aten.add.Tensor(%1, %4)

    Numeric class: approximates (half precision rounds once, at the end).
    Shown by: test/lit/passes/fuse-rotary-embedding.mlir
    """

    name = "fuse-rotary-embedding"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_half_layout, fuse_interleaved_layout)
