"""Reductions, cumulative functions and norms."""

from __future__ import annotations

import math
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.comparison import as_bool, select
from torchair.passes.convert_aten_to_ge.complex_numbers import (
    complex_of,
    complex_parts,
    is_complex,
    magnitude_of,
    real_part,
)
from torchair.passes.convert_aten_to_ge.operands import (
    REDUCED,
    compute,
    has_type,
    is_number,
    number,
    shape_of,
    supported_type,
    with_element,
)
from torchair.passes.convert_aten_to_ge.registry import converts


def axes_of(self: Any, dim: Any = None) -> list[int]:
    """Reduced dimensions, not negative and sorted; none given means all."""
    rank = len(shape_of(self))
    if dim is None or dim == []:
        return list(range(rank))
    given: list[int] = [dim] if isinstance(dim, int) else dim
    return sorted({d % max(rank, 1) for d in given})


def reduce(
    op: str, self: Any, dim: Any, out: Attribute, keepdim: bool = False, element: Any = None
) -> SSAValue:
    """Append a GE reduction computed in ``element`` (the result's by default)."""
    wanted = interned.element_type(out)
    kind = supported_type(op, wanted if element is None else element)
    value = ge.cast_to(self, kind)
    if not shape_of(self):
        return ge.cast_to(value, wanted)
    typed = with_element(out, kind)
    reduced = ge.call(op, value, axes_of(self, dim), keep_dims=keepdim, out=typed)
    return ge.cast_to(reduced, wanted)


def kept_type(self: Any, axes: list[int], element: Attribute) -> Attribute:
    """Type of a reduction that keeps the reduced dimensions with size 1."""
    sizes = [1 if i in axes else s for i, s in enumerate(shape_of(self))]
    return interned.tensor(sizes, element)


