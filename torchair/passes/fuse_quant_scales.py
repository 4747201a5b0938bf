"""Scales of tokens: what is computed from the largest absolute value of each."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from torchair.ir.calls import CallOp
from torchair.ir.rewrite import defining_op
from torchair.passes.canonicalize.casts import CASTS, is_plain_cast
from torchair.passes.fusion_forms import FLOATS, HALVES, VIEWS, element_of, is_last_dim

LARGEST = 127
"""The number that a token's largest value becomes."""
PRODUCTS = ("aten.mul.Tensor", "aten.mul.Scalar")
QUOTIENTS = ("aten.div.Tensor", "aten.div.Scalar")
_RESHAPES = (*VIEWS, "aten.unsqueeze")
_FLOORS = ("aten.clamp", "aten.clamp_min")
_STEPS = (*PRODUCTS, *QUOTIENTS, *_RESHAPES, *_FLOORS, *CASTS, "aten.reciprocal")
_MAXIMA = {"aten.amax": "dim", "aten.max.dim": "dim"}
_HIGHEST_FLOOR = 1e-4
"""Scales may be bounded from below; tokens that are all smaller than this quantise finer here."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the way from the largest values to the scale.

    Args:
        op: its first result is ``coefficient`` times the largest values, or times the reciprocals.
        floor: bound of the largest values from below.
    """

    op: CallOp
    coefficient: float = 1.0
    is_reciprocal: bool = False
    floor: float = 0.0

    @property
    def is_scale(self) -> bool:
        """Whether the result is the scale, or its reciprocal."""
        number = self.coefficient if self.is_reciprocal else 1 / self.coefficient
        return abs(number / LARGEST - 1) < 1e-6

    def users_outside(self, inside: set[Operation]) -> list[Operation]:
        users = [use.operation for use in self.op.results[0].uses]
        return [user for user in users if user not in inside]


def widening_of(tensor: SSAValue) -> CallOp | None:
    """The cast that made a tensor from one in half precision; None if none did."""
    op = defining_op(tensor, *CASTS)
    return op if op is not None and element_of(op.operands[0]) in HALVES else None


def before_widening(tensor: SSAValue) -> SSAValue:
    """A tensor in half precision that was cast to give this one; else the tensor itself."""
    cast = widening_of(tensor)
    return tensor if cast is None else cast.operands[0]


def steps_to(scale: SSAValue, token: SSAValue) -> list[Step] | None:
    """The operations from the largest absolute values of each token to a scale, those first; None
    when the scale is anything else."""
    ops: list[CallOp] = []
    op = defining_op(scale, *_STEPS, *_MAXIMA)
    while op is not None and op.name not in _MAXIMA:
        ops.append(op)
        op = defining_op(op.operands[0], *_STEPS, *_MAXIMA)
    if op is None or not _is_largest_of(op, token):
        return None
    steps = [Step(op)]
    for op in reversed(ops):
        step = _next(steps[-1], op)
        if step is None:
            return None
        steps.append(step)
    return steps if steps[-1].is_scale and steps[-1].floor <= _HIGHEST_FLOOR else None


def _is_largest_of(op: CallOp, token: SSAValue) -> bool:
    size = defining_op(op.operands[0], "aten.abs")
    return (
        size is not None
        and before_widening(size.operands[0]) is token
        and is_last_dim(op.argument(_MAXIMA[op.name]), token)
        and all(result.first_use is None for result in op.results[1:])
    )


def _next(step: Step, op: CallOp) -> Step | None:
    coefficient, is_reciprocal, floor = step.coefficient, step.is_reciprocal, step.floor
    if op.name in CASTS:
        is_float = element_of(op.results[0]) in FLOATS and is_plain_cast(op)
        return Step(op, coefficient, is_reciprocal, floor) if is_float else None
    if op.name in _RESHAPES:
        return Step(op, coefficient, is_reciprocal, floor)
    if op.name == "aten.reciprocal":
        return Step(op, 1 / coefficient, not is_reciprocal, floor)
    number = op.arguments()[1]
    if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
        return None
    if op.name not in _FLOORS:
        factor = 1 / number if op.name in QUOTIENTS else number
        return Step(op, coefficient * factor, is_reciprocal, floor)
    if is_reciprocal or (op.name == "aten.clamp" and op.argument("max") is not None):
        return None
    return Step(op, coefficient, is_reciprocal, max(floor, number / coefficient))


def is_factor(user: Operation) -> bool:
    """Whether an operation multiplies or divides by what it is given, or hands it, cast, reshaped
    or inverted, to such operations."""
    if user.name not in (*CASTS, *_RESHAPES, "aten.reciprocal"):
        return user.name in (*PRODUCTS, *QUOTIENTS)
    return all(is_factor(use.operation) for result in user.results for use in result.uses)
