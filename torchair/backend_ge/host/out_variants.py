"""How a call writes its result into memory that exists already: the out= form of an operator.

Only where PyTorch has a kernel for that. Most out= overloads that are generated compute a new
tensor and copy it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from torchair.backend_ge.host.aten_schema import bind_arguments, schema_of

if TYPE_CHECKING:
    from torch._ops import OpOverload

aten = torch.ops.aten

# With a number, these compute what the overload with a tensor computes with the number as a tensor.
_BY_TENSOR = {
    aten.add.Scalar: aten.add.out,
    aten.sub.Scalar: aten.sub.out,
    aten.mul.Scalar: aten.mul.out,
    aten.div.Scalar: aten.div.out,
}

# Their out= kernels resize the result on the way. test_planning.py tries all others.
_RESIZING = frozenset({"aten::huber_loss"})


@dataclass(frozen=True, slots=True)
class OutVariant:
    """An operator that writes into its last arguments.

    Args:
        op: the operator.
        names: its out arguments, one per result; empty for an in-place operator, which writes its
            first argument.
    """

    op: OpOverload
    names: tuple[str, ...]

    def arguments(
        self, args: tuple[object, ...], kwargs: dict[str, object], targets: list[object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments of the call that writes into ``targets``."""
        if not self.names:
            return (*targets, *args), kwargs
        return args, kwargs | dict(zip(self.names, targets, strict=True))


@dataclass(frozen=True, slots=True)
class OutCall:
    """A call with its targets left open."""

    variant: OutVariant
    args: tuple[object, ...]
    kwargs: dict[str, object]


def out_call(op: OpOverload, args: tuple[object, ...], kwargs: dict[str, object]) -> OutCall | None:
    """The out= form of a call, None when there is none that is worth it."""
    if op is aten.relu.default:  # which is clamp_min inside, too
        return OutCall(OutVariant(aten.clamp_min.out, ("out",)), (args[0], 0), {})
    if op in _BY_TENSOR:
        return OutCall(OutVariant(_BY_TENSOR[op], ("out",)), args, kwargs)
    if op in (aten.clone.default, aten._to_copy.default):
        return _copy(op, args, kwargs)
    variant = out_variant(op)
    return None if variant is None else OutCall(variant, args, kwargs)


def _copy(op: OpOverload, args: tuple[object, ...], kwargs: dict[str, object]) -> OutCall | None:
    """A copy into memory of the dtype and strides that the call gives its result."""
    values = {b.spec.name: b.value for b in bind_arguments(schema_of(op), args, kwargs)}
    if values.get("layout") not in (None, torch.strided) or values.get("pin_memory"):
        return None
    if values.get("device") not in (None, torch.device("cpu")):
        return None
    return OutCall(OutVariant(aten.copy_.default, ()), (values["self"],), {})


@functools.cache
def out_variant(op: OpOverload) -> OutVariant | None:
    """The overload with a kernel of its own that takes out arguments, one per result."""
    if op.namespace != "aten" or schema_of(op).name in _RESIZING:
        return None
    packet = op.overloadpacket
    for name in packet.overloads():
        candidate: Any = getattr(packet, name)
        names = _out_names(op, candidate)
        if names and _has_kernel(candidate):
            return OutVariant(candidate, names)
    return None


def _out_names(op: OpOverload, candidate: OpOverload) -> tuple[str, ...]:
    """The out arguments of the candidate when the rest of it is ``op``."""
    arguments = candidate._schema.arguments
    own = [a for a in arguments if not a.is_out]
    outs = [a for a in arguments if a.is_out]
    same = [_signature(a) for a in own] == [_signature(a) for a in op._schema.arguments]
    plain = all(str(a.type) == "Tensor" for a in outs)
    if not same or not plain or len(outs) != len(op._schema.returns):
        return ()
    return tuple(a.name for a in outs)


def _signature(argument: Any) -> tuple[str, str, bool]:
    return argument.name, str(argument.real_type), argument.alias_info is not None


def _has_kernel(op: OpOverload) -> bool:
    name = op.name()
    return torch.Tag.generated not in op.tags and torch._C._dispatch_has_kernel_for_dispatch_key(
        name, "CPU"
    )
