"""GELU (exact and tanh) and SiLU, where a model writes them out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torchair.ir.graph_pattern import Hole, Match, call, one_of, rewrites, static, value
from torchair.ir.rewrite import Pattern, Rewriter
from torchair.passes.fusion_forms import FLOATS, add, create, div, element_of, mul
from torchair.passes.rewrite_pass import PatternPass


def _near(number: float) -> Hole:
    """A static number, up to the digits that models write it with."""
    return static("", lambda found: _is_near(found, number))


def _is_near(found: Any, number: float) -> bool:
    return isinstance(found, int | float) and math.isclose(found, number, rel_tol=1e-3)


_X = value("x")
_HALF_X = one_of(mul(_X, _near(0.5)), div(_X, _near(2.0)))
_ROOT_OF_HALF = one_of(mul(_X, _near(math.sqrt(0.5))), div(_X, _near(math.sqrt(2.0))))
_SQUARE = one_of(call("aten.pow.Tensor_Scalar", _X, _near(2.0)), mul(_X, _X))
_CUBIC_TERM = one_of(
    mul(one_of(call("aten.pow.Tensor_Scalar", _X, _near(3.0)), mul(_SQUARE, _X)), _near(0.044715)),
    mul(mul(mul(_X, _near(0.044715)), _X), _X),
)
_QUADRATIC_TERM = one_of(mul(_SQUARE, _near(0.044715)), mul(mul(_X, _near(0.044715)), _X))
_SCALE = _near(math.sqrt(2.0 / math.pi))
_TANH = one_of(
    call("aten.tanh", mul(add(_X, _CUBIC_TERM), _SCALE)),
    call("aten.tanh", mul(mul(_X, _SCALE), add(_QUADRATIC_TERM, _near(1.0)))),
    call("aten.tanh", mul(mul(_X, add(_QUADRATIC_TERM, _near(1.0))), _SCALE)),
)
_ERF = call("aten.erf", _ROOT_OF_HALF)


def _gelu_of(curve: Any) -> Any:
    """``x / 2 * (1 + curve)`` in the orders of multiplication that models use."""
    raised = add(curve, _near(1.0))
    return one_of(
        mul(_HALF_X, raised),
        mul(mul(_X, raised), _near(0.5)),
        mul(_X, mul(raised, _near(0.5))),
    )


def _replaces(name: str, *arguments: Any) -> Callable[[Match, Rewriter], None]:
    def apply(match: Match, rewriter: Rewriter) -> None:
        types = [match.root.results[0].type]
        fused = create(rewriter, name, [match["x"], *arguments], types, match.root)
        rewriter.replace(match.root, fused.results)

    return apply


def _has_float_type(match: Match) -> bool:
    x = match["x"]
    return element_of(x) in FLOATS and match.root.results[0].type == x.type


fuse_gelu = rewrites(_gelu_of(_ERF), where=_has_float_type)(_replaces("aten.gelu"))
fuse_gelu_tanh = rewrites(_gelu_of(_TANH), where=_has_float_type)(_replaces("aten.gelu", "tanh"))
fuse_silu = rewrites(mul(_X, call("aten.sigmoid", _X)), where=_has_float_type)(
    _replaces("aten.silu")
)


@dataclass(frozen=True)
class FuseActivationPass(PatternPass):
    """Recognises activation functions that are written out.

        %1 = aten.mul.Tensor(%x, 0.5)
        %2 = aten.div.Tensor(%x, 1.41421356)
        %3 = aten.erf(%2)                         ->      %y = aten.gelu(%x)
        %4 = aten.add.Tensor(%3, 1.0)
        %y = aten.mul.Tensor(%1, %4)

    Numeric class: approximates. Shown by: test/lit/passes/fuse-activation.mlir
    """

    name = "fuse-activation"
    numeric_class: ClassVar[str] = "approximates"
    patterns: ClassVar[tuple[Pattern, ...]] = (fuse_gelu, fuse_gelu_tanh, fuse_silu)
