"""Random tensors and dropout.

GE's stateful generators are used with their seeds left at 0, so that every run draws anew; the host
device draws from PyTorch's default generator, in the order and number of eager calls (multinomial
and bernoulli of a tensor have the same distribution, but other numbers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.complex_numbers import is_complex, real_type
from torchair.passes.convert_aten_to_ge.creation import filled_like
from torchair.passes.convert_aten_to_ge.operands import (
    compute,
    has_type,
    is_number,
    number,
    operand,
    shape_of,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_OPTIONS = "ScalarType? dtype=None, Layout? layout=None, Device? device=None, bool? pin_memory=None"
_LONG = "ScalarType? dtype=4, Layout? layout=None, Device? device=None, bool? pin_memory=None"
_FORMAT = "MemoryFormat? memory_format=None"


def _shape_input(self: SSAValue) -> SSAValue | list[int]:
    """Sizes of a tensor for a shape input."""
    sizes = shape_of(self)
    return ge.shape(self) if interned.DYNAMIC in sizes else list(sizes)


def _draw(op: str, sizes: Sequence[Any] | SSAValue, out: Attribute) -> SSAValue:
    """Floating-point numbers of a standard distribution."""
    element = interned.element_type(out)
    if is_complex(out):
        return _draw_complex(op, sizes, out)
    kind = interned.f32 if element == interned.bf16 else element
    shape = sizes if isinstance(sizes, SSAValue) else list(sizes)
    return ge.cast_to(ge.call(op, shape, dtype=kind, out=with_element(out, kind)), element)


def _draw_complex(
    op: str, sizes: Sequence[Any] | SSAValue, out: Attribute, factor: float = 1, offset: float = 0
) -> SSAValue:
    """Both parts are drawn; normal ones have half of the variance each."""
    known = geometry.shape(out)
    pairs = interned.tensor([*known, 2], interned.element_type(real_type(out)))
    if isinstance(sizes, SSAValue):
        rank = interned.tensor([len(known) + 1], interned.i64)
        drawn = _draw(op, ge.ConcatV2([sizes, ge.sizes([2])], 0, N=2, out=rank), pairs)
    else:
        drawn = _draw(op, [*sizes, 2], pairs)
    if op == "RandomStandardNormal":
        factor = factor / math.sqrt(2)
    drawn = _affine(drawn, factor, offset, pairs)
    return ge.Bitcast(drawn, type=interned.element_type(out), out=out)


def _register_distribution(name: str, op: str) -> None:
    @converts(
        f"{name}(SymInt[] size, *, {_OPTIONS}) -> Tensor",
        f"{name}.generator(SymInt[] size, *, Generator? generator, {_OPTIONS}) -> Tensor",
    )
    def _(size: Any, out: Any, dtype: Any = None) -> Any:
        return _draw(op, size, out)

    @converts(f"{name}_like(Tensor self, *, {_OPTIONS}, {_FORMAT}) -> Tensor")
    def _(self: Any, out: Any, dtype: Any = None) -> Any:
        return _draw(op, _shape_input(self), out)


_register_distribution("rand", "RandomUniform")
_register_distribution("randn", "RandomStandardNormal")


@converts(
    "uniform(Tensor self, float from=0., float to=1., *, Generator? generator=None) -> Tensor"
)
def uniform(self: Any, out: Any, from_: Any = 0.0, to: Any = 1.0) -> Any:
    if is_complex(out):
        return _draw_complex("RandomUniform", _shape_input(self), out, to - from_, from_)
    unit = _draw("RandomUniform", _shape_input(self), out)
    return _affine(unit, to - from_, from_, out)


@converts(
    "normal_functional(Tensor self, float mean=0., float std=1., *, Generator? generator=None) "
    "-> Tensor"
)
def normal_functional(self: Any, out: Any, mean: Any = 0.0, std: Any = 1.0) -> Any:
    if is_complex(out):
        return _draw_complex("RandomStandardNormal", _shape_input(self), out, std, mean)
    return _affine(_draw("RandomStandardNormal", _shape_input(self), out), std, mean, out)


def _affine(value: SSAValue, factor: float, offset: float, out: Attribute) -> SSAValue:
    if factor != 1:
        value = compute("Mul", value, factor, out=out)
    return compute("Add", value, offset, out=out) if offset else value


@converts(
    f"randint(SymInt high, SymInt[] size, *, {_LONG}) -> Tensor",
    f"randint.low(SymInt low, SymInt high, SymInt[] size, *, {_LONG}) -> Tensor",
)
def randint(high: Any, size: Any, out: Any, low: Any = 0, dtype: Any = None) -> Any:
    return _draw_integers(low, high, list(size), out)


@converts(
    f"randint_like(Tensor self, SymInt high, *, {_OPTIONS}, {_FORMAT}) -> Tensor",
    f"randint_like.low_dtype(Tensor self, SymInt low, SymInt high, *, {_OPTIONS}, {_FORMAT}) "
    "-> Tensor",
)
def randint_like(self: Any, high: Any, out: Any, low: Any = 0, dtype: Any = None) -> Any:
    return _draw_integers(low, high, _shape_input(self), out)


def _draw_integers(low: Any, high: Any, shape: Any, out: Attribute) -> SSAValue:
    element = interned.element_type(out)
    kind = interned.i32 if element == interned.i32 else interned.i64
    bounds = operand(low, kind), operand(high, kind)
    drawn = ge.call("RandomUniformInt", shape, *bounds, out=with_element(out, kind))
    return ge.cast_to(drawn, element)


@converts(f"randperm(SymInt n, *, {_LONG}) -> Tensor")
def randperm(n: Any, out: Any, dtype: Any = None) -> Any:
    if not is_number(n):
        raise ConversionError(
            "randperm of a symbolic number of elements is not supported",
            hint="mark the size static (torch._dynamo.mark_static) or draw the permutation outside",
        )
    return ge.call("Randperm", n=n, dtype=interned.element_type(out), out=out)


@converts("bernoulli.p(Tensor self, float p, *, Generator? generator=None) -> Tensor")
def bernoulli_p(self: Any, p: Any, out: Any) -> Any:
    return ge.cast_to(_mask(self, p), interned.element_type(out))


@converts("bernoulli.Tensor(Tensor self, Tensor p, *, Generator? generator=None) -> Tensor")
def bernoulli_tensor(self: Any, p: Any, out: Any) -> Any:
    element = ge.element(p)
    unit = _draw("RandomUniform", _shape_input(self), with_element(self.type, element))
    flags = with_element(self.type, interned.i1)
    drawn = compute("Less", unit, p, out=flags, element=element)
    return ge.cast_to(drawn, interned.element_type(out))


@converts(
    "multinomial(Tensor self, SymInt num_samples, bool replacement=False, *, "
    "Generator? generator=None) -> Tensor"
)
def multinomial(self: Any, num_samples: Any, out: Any, replacement: Any = False) -> Any:
    if not is_number(num_samples):
        raise ConversionError(
            "multinomial with a symbolic number of samples is not supported",
            hint="give the number of samples as a constant",
        )
    scalar = interned.tensor([], interned.i64)
    bounds = number(0, interned.i64), number(2**31 - 1, interned.i64)
    seed = ge.call("RandomUniformInt", [], *bounds, out=scalar)
    return ge.call(
        "MultinomialWithReplacement",
        self,
        seed,
        number(0, interned.i64),
        numsamples=num_samples,
        replacement=replacement,
        out=out,
    )


def _mask(like: SSAValue, probability: float) -> SSAValue:
    """Bools that are true with a probability."""
    return ge.call(
        "DropOutGenMaskV4",
        _shape_input(like),
        number(probability, interned.f32),
        dtype=interned.i1,
        out=with_element(like.type, interned.i1),
    )


@converts("native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)")
def native_dropout(input: Any, p: Any, train: Any, out: Any) -> Any:
    result, mask_type = out
    if train is False:
        return input, filled_like(input, 1, mask_type)
    mask = _mask(input, 1.0 - p)
    return _apply_mask(input, mask, 1.0 - p, result), mask


@converts("native_dropout_backward(Tensor grad_output, Tensor mask, float scale) -> Tensor")
def native_dropout_backward(grad_output: Any, mask: Any, scale: Any, out: Any) -> Any:
    return _apply_mask(grad_output, mask, 1.0 / scale if scale else 0.0, out)


def _apply_mask(value: Any, mask: SSAValue, keep: float, out: Attribute) -> SSAValue:
    """Kept elements divided by the probability of keeping them; zeros where that is 0."""
    element = interned.element_type(out)
    if not element_types.is_floating(element) or not has_type("DropOutDoMaskV3", element):
        kept = compute("Mul", value, mask, out=out)
        return compute("Mul", kept, 1.0 / keep if keep else 0.0, out=out)
    return ge.call("DropOutDoMaskV3", value, mask, number(keep, interned.f32), out=out)
