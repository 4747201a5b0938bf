"""Runs aten modules with eager torch, one operator at a time: the meaning that passes must keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, SSAValue

from torchair.dialects import aten
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.conversion import build_function
from torchair.ir.private import append_op

_NAMED = {
    "strided": torch.strided,
    "contiguous_format": torch.contiguous_format,
    "preserve_format": torch.preserve_format,
}


def dtype_of(element: Attribute) -> torch.dtype:
    """The torch dtype of an element type."""
    return getattr(torch, element_types.to_name(element))


def type_of(value: Any) -> Attribute:
    """Static MLIR type of a tensor or number."""
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        return interned.tensor(value.shape, element_types.from_name(name))
    if value is None:
        return interned.none_type
    return {bool: interned.i1, int: interned.i64, float: interned.f64}[type(value)]


def overload_of(name: str) -> Any:
    """The torch operator of a mnemonic."""
    namespace, operator, *overload = name.split(".")
    packet = getattr(getattr(torch.ops, namespace), operator)
    return getattr(packet, overload[0] if overload else "default")


def run_call(op: CallOp, values: dict[SSAValue, Any]) -> list[Any]:
    """Results of one operator; also what it does to its operands."""
    if op.name == "aten.constant":
        return [_constant(op)]
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter, value in zip(op.schema.parameters, op.arguments(), strict=True):
        value = _torch_value(value, parameter.kind, values)
        if not parameter.keyword_only:
            positional.append(value)
        elif value is not None:
            named[parameter.name] = value
    found = overload_of(op.name)(*positional, **named)
    return list(found) if isinstance(found, list | tuple) else [found]


def _torch_value(value: Any, kind: str, values: dict[SSAValue, Any]) -> Any:
    if isinstance(value, SSAValue):
        return values[value]
    if isinstance(value, list):
        return [_torch_value(item, kind, values) for item in value]
    if kind == "dtype" and isinstance(value, Attribute):
        return dtype_of(value)
    return _NAMED.get(value, value) if kind in ("memory_format", "layout") else value


def _constant(op: CallOp) -> torch.Tensor:
    dense = op.properties["value"]
    assert isinstance(dense, DenseIntOrFPElementsAttr)
    type_: Any = op.results[0].type
    values = list(dense.get_values())
    flat = torch.tensor(
        values, dtype=torch.float64 if isinstance(values[0], float) else torch.int64
    )
    return flat.to(dtype_of(type_.element_type)).reshape(type_.get_shape())


def run(module: ModuleOp, arguments: Sequence[Any]) -> list[Any]:
    """Results of a module's only function; arguments may be written."""
    function = module.body.block.first_op
    assert isinstance(function, FuncOp)
    block = function.body.block
    values: dict[SSAValue, Any] = dict(zip(block.args, arguments, strict=True))
    for op in block.ops:
        if isinstance(op, ReturnOp):
            return [values[operand] for operand in op.operands]
        assert isinstance(op, CallOp)
        for result, value in zip(op.results, run_call(op, values), strict=True):
            assert type_of(value) == result.type, f"{op.name}: {type_of(value)} {result.type}"
            values[result] = value
    raise AssertionError("a function ends with a return")


class EagerBuilder:
    """Builds a module while running it, so that result types are those of torch."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        types = [type_of(a) for a in arguments]
        self.function, self.block = build_function("f", types, [])
        self.values: dict[SSAValue, Any] = dict(zip(self.block.args, arguments, strict=True))

    @property
    def arguments(self) -> Sequence[SSAValue]:
        return self.block.args

    def call(self, name: str, *values: Any) -> list[SSAValue]:
        """Append an operator; raises what torch raises for an illegal call."""
        cls = aten.lookup(name)
        assert cls is not None, name
        missing = len(cls.schema.parameters) - len(values)
        defaults = [p.default for p in cls.schema.parameters[len(values) :]]
        assert missing >= 0, name
        probe = cls.build_call([*values, *defaults], [])
        try:
            found = run_call(probe, self.values)
        finally:
            probe.erase()
        op = cls.build_call([*values, *defaults], [type_of(v) for v in found])
        append_op(self.block, op)
        self.values.update(zip(op.results, found, strict=True))
        return list(op.results)

    def finish(self, *results: SSAValue) -> ModuleOp:
        append_op(self.block, ReturnOp(*results))
        types = [r.type for r in results]
        inputs = [a.type for a in self.block.args]
        self.function.function_type = self.function.function_type.from_lists(inputs, types)
        return ModuleOp([self.function])


def block_of(module: ModuleOp) -> Block:
    """The body of a module's only function."""
    function = module.body.block.first_op
    assert isinstance(function, FuncOp)
    return function.body.block


def same_bits(a: Any, b: Any) -> bool:
    """Whether two results are equal to the last bit (NaN payloads apart)."""
    if not isinstance(a, torch.Tensor):
        return a == b and type(a) is type(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.is_complex():
        return same_bits(torch.view_as_real(a), torch.view_as_real(b))
    nans = torch.isnan(a) & torch.isnan(b) if a.is_floating_point() else torch.zeros_like(a).bool()
    signs = torch.signbit(a) == torch.signbit(b) if a.is_floating_point() else torch.tensor(True)
    return bool((((a == b) & signs) | nans).all())
