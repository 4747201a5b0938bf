"""Discrete Fourier transforms: GE's operators transform the last one or two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.interned import DYNAMIC
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.complex_numbers import (
    conjugate,
    real_part,
    real_type,
)
from torchair.passes.convert_aten_to_ge.geometry import Size
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.recipes import scale
from torchair.passes.convert_aten_to_ge.registry import converts

_BY_ROOT, _BY_LENGTH = 1, 2
"""Values of ``normalization`` (``fft_norm_mode``); 0 leaves sums as they are."""
_SCALAR = interned.tensor([], interned.i64)


class _Axes:
    """A tensor whose dimensions are permuted as transforms need them, and put back once.

    Attributes:
        value: the tensor as it is now.
        order: which original dimension stands in each place.
    """

    def __init__(self, value: SSAValue) -> None:
        self.value = value
        self.order: list[int] = list(range(geometry.rank(value)))

    def bring_last(self, dims: Sequence[int]) -> None:
        """Put these original dimensions last, in this order."""
        self._permute([d for d in self.order if d not in dims] + list(dims))

    def restored(self) -> SSAValue:
        """The tensor with its dimensions in the original order."""
        self._permute(sorted(self.order))
        return self.value

    def _permute(self, wanted: list[int]) -> None:
        if wanted == self.order:
            return
        perm = [self.order.index(d) for d in wanted]
        sizes = geometry.shape(self.value)
        out = interned.tensor([sizes[p] for p in perm], ge.element(self.value))
        self.value = ge.Transpose(self.value, perm, out=out)
        self.order = wanted

    def transform(self, dims: Sequence[int], *, forward: bool) -> None:
        """FFT over these original dimensions, two at a time; inverse ones divide by the length."""
        rest: list[int] = list(dims)
        while rest:
            group = [d for d in self.order if d in rest][-2:]
            rest = [d for d in rest if d not in group]
            self.bring_last(group)
            name = ("FFT" if forward else "IFFT") + ("2D" if len(group) == 2 else "")
            self.value = ge.call(name, self.value, out=self.value.type)


def _scaled(
    value: SSAValue, sizes: Sequence[Size], normalization: int, *, divided: bool
) -> SSAValue:
    """A transform with PyTorch's factor.

    Args:
        value: the transform, or its input: it is linear.
        sizes: lengths of the transformed dimensions.
        normalization: 0 sums, 1 divides by the root of the number of elements, 2 by the number.
        divided: whether GE's operators divide by the number already.
    """
    wanted = {_BY_ROOT: 0.5, _BY_LENGTH: 1.0}.get(normalization, 0.0)
    exponent = (1.0 if divided else 0.0) - wanted
    if exponent == 0.0:
        return value
    total: Size = 1
    for size in sizes:
        total = geometry.times(total, size)
    if isinstance(total, int):
        return _times(value, float(total) ** exponent if total else 1.0)
    return _times(value, _power(total, exponent, _real_element(value)))


def _power(total: SSAValue, exponent: float, element: Attribute) -> SSAValue:
    """A 0-d tensor: the number of elements to the power 1, -1, 0.5 or -0.5."""
    count, out = ge.cast_to(total, element), interned.tensor([], element)
    if abs(exponent) == 0.5:
        return ge.call("Sqrt" if exponent > 0 else "Rsqrt", count, out=out)
    return count if exponent > 0 else ge.call("Reciprocal", count, out=out)


def _real_element(value: SSAValue) -> Attribute:
    element = ge.element(value)
    is_real = element in (interned.f32, interned.f64)
    return element if is_real else interned.element_type(real_type(value.type))


def _times(value: SSAValue, factor: Any) -> SSAValue:
    if ge.element(value) in (interned.f32, interned.f64):
        return scale(value, factor)
    return ge.call("Mul", value, operand(factor, ge.element(value)), out=value.type)


def _is_empty(out: Attribute) -> bool:
    return 0 in geometry.shape(out)


def _dims(self: SSAValue, dim: Sequence[int]) -> list[int]:
    return geometry.axes(dim, geometry.rank(self))


@converts("_fft_c2c(Tensor self, SymInt[] dim, int normalization, bool forward) -> Tensor")
def fft_c2c(self: Any, dim: Any, normalization: Any, forward: Any, out: Any) -> Any:
    real_type(out)
    dims = _dims(self, dim)
    if not dims or _is_empty(out):
        return self
    axes = _Axes(self)
    axes.transform(dims, forward=forward)
    sizes = [ge.size(self, d) for d in dims]
    return _scaled(axes.restored(), sizes, normalization, divided=not forward)


@converts("prims::fft_c2c(Tensor self, *, int[] dim, bool forward) -> Tensor")
def prims_fft_c2c(self: Any, dim: Any, forward: Any, out: Any) -> Any:
    return fft_c2c(self, dim, 0, forward, out)


@converts("_fft_r2c(Tensor self, int[] dim, int normalization, bool onesided) -> Tensor")
def fft_r2c(self: Any, dim: Any, normalization: Any, onesided: Any, out: Any) -> Any:
    real_type(out)
    dims = _dims(self, dim)
    if _is_empty(out):
        raise ConversionError(
            "a Fourier transform of an empty tensor", hint="guard the call by x.numel()"
        )
    sizes = [ge.size(self, d) for d in dims]
    source = _scaled(self, sizes, normalization, divided=False)
    if not onesided:
        axes = _Axes(ge.cast_to(source, interned.element_type(out)))
        axes.transform(dims, forward=True)
        return axes.restored()
    axes = _Axes(source)
    axes.bring_last(dims[-1:])
    axes.value = _half_spectrum(axes.value, sizes[-1], geometry.shape(out)[dims[-1]])
    axes.transform(dims[:-1], forward=True)
    return axes.restored()


@converts("prims::fft_r2c(Tensor self, *, int[] dim, bool onesided) -> Tensor")
def prims_fft_r2c(self: Any, dim: Any, onesided: Any, out: Any) -> Any:
    return fft_r2c(self, dim, 0, onesided, out)


def _half_spectrum(value: SSAValue, length: Size, half: int) -> SSAValue:
    """Non-negative frequencies of the last dimension of real numbers; RFFT takes float32 only."""
    leading = geometry.shape(value)[:-1]
    if ge.element(value) == interned.f32:
        out = interned.tensor([*leading, half], interned.complex64)
        return ge.RFFT(value, ge.sizes([length], interned.i32), out=out)
    spectrum = ge.cast_to(value, interned.complex128)
    spectrum = ge.FFT(spectrum, out=spectrum.type)
    return _slice_last(spectrum, 0, geometry.plus(geometry.quotient(length, 2), 1), half)


def _slice_last(value: SSAValue, start: Size, end: Size, length: int) -> SSAValue:
    """``value[..., start:end]``."""
    last = geometry.rank(value) - 1
    out = interned.tensor([*geometry.shape(value)[:-1], length], ge.element(value))
    return ge.StridedSliceV2(
        value, ge.sizes([start]), ge.sizes([end]), ge.sizes([last]), None, out=out
    )


@converts("_fft_c2r(Tensor self, int[] dim, int normalization, SymInt last_dim_size) -> Tensor")
def fft_c2r(self: Any, dim: Any, normalization: Any, last_dim_size: Any, out: Any) -> Any:
    real_type(self.type)
    dims = _dims(self, dim)
    if _is_empty(out) or _is_empty(self.type):
        raise ConversionError(
            "a Fourier transform of an empty tensor", hint="guard the call by x.numel()"
        )
    sizes = [*(ge.size(self, d) for d in dims[:-1]), last_dim_size]
    axes = _Axes(self)
    axes.transform(dims[:-1], forward=False)
    axes.bring_last(dims[-1:])
    axes.value = _real_signal(axes.value, last_dim_size, geometry.shape(out)[dims[-1]])
    return _scaled(axes.restored(), sizes, normalization, divided=True)


@converts("prims::fft_c2r(Tensor self, *, int[] dim, SymInt last_dim_size) -> Tensor")
def prims_fft_c2r(self: Any, dim: Any, last_dim_size: Any, out: Any) -> Any:
    return fft_c2r(self, dim, 0, last_dim_size, out)


def _real_signal(value: SSAValue, length: Size, static_length: int) -> SSAValue:
    """Inverse of ``_half_spectrum``; IRFFT gives float32 only."""
    leading = geometry.shape(value)[:-1]
    if ge.element(value) == interned.complex64:
        out = interned.tensor([*leading, static_length], interned.f32)
        return ge.IRFFT(value, ge.sizes([length], interned.i32), out=out)
    return real_part(_inverse(_whole_spectrum(value, length)))


def _inverse(value: SSAValue) -> SSAValue:
    return ge.IFFT(value, out=value.type)


def _whole_spectrum(value: SSAValue, length: Size) -> SSAValue:
    """The negative frequencies are the conjugates of the positive ones."""
    half = geometry.plus(geometry.quotient(length, 2), 1)
    count = geometry.minus(length, half)
    last, element = geometry.rank(value) - 1, ge.element(value)
    leading = geometry.shape(value)[:-1]
    positive = value
    if not isinstance(half, int) or geometry.shape(value)[-1] != half:
        positive = _slice_last(value, 0, half, _known(half))
    if count == 0:
        return positive
    part = _slice_last(value, 1, geometry.plus(count, 1), _known(count))
    mirrored = ge.ReverseV2(part, [last], out=part.type)
    out = interned.tensor([*leading, _known(length)], element)
    return ge.ConcatV2([positive, conjugate(mirrored)], last, N=2, out=out)


def _known(size: Size) -> int:
    return size if isinstance(size, int) else DYNAMIC
