"""Graph patterns: a small DAG of calls with holes, matched backwards from its root.

    x, eps = value("x"), static("eps")
    mean = call("aten.mean.dim", call("aten.mul.Tensor", x, x), [-1], True)
    RSQRT = call("aten.rsqrt", call("aten.add.Tensor", mean, eps))

    @rewrites(RSQRT)
    def fuse(match, rewriter): ...

A hole that appears twice must hold the same value, and a call that appears twice must match the
same operation. Parameters that a pattern does not mention must have their defaults. Operations
inside a match must not be used outside it, unless the pattern says ``shared``. Matching backtracks
over the operand order of commutative operations and alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdsl.ir import Operation

from torchair.ir.calls import CallOp
from torchair.ir.graph_match import Match, is_same, match_outputs, match_root, match_value
from torchair.ir.pattern_nodes import (
    ANY,
    Call,
    Hole,
    Node,
    OneOf,
    alternatives_of,
    call,
    one_of,
    required_by,
    result,
    shared,
    static,
    value,
)
from torchair.ir.rewrite import Pattern, Rewriter

__all__ = [
    "ANY",
    "Call",
    "Hole",
    "Match",
    "Node",
    "OneOf",
    "call",
    "erase_unused",
    "is_same",
    "match_outputs",
    "match_value",
    "one_of",
    "result",
    "rewrites",
    "shared",
    "static",
    "value",
]

RewriteFn = Callable[[Match, Rewriter], None]


def rewrites(
    *patterns: Node, where: Callable[[Match], bool] | None = None
) -> Callable[[RewriteFn], Pattern]:
    """Declare a rewrite of whatever one of several graph patterns matches.

    The function replaces ``match.root`` through the rewriter, or returns without a change to refuse
    the match. What the replacement leaves without users is erased.

    Args:
        patterns: tried in order.
        where: accepts or refuses a match by types and shapes; when it refuses, the search goes on.
    """
    roots = [alternatives_of(node) for node in patterns]
    names = tuple(dict.fromkeys(name for calls in roots for call in calls for name in call.names))

    def declare(function: RewriteFn) -> Pattern:
        def apply(op: CallOp, rewriter: Rewriter) -> None:
            for calls in roots:
                match = match_root(calls, op, where)
                if match is None:
                    continue
                function(match, rewriter)
                if op in rewriter.erased:
                    erase_unused(match.calls, rewriter)
                    return

        apply.__name__ = function.__name__
        return Pattern(names, apply, required_by(OneOf(patterns)))

    return declare


def erase_unused(calls: Mapping[CallOp, bool], rewriter: Rewriter) -> None:
    """Erase the matched operations that nobody uses any more, users first."""
    pending: list[Operation] = [op for op in calls if op not in rewriter.erased]
    progress = True
    while progress:
        progress = False
        for op in list(pending):
            if all(result.first_use is None for result in op.results):
                rewriter.erase(op)
                pending.remove(op)
                progress = True