@converts(
    "sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
    "sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) "
    "-> Tensor",
)
def sum_dims(self: Any, out: Any, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Any:
    return reduce("ReduceSum", self, dim, out, keepdim)


@converts(
    "mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
    "mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
)
def mean(self: Any, out: Any, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Any:
    """Into a 16-bit type from another one, eager computes in float32."""
    element = interned.element_type(out)
    narrows = element in REDUCED and ge.element(self) != element
    return reduce("ReduceMean", self, dim, out, keepdim, interned.f32 if narrows else None)


@converts(
    "prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
    "prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
)
def prod(self: Any, out: Any, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Any:
    return reduce("ReduceProd", self, dim, out, keepdim)


@converts(
    "amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
    "max(Tensor self) -> Tensor",
)
def amax(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
    return reduce("ReduceMax", self, dim, out, keepdim)


@converts(
    "amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor",
    "min(Tensor self) -> Tensor",
)
def amin(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
    return reduce("ReduceMin", self, dim, out, keepdim)


@converts("aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)")
def aminmax(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
    return amin(self, out[0], dim, keepdim), amax(self, out[1], dim, keepdim)


@converts(
    "all(Tensor self) -> Tensor",
    "all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
    "all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
)
def all_dims(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
    return _reduce_truth("ReduceAll", self, dim, keepdim, out)


@converts(
    "any(Tensor self) -> Tensor",
    "any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
    "any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
)
def any_dims(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
    return _reduce_truth("ReduceAny", self, dim, keepdim, out)


def _reduce_truth(op: str, self: Any, dim: Any, keepdim: bool, out: Attribute) -> SSAValue:
    truth = reduce(op, as_bool(self), dim, with_element(out, interned.i1), keepdim)
    return ge.cast_to(truth, interned.element_type(out))


def _register_extreme(name: str) -> None:
    with_value, reduction, position = {
        "max": ("ArgMaxWithValue", "ReduceMax", "ArgMaxV2"),
        "min": ("ArgMinWithValue", "ReduceMin", "ArgMin"),
    }[name]

    @converts(
        f"{name}.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)"
    )
    def _(self: Any, dim: Any, out: Any, keepdim: Any = False) -> Any:
        values, indices = out
        if not shape_of(self):
            return self, number(0, interned.i64)
        (axis,) = axes_of(self, dim)
        if has_type(with_value, ge.element(self)):
            index, value = ge.call(
                with_value,
                self,
                dimension=axis,
                keep_dims=keepdim,
                out=(with_element(indices, interned.i32), values),
            )
            return value, ge.cast_to(index, interned.i64)
        index = _arg_extreme(position, self, axis, keepdim, indices)
        return reduce(reduction, self, axis, values, keepdim), index

    @converts(f"arg{name}(Tensor self, int? dim=None, bool keepdim=False) -> Tensor")
    def _(self: Any, out: Any, dim: Any = None, keepdim: Any = False) -> Any:
        rank = len(shape_of(self))
        if not rank:
            return number(0, interned.i64)
        if dim is not None:
            return _arg_extreme(position, self, axes_of(self, dim)[0], keepdim, out)
        if rank > 1:
            sizes = shape_of(self)
            count = interned.DYNAMIC if interned.DYNAMIC in sizes else math.prod(sizes)
            flat = interned.tensor([count], ge.element(self))
            self = ge.call("Reshape", self, [-1], out=flat)
        index = _arg_extreme(position, self, 0, False, interned.tensor([], interned.i64))
        return ge.call("Reshape", index, [1] * rank, out=out) if keepdim else index


def _arg_extreme(op: str, self: Any, axis: int, keepdim: bool, out: Attribute) -> SSAValue:
    value = ge.cast_to(self, supported_type(op, ge.element(self)))
    if not keepdim:
        return ge.call(op, value, number(axis, interned.i64), out=out)
    sizes = [s for i, s in enumerate(shape_of(self)) if i != axis]
    flat = interned.tensor(sizes, interned.i64)
    index = ge.call(op, value, number(axis, interned.i64), out=flat)
    return ge.call("Unsqueeze", index, axes=[axis], out=out)


_register_extreme("max")
_register_extreme("min")


@converts(
    "std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, "
    "bool keepdim=False) -> Tensor"
)
def std_correction(
    self: Any, out: Any, dim: Any = None, correction: Any = None, keepdim: Any = False
) -> Any:
    return _std_mean(self, dim, correction, keepdim, out)[0]


@converts(
    "std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, "
    "bool keepdim=False) -> (Tensor, Tensor)"
)
def std_mean_correction(
    self: Any, out: Any, dim: Any = None, correction: Any = None, keepdim: Any = False
) -> Any:
    return _std_mean(self, dim, correction, keepdim, out[0])


@converts(
    "var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, "
    "bool keepdim=False) -> Tensor"
)
def var_correction(
    self: Any, out: Any, dim: Any = None, correction: Any = None, keepdim: Any = False
) -> Any:
    return _var_mean(self, dim, correction, keepdim, out)[0]


@converts(
    "var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, "
    "bool keepdim=False) -> (Tensor, Tensor)"
)
def var_mean_correction(
    self: Any, out: Any, dim: Any = None, correction: Any = None, keepdim: Any = False
) -> Any:
    return _var_mean(self, dim, correction, keepdim, out[0])


def _std_mean(
    self: Any, dim: Any, correction: Any, keepdim: bool, out: Attribute
) -> tuple[SSAValue, SSAValue]:
    correction = 1 if correction is None else correction
    if not has_type("ReduceStdV2", ge.element(self)) or correction != int(correction):
        variance, mean_value = _composed_variance(self, dim, correction, keepdim, out)
        return compute("Sqrt", variance, out=out), mean_value
    axes = axes_of(self, dim)
    return ge.call(
        "ReduceStdV2", self, dim=axes, correction=int(correction), keepdim=keepdim, out=(out, out)
    )


def _var_mean(
    self: Any, dim: Any, correction: Any, keepdim: bool, out: Attribute
) -> tuple[SSAValue, SSAValue]:
    correction = 1 if correction is None else correction
    element = ge.element(self)
    if not has_type("ReduceStdV2", element) or correction != int(correction):
        return _composed_variance(self, dim, correction, keepdim, out)
    if correction == 0 and has_type("ReduceMeanVariance", element) and shape_of(self):
        axes = axes_of(self, dim)
        average, variance = ge.call(
            "ReduceMeanVariance", self, axes=axes, keep_dims=keepdim, out=(out, out)
        )
        return variance, average
    wide = with_element(out, interned.f32)
    deviation, average = _std_mean(ge.cast_to(self, interned.f32), dim, correction, keepdim, wide)
    variance = compute("Square", deviation, out=wide)
    return ge.cast_to(variance, element), ge.cast_to(average, element)


def _composed_variance(
    self: Any, dim: Any, correction: Any, keepdim: bool, out: Attribute
) -> tuple[SSAValue, SSAValue]:
    """Variance and mean by their definitions, for what GE's operators do not take."""
    element = ge.element(self)
    if is_complex(self):
        parts = [
            _var_mean(p, dim, correction, keepdim, with_element(out, ge.element(p)))
            for p in complex_parts(self)
        ]
        (first, real), (second, imaginary) = parts
        mean_type = with_element(real.type, element)
        return compute("Add", first, second, out=out), complex_of(real, imaginary, mean_type)
    if element in REDUCED:
        wide = with_element(out, interned.f32)
        pair = _composed_variance(ge.cast_to(self, interned.f32), dim, correction, keepdim, wide)
        return ge.cast_to(pair[0], element), ge.cast_to(pair[1], element)
    axes = axes_of(self, dim)
    kept = kept_type(self, axes, element)
    centre = reduce("ReduceMean", self, axes, kept, True)
    distance = compute("Square", compute("Sub", self, centre, out=self.type), out=self.type)
    total = reduce("ReduceSum", distance, axes, out, keepdim)
    freedom = _degrees_of_freedom(self, axes, float(correction), element)
    variance = compute("RealDiv", total, freedom, out=out)
    return variance, reduce("ReduceMean", self, axes, out, keepdim)


def _degrees_of_freedom(self: Any, axes: list[int], correction: float, element: Attribute) -> Any:
    """Number of reduced elements less the correction, not negative."""
    count: Any = 1
    for axis in axes:
        size = ge.size(self, axis)
        if is_number(size) and is_number(count):
            count *= size
        else:
            count = compute("Mul", count, size, out=interned.tensor([], interned.i64))
    if is_number(count):
        return max(count - correction, 0.0)
    scalar = interned.tensor([], element)
    less = compute("Sub", ge.cast_to(count, element), correction, out=scalar)
    return compute("Maximum", less, 0.0, out=scalar)


def _register_cumulative(name: str, op: str) -> None:
    @converts(f"{name}(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor")
    def _(self: Any, dim: Any, out: Any, dtype: Any = None) -> Any:
        return _accumulate(op, self, dim, out)


def _accumulate(op: str, self: Any, dim: int, out: Attribute) -> SSAValue:
    element = interned.element_type(out)
    kind = supported_type(op, element)
    value = ge.cast_to(self, kind)
    if not shape_of(self):
        return ge.cast_to(value, element)
    axis = number(axes_of(self, dim)[0], interned.i32)
    return ge.cast_to(ge.call(op, value, axis, out=with_element(out, kind)), element)


_register_cumulative("cumsum", "Cumsum")
_register_cumulative("cumprod", "Cumprod")


@converts("logcumsumexp(Tensor self, int dim) -> Tensor")
def logcumsumexp(self: Any, dim: Any, out: Any) -> Any:
    return _accumulate("CumulativeLogsumexp", self, dim, out)


def _register_running(name: str, op: str, attribute: str) -> None:
    @converts(f"{name}(Tensor self, int dim) -> (Tensor values, Tensor indices)")
    def _(self: Any, dim: Any, out: Any) -> Any:
        if not shape_of(self):
            return self, number(0, interned.i64)
        return ge.call(op, self, **{attribute: axes_of(self, dim)[0]}, out=tuple(out))


_register_running("cummax", "Cummax", "dim")
_register_running("cummin", "Cummin", "axis")


@converts("logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor")
def logsumexp(self: Any, dim: Any, out: Any, keepdim: Any = False) -> Any:
    """The largest element is taken out first, so that no exponential overflows."""
    element = interned.element_type(out)
    value = ge.cast_to(self, element)
    if is_complex(value):
        return _complex_logsumexp(value, axes_of(self, dim), keepdim, out)
    if not shape_of(self):
        return value
    axes = axes_of(self, dim)
    kept = kept_type(self, axes, element)
    largest = reduce("ReduceMax", value, axes, kept, True)
    infinite = compute("IsInf", largest, out=with_element(kept, interned.i1), element=element)
    largest = select(infinite, 0, largest, kept)
    centred = compute("Sub", value, largest, out=value.type)
    total = reduce("ReduceLogSumExp", centred, axes, out, keepdim)
    if not keepdim:
        largest = ge.call("Squeeze", largest, axis=axes, out=out)
    return compute("Add", total, largest, out=out)


def _complex_logsumexp(x: SSAValue, axes: list[int], keepdim: bool, out: Attribute) -> SSAValue:
    """By definition, with the largest real part taken out."""
    part = real_part(x)
    kept = kept_type(part, axes, ge.element(part))
    largest = reduce("ReduceMax", part, axes, kept, True)
    infinite = compute(
        "IsInf", largest, out=with_element(kept, interned.i1), element=ge.element(part)
    )
    largest = ge.cast_to(select(infinite, 0, largest, kept), ge.element(x))
    terms = compute("Exp", compute("Sub", x, largest, out=x.type), out=x.type)
    total = reduce("ReduceSum", terms, axes, out, keepdim)
    if not keepdim and shape_of(x):
        largest = ge.call("Squeeze", largest, axis=axes, out=out)
    return compute("Add", compute("Log", total, out=out), largest, out=out)


@converts(
    "linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, "
    "ScalarType? dtype=None) -> Tensor"
)
def linalg_vector_norm(
    self: Any, out: Any, ord: Any = 2, dim: Any = None, keepdim: Any = False, dtype: Any = None
) -> Any:
    element = interned.element_type(out)
    value = ge.cast_to(magnitude_of(self), element)
    axes = axes_of(self, dim)
    if has_type("LpNormV2", element) and axes:
        return ge.call(
            "LpNormV2", value, p=float(ord), axes=axes, keepdim=keepdim, epsilon=0.0, out=out
        )
    return _composed_norm(value, float(ord), axes, keepdim, out)


def _composed_norm(
    value: Any, order: float, axes: list[int], keepdim: bool, out: Attribute
) -> SSAValue:
    element = ge.element(value)
    if order == 0:
        flags = with_element(value.type, interned.i1)
        marks = compute("NotEqual", value, 0, out=flags, element=element)
        return reduce("ReduceSum", marks, axes, out, keepdim)
    size = compute("Abs", value, out=value.type)
    if not axes:
        return size
    if math.isinf(order):
        return reduce("ReduceMax" if order > 0 else "ReduceMin", size, axes, out, keepdim)
    if order == 1:
        return reduce("ReduceSum", size, axes, out, keepdim)
    powers = compute("Pow", size, order, out=value.type)
    total = reduce("ReduceSum", powers, axes, out, keepdim)
    return compute("Pow", total, 1 / order, out=out)


@converts("count_nonzero(Tensor self, int? dim=None) -> Tensor")
def count_nonzero(self: Any, out: Any, dim: Any = None) -> Any:
    return reduce("ReduceSum", as_bool(self), dim, out)
