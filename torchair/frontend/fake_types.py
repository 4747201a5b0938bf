"""MLIR types and argument values of what FX metadata holds (FakeTensor, SymInt, dtype,
device...)."""

from __future__ import annotations

from typing import Any

import torch
from xdsl.ir import Attribute

from torchair.errors import UnsupportedOpError
from torchair.ir import element_types, interned

_elements: dict[torch.dtype, Attribute] = {}
_NAMES = {"float8_e8m0fnu": "float8_e8m0"}
"""GE's names of types that PyTorch names otherwise."""
_expressions: dict[Any, str] = {}


def element_of(dtype: torch.dtype) -> Attribute:
    """Element type of a torch dtype."""
    found = _elements.get(dtype)
    if found is None:
        name = str(dtype).removeprefix("torch.")
        found = _elements[dtype] = element_types.from_name(_NAMES.get(name, name))
    return found


def expression_text(expression: Any) -> str:
    """Text of a sympy expression, cached."""
    found = _expressions.get(expression)
    if found is None:
        if len(_expressions) > 100_000:
            _expressions.clear()
        found = _expressions[expression] = str(expression)
    return found


def tensor_type(value: torch.Tensor) -> Attribute:
    """Type of a (fake) tensor; symbolic sizes become ``?`` with their expressions as encoding."""
    if value.layout is not torch.strided:
        raise UnsupportedOpError(
            "sparse tensors are not supported",
            found=f"layout {value.layout}",
            hint="convert to a dense tensor (.to_dense()) before the compiled region",
        )
    element = element_of(value.dtype)
    shape = value.shape
    for size in shape:
        if type(size) is not int:
            return _symbolic_type(shape, element)
    return interned.tensor(shape, element)


def _symbolic_type(shape: torch.Size, element: Attribute) -> Attribute:
    sizes: list[int] = []
    symbols: list[str] = []
    each: Any = shape
    for size in each:
        constant: Any = size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size
        if constant is None:
            sizes.append(interned.DYNAMIC)
            symbols.append(expression_text(size.node.expr))
        else:
            sizes.append(constant)
            symbols.append(str(constant))
    if interned.DYNAMIC not in sizes:
        return interned.tensor(sizes, element)
    return interned.tensor(sizes, element, symbols)


def value_type(value: object) -> Attribute:
    """Type of one FX value: tensor, symbolic or plain scalar, or None (an undefined result)."""
    if isinstance(value, torch.Tensor):
        return tensor_type(value)
    if value is None:
        return interned.none_type
    if isinstance(value, bool | torch.SymBool):
        return interned.i1
    if isinstance(value, int | torch.SymInt):
        return interned.i64
    if isinstance(value, float | torch.SymFloat):
        return interned.f64
    raise UnsupportedOpError(
        f"values of type {type(value).__name__} cannot be represented in a graph",
        hint="return tensors, numbers or None from the compiled region",
    )


def static_value(value: object) -> object:
    """Plain Python form of a static argument: dtypes become element types, the rest text."""
    if isinstance(value, torch.dtype):
        return element_of(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, torch.layout | torch.memory_format):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        constant = value.node.maybe_as_int()
        if constant is None:
            raise UnsupportedOpError(
                f"the symbolic value {value} is used without a graph node that computes it"
            )
        return constant
    return value
