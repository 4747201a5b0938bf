"""``_foreach_*``: one function of many tensors, as optimizers call them, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.creation import filled_like
from torchair.passes.convert_aten_to_ge.elementwise import (
    add,
    addcdiv,
    addcmul,
    div,
    lerp,
    maximum,
    minimum,
    mul,
    pow_scalar,
    pow_tensor,
    sub,
    trunc,
)
from torchair.passes.convert_aten_to_ge.reduction import amax, linalg_vector_norm
from torchair.passes.convert_aten_to_ge.registry import converts, find

_UNARY = """abs acos asin atan ceil cos cosh erf erfc exp expm1 floor log log10 log1p log2 neg
reciprocal round rsqrt sigmoid sign sin sinh sqrt tan tanh trunc clone"""


def _each(function: Callable[..., Any], out: Any, *arguments: Any, **shared: Any) -> list[Any]:
    """One call per result; arguments that are lists give one item to each call."""
    types: list[Any] = out if isinstance(out, list) else [out]  # pyright: ignore
    return [
        function(*[_item(a, index) for a in arguments], out=type_, **shared)
        for index, type_ in enumerate(types)
    ]


def _item(argument: Any, index: int) -> Any:
    return argument[index] if isinstance(argument, list) else argument  # pyright: ignore


def _register_unary(name: str) -> None:
    options = ", *, MemoryFormat? memory_format=None" if name == "clone" else ""

    @converts(f"_foreach_{name}(Tensor[] self{options}) -> Tensor[]")
    def _(self: Any, out: Any) -> Any:
        return _each(_single, out, self)

    def _single(value: Any, out: Any) -> Any:
        converter = find(f"aten.{name}")
        assert converter is not None, "every name of the list has a converter"
        wanted = {"out": out} if converter.wants_out else {}
        return converter.function(self=value, **wanted)


for _name in _UNARY.split():
    _register_unary(_name)


def _register_binary(name: str, function: Callable[..., Any]) -> None:
    has_alpha = name in ("add", "sub")
    alpha = ", *, Scalar alpha=1" if has_alpha else ""

    @converts(f"_foreach_{name}.List(Tensor[] self, Tensor[] other{alpha}) -> Tensor[]")
    def _(self: Any, other: Any, out: Any, alpha: Any = 1) -> Any:
        return _each(function, out, self, other, **({"alpha": alpha} if has_alpha else {}))

    @converts(f"_foreach_{name}.Scalar(Tensor[] self, Scalar scalar) -> Tensor[]")
    def _(self: Any, scalar: Any, out: Any) -> Any:
        return _each(function, out, self, scalar)

    @converts(f"_foreach_{name}.ScalarList(Tensor[] self, Scalar[] scalars) -> Tensor[]")
    def _(self: Any, scalars: Any, out: Any) -> Any:
        return _each(function, out, self, scalars)


_register_binary("add", add)
_register_binary("sub", sub)
_register_binary("mul", mul)
_register_binary("div", div)
_register_binary("maximum", maximum)
_register_binary("minimum", minimum)
_register_binary("clamp_min", maximum)
_register_binary("clamp_max", minimum)


@converts("_foreach_add.Tensor(Tensor[] self, Tensor other, *, Scalar alpha=1) -> Tensor[]")
def foreach_add_tensor(self: Any, other: Any, out: Any, alpha: Any = 1) -> Any:
    return _each(add, out, self, other, alpha=alpha)


@converts("_foreach_mul.Tensor(Tensor[] self, Tensor other) -> Tensor[]")
def foreach_mul_tensor(self: Any, other: Any, out: Any) -> Any:
    return _each(mul, out, self, other)


@converts("_foreach_div.Tensor(Tensor[] self, Tensor other) -> Tensor[]")
def foreach_div_tensor(self: Any, other: Any, out: Any) -> Any:
    return _each(div, out, self, other)


def _register_fused(name: str, function: Callable[..., Any]) -> None:
    tensors = "Tensor[] self, Tensor[] tensor1, Tensor[] tensor2"

    @converts(f"_foreach_{name}.Scalar({tensors}, Scalar value=1) -> Tensor[]")
    def _(self: Any, tensor1: Any, tensor2: Any, out: Any, value: Any = 1) -> Any:
        return _each(_scaled, out, self, tensor1, tensor2, value)

    @converts(f"_foreach_{name}.ScalarList({tensors}, Scalar[] scalars) -> Tensor[]")
    def _(self: Any, tensor1: Any, tensor2: Any, scalars: Any, out: Any) -> Any:
        return _each(_scaled, out, self, tensor1, tensor2, scalars)

    @converts(f"_foreach_{name}.Tensor({tensors}, Tensor scalars) -> Tensor[]")
    def _(self: Any, tensor1: Any, tensor2: Any, scalars: Any, out: Any) -> Any:
        scalar = interned.tensor([], ge.element(scalars))
        factors = ge.Unpack(scalars, num=len(self), axis=0, out=[scalar] * len(self))
        return _each(_scaled, out, self, tensor1, tensor2, list(factors))

    def _scaled(self: Any, first: Any, second: Any, value: Any, out: Any) -> Any:
        return function(self, first, second, out, value)


_register_fused("addcmul", addcmul)
_register_fused("addcdiv", addcdiv)


@converts("_foreach_lerp.List(Tensor[] self, Tensor[] tensors1, Tensor[] weights) -> Tensor[]")
def foreach_lerp_list(self: Any, tensors1: Any, weights: Any, out: Any) -> Any:
    return _each(lerp, out, self, tensors1, weights)


@converts(
    "_foreach_lerp.Scalar(Tensor[] self, Tensor[] tensors1, Scalar weight) -> Tensor[]",
    "_foreach_lerp.ScalarList(Tensor[] self, Tensor[] tensors1, Scalar[] weight) -> Tensor[]",
)
def foreach_lerp_scalar(self: Any, tensors1: Any, weight: Any, out: Any) -> Any:
    return _each(lerp, out, self, tensors1, weight)


@converts(
    "_foreach_pow.List(Tensor[] self, Tensor[] exponent) -> Tensor[]",
    "_foreach_pow.ScalarAndTensor(Scalar self, Tensor[] exponent) -> Tensor[]",
)
def foreach_pow_tensor(self: Any, exponent: Any, out: Any) -> Any:
    return _each(pow_tensor, out, self, exponent)


@converts(
    "_foreach_pow.Scalar(Tensor[] self, Scalar exponent) -> Tensor[]",
    "_foreach_pow.ScalarList(Tensor[] self, Scalar[] exponent) -> Tensor[]",
)
def foreach_pow_scalar(self: Any, exponent: Any, out: Any) -> Any:
    return _each(pow_scalar, out, self, exponent)


@converts("_foreach_frac(Tensor[] self) -> Tensor[]")
def foreach_frac(self: Any, out: Any) -> Any:
    return _each(_fraction, out, self)


def _fraction(value: Any, out: Any) -> Any:
    return sub(value, trunc(value, out), out)


@converts("_foreach_zero(Tensor[] self) -> Tensor[] self_out")
def foreach_zero(self: Any, out: Any) -> Any:
    return _each(_zero, out, self)


def _zero(value: Any, out: Any) -> Any:
    return filled_like(value, 0, out)


@converts("_foreach_max(Tensor[] self) -> Tensor[]")
def foreach_max(self: Any, out: Any) -> Any:
    return _each(amax, out, self)


@converts("_foreach_norm.Scalar(Tensor[] self, Scalar ord=2, ScalarType? dtype=None) -> Tensor[]")
def foreach_norm(self: Any, out: Any, ord: Any = 2, dtype: Any = None) -> Any:
    return _each(linalg_vector_norm, out, self, ord=ord)
