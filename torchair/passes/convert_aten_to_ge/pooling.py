"""Maximum, average and adaptive pooling, channels first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape
from torchair.passes.convert_aten_to_ge.recipes import (
    has_type,
    like,
    require,
    static_ints,
    unsqueeze,
    with_ones,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_INT64 = 9
"""``ge::DataType`` number of int64."""
_INT32 = 3


def _numbers(values: Any, spatial: int, default: Any = None) -> list[int]:
    """One number per spatial dimension; an empty list stands for the default."""
    listed = [values] if isinstance(values, int) else values
    given = static_ints(listed, "a size of a pooling window") or default
    return given * spatial if len(given) == 1 else given


def _pairs(padding: list[int]) -> list[int]:
    return [p for p in padding for _ in range(2)]


def _batched(
    compute: Callable[[SSAValue, list[Attribute]], list[SSAValue]],
    value: SSAValue,
    spatial: int,
    types: list[Attribute],
) -> list[SSAValue]:
    """Run a computation on a value with a batch dimension, which is removed from its results."""
    if rank(value) == spatial + 2:
        return compute(value, types)
    wide = [like(t, with_ones(shape(t), [0])) for t in types]
    results = compute(unsqueeze(value, [0]), wide)
    return [ge.Squeeze(r, axis=[0], out=t) for r, t in zip(results, types, strict=True)]


@converts(
    "max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], "
    "int[2] padding=0, int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)"
)
def max_pool2d_with_indices(
    self: Any,
    kernel_size: Any,
    out: Any,
    stride: Any = (),
    padding: Any = (0,),
    dilation: Any = (1,),
    ceil_mode: Any = False,
) -> Any:
    """The indices have an operator of their own, which is dead code unless they are used."""
    kernel = _numbers(kernel_size, 2)
    window = [kernel, _numbers(stride, 2, kernel), _numbers(padding, 2), _numbers(dilation, 2)]

    def compute(x: SSAValue, types: list[Attribute]) -> list[SSAValue]:
        y, indices = _max_pool_planes(x, window, ceil_mode, types)
        if window[3] == [1, 1] and has_type("MaxPoolV3", ge.element(x)):
            y = _max_pool(x, window, ceil_mode, types[0])
        return [y, indices]

    return _batched(compute, self, 2, out)


def _max_pool(x: SSAValue, window: list[list[int]], ceil_mode: bool, out: Attribute) -> SSAValue:
    kernel, stride, padding, _ = window
    return ge.MaxPoolV3(
        x,
        ksize=[1, 1, *kernel],
        strides=[1, 1, *stride],
        pads=_pairs(padding),
        ceil_mode=ceil_mode,
        out=out,
    )


def _max_pool_planes(
    x: SSAValue, window: list[list[int]], ceil_mode: bool, types: list[Attribute]
) -> tuple[SSAValue, SSAValue]:
    """Maxima and their places in each plane, with GE's pooling over volumes of depth 1."""
    kernel, stride, padding, dilation = window
    volume = unsqueeze(x, [2])
    wide = [like(t, with_ones(shape(t), [2])) for t in types]
    results = _max_pool_volumes(
        volume, [[1, *kernel], [1, *stride], [0, *padding], [1, *dilation]], ceil_mode, wide
    )
    y, indices = (ge.Squeeze(r, axis=[2], out=t) for r, t in zip(results, types, strict=True))
    return y, indices


def _max_pool_volumes(
    x: SSAValue, window: list[list[int]], ceil_mode: bool, types: list[Attribute]
) -> list[SSAValue]:
    require("MaxPool3DWithArgmaxV2", x)
    kernel, stride, padding, dilation = window
    y, indices = ge.MaxPool3DWithArgmaxV2(
        x,
        ksize=kernel,
        strides=stride,
        pads=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        dtype=_INT64,
        out=tuple(types),
    )
    return [y, indices]


@converts(
    "max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], "
    "int[3] padding=0, int[3] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)"
)
def max_pool3d_with_indices(
    self: Any,
    kernel_size: Any,
    out: Any,
    stride: Any = (),
    padding: Any = (0,),
    dilation: Any = (1,),
    ceil_mode: Any = False,
) -> Any:
    kernel = _numbers(kernel_size, 3)
    window = [kernel, _numbers(stride, 3, kernel), _numbers(padding, 3), _numbers(dilation, 3)]
    return _batched(lambda x, types: _max_pool_volumes(x, window, ceil_mode, types), self, 3, out)


@converts(
    "max_pool2d_with_indices_backward(Tensor grad_output, Tensor self, int[2] kernel_size, "
    "int[2] stride, int[2] padding, int[2] dilation, bool ceil_mode, Tensor indices) -> Tensor"
)
def max_pool2d_with_indices_backward(
    grad_output: Any,
    self: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    indices: Any,
    out: Any,
) -> Any:
    """GE's gradient wants the maxima's places in its own form, so they are found again."""
    if rank(self) == 3 or not has_type("MaxPoolWithArgmaxV1", ge.element(self)):
        return _scattered(grad_output, self, indices, 2, out)
    kernel = _numbers(kernel_size, 2)
    attributes = {
        "ksize": [1, *kernel, 1],
        "strides": [1, *_numbers(stride, 2, kernel), 1],
        "pads": [1, *_numbers(padding, 2), 1],
        "dilation": [1, *_numbers(dilation, 2), 1],
        "dtype": _INT32,
        "ceil_mode": ceil_mode,
    }
    types = (like(grad_output.type, shape(indices)), interned.tensor(shape(indices), interned.i32))
    places = ge.MaxPoolWithArgmaxV1(self, out=types, **attributes)[1]
    return ge.MaxPoolGradWithArgmaxV1(self, grad_output, places, out=out, **attributes)


@converts(
    "max_pool3d_with_indices_backward(Tensor grad_output, Tensor self, int[3] kernel_size, "
    "int[3] stride, int[3] padding, int[3] dilation, bool ceil_mode, Tensor indices) -> Tensor"
)
def max_pool3d_with_indices_backward(
    grad_output: Any,
    self: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    indices: Any,
    out: Any,
) -> Any:
    return _scattered(grad_output, self, indices, 3, out)


def _scattered(
    grad: SSAValue, source: SSAValue, indices: SSAValue, spatial: int, out: Attribute
) -> SSAValue:
    """Add each gradient to the place of its maximum, all spatial dimensions taken as one."""
    outer = rank(source) - spatial
    flat = [*shape(source)[:outer], interned.DYNAMIC]

    def flatten(value: SSAValue) -> SSAValue:
        return ge.FlattenV2(value, axis=outer, out=like(value.type, flat))

    zeros = ge.ZerosLike(source, out=source.type)
    added = ge.ScatterElements(
        flatten(zeros),
        flatten(indices),
        flatten(grad),
        axis=outer,
        reduction="add",
        out=like(grad.type, flat),
    )
    size = ge.shape(source) if _is_dynamic(source) else list(shape(source))
    return ge.Reshape(added, size, out=out)


def _is_dynamic(value: SSAValue) -> bool:
    return interned.DYNAMIC in shape(value)


def _size_operand(value: SSAValue) -> Any:
    """The sizes of a value as an int32 operand."""
    return ge.shape(value, interned.i32) if _is_dynamic(value) else list(shape(value))


def _average_attributes(
    spatial: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
) -> dict[str, Any]:
    """Attributes of GE's average pooling; the ranks name the treatment of padding differently."""
    kernel = _numbers(kernel_size, spatial)
    flat = spatial == 2
    counting = {"exclusive": not count_include_pad} if flat else {
        "count_include_pad": count_include_pad}  # fmt: skip
    return {
        "ksize": [1, 1, *kernel],
        "strides": [1, 1, *_numbers(stride, spatial, kernel)],
        "pads": _pairs(_numbers(padding, spatial)),
        "data_format": "NCHW" if flat else "NCDHW",
        "ceil_mode": ceil_mode,
        "divisor_override": divisor_override or 0,
        **counting,
    }


def _average(operator: str, self: SSAValue, out: Attribute, attributes: dict[str, Any]) -> SSAValue:
    require(operator, self)
    spatial = 3 if operator == "AvgPool3D" else 2

    def compute(x: SSAValue, types: list[Attribute]) -> list[SSAValue]:
        return [ge.call(operator, x, out=types[0], **attributes)]

    return _batched(compute, self, spatial, [out])[0]


def _average_gradient(
    operator: str, grad: SSAValue, self: SSAValue, out: Attribute, attributes: dict[str, Any]
) -> SSAValue:
    require(operator.removesuffix("Grad"), grad)
    spatial = 3 if operator == "AvgPool3DGrad" else 2
    if rank(self) == spatial + 2:
        return ge.call(operator, _size_operand(self), grad, out=out, **attributes)
    x, dy = unsqueeze(self, [0]), unsqueeze(grad, [0])
    dx = ge.call(operator, _size_operand(x), dy, out=x.type, **attributes)
    return ge.Squeeze(dx, axis=[0], out=out)


@converts(
    "avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, "
    "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor"
)
def avg_pool2d(
    self: Any,
    kernel_size: Any,
    out: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Any:
    attributes = _average_attributes(
        2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _average("AvgPoolV2", self, out, attributes)


@converts(
    "avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, "
    "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor"
)
def avg_pool3d(
    self: Any,
    kernel_size: Any,
    out: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: Any = False,
    count_include_pad: Any = True,
    divisor_override: Any = None,
) -> Any:
    attributes = _average_attributes(
        3, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _average("AvgPool3D", self, out, attributes)


@converts(
    "avg_pool2d_backward(Tensor grad_output, Tensor self, int[2] kernel_size, int[2] stride, "
    "int[2] padding, bool ceil_mode, bool count_include_pad, int? divisor_override) -> Tensor"
)
def avg_pool2d_backward(
    grad_output: Any,
    self: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
    out: Any,
) -> Any:
    attributes = _average_attributes(
        2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _average_gradient("AvgPoolV2Grad", grad_output, self, out, attributes)


@converts(
    "avg_pool3d_backward(Tensor grad_output, Tensor self, int[3] kernel_size, int[3] stride, "
    "int[3] padding, bool ceil_mode, bool count_include_pad, int? divisor_override) -> Tensor"
)
def avg_pool3d_backward(
    grad_output: Any,
    self: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any,
    out: Any,
) -> Any:
    attributes = _average_attributes(
        3, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return _average_gradient("AvgPool3DGrad", grad_output, self, out, attributes)


@converts("_adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor")
def adaptive_avg_pool2d(self: Any, output_size: Any, out: Any) -> Any:
    if has_type("AdaptiveAvgPool2d", ge.element(self)):
        size = static_ints(output_size, "output_size of adaptive_avg_pool2d")
        return ge.AdaptiveAvgPool2d(self, output_size=size, out=out)
    return _average("AvgPoolV2", self, out, _even_windows(self, out, 2))


@converts("_adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor")
def adaptive_avg_pool3d(self: Any, output_size: Any, out: Any) -> Any:
    """Planes first, then the depth, unless all windows are alike."""
    even = _divides(shape(self)[-3:], shape(out)[-3:]) and has_type("AvgPool3D", ge.element(self))
    if not even and has_type("AdaptiveAvgPool2d", ge.element(self)):
        return _pool_planes_then_depth(self, out)
    return _average("AvgPool3D", self, out, _even_windows(self, out, 3))


def _pool_planes_then_depth(x: SSAValue, out: Attribute) -> SSAValue:
    """Mean over windows as the mean over depth of means over planes, rounded once."""
    element = interned.element_type(out)
    if element in (interned.f16, interned.bf16):
        wide = _pool_planes_then_depth(
            ge.cast_to(x, interned.f32), interned.tensor(shape(out), interned.f32)
        )
        return ge.cast_to(wide, element)
    depth, height, width = shape(out)[-3:]
    if interned.DYNAMIC in (depth, height, width):
        raise ConversionError("output_size of adaptive_avg_pool3d is symbolic", found=out)
    large, unknown, area = shape(x)[-3:], interned.DYNAMIC, height * width
    outer = [ge.size(x, d) for d in range(rank(x) - 3)]
    sizes = [ge.size(x, d) for d in range(rank(x) - 3, rank(x))]
    planes = ge.Reshape(x, [-1, *sizes], out=like(out, [unknown, *large]))
    means = ge.AdaptiveAvgPool2d(
        planes, output_size=[height, width], out=like(out, [unknown, large[0], height, width])
    )
    lines = ge.Reshape(means, [-1, 1, sizes[0], area], out=like(out, [unknown, 1, large[0], area]))
    pooled = ge.AdaptiveAvgPool2d(
        lines, output_size=[depth, area], out=like(out, [unknown, 1, depth, area])
    )
    return ge.Reshape(pooled, [*outer, depth, height, width], out=out)


@converts("_adaptive_avg_pool2d_backward(Tensor grad_output, Tensor self) -> Tensor")
def adaptive_avg_pool2d_backward(grad_output: Any, self: Any, out: Any) -> Any:
    if not _is_dynamic(self) and has_type("AdaptiveAvgPool2dGrad", ge.element(self)):
        return ge.AdaptiveAvgPool2dGrad(grad_output, orig_input_shape=list(shape(self)), out=out)
    attributes = _even_windows(self, grad_output.type, 2)
    return _average_gradient("AvgPoolV2Grad", grad_output, self, out, attributes)


@converts("_adaptive_avg_pool3d_backward(Tensor grad_output, Tensor self) -> Tensor")
def adaptive_avg_pool3d_backward(grad_output: Any, self: Any, out: Any) -> Any:
    attributes = _even_windows(self, grad_output.type, 3)
    return _average_gradient("AvgPool3DGrad", grad_output, self, out, attributes)


def _divides(large: Sequence[int], small: Sequence[int]) -> bool:
    """Whether sizes are static multiples of others."""
    static = interned.DYNAMIC not in (*large, *small) and 0 not in small
    return static and not any(a % b for a, b in zip(large, small, strict=True))


def _even_windows(source: SSAValue, pooled: Attribute, spatial: int) -> dict[str, Any]:
    """Adaptive pooling as pooling with equal windows that do not overlap.

    Raises:
        ConversionError: the windows would differ, or a size is symbolic.
    """
    large, small = shape(source)[-spatial:], shape(pooled)[-spatial:]
    if not _divides(large, small):
        raise ConversionError(
            "GE pools adaptively here only into equal windows of static size",
            expected="input sizes that are multiples of the output sizes",
            found=f"{large} to {small}",
            hint="use avg_pool with a fixed kernel, or float32 and static sizes in two dimensions",
        )
    kernel = [a // b for a, b in zip(large, small, strict=True)]
    return _average_attributes(spatial, kernel, kernel, [0], False, True, None)


@converts("adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)")
def adaptive_max_pool2d(self: Any, output_size: Any, out: Any) -> Any:
    size = static_ints(output_size, "output_size of adaptive_max_pool2d")
    exact = has_type("AdaptiveMaxPool2d", ge.element(self))
    x = self if exact else ge.cast_to(self, interned.f32)
    types = (interned.tensor(shape(out[0]), ge.element(x)), out[1])
    y, indices = ge.AdaptiveMaxPool2d(x, output_size=size, out=types)
    return ge.cast_to(y, interned.element_type(out[0])), indices


@converts("adaptive_max_pool2d_backward(Tensor grad_output, Tensor self, Tensor indices) -> Tensor")
def adaptive_max_pool2d_backward(grad_output: Any, self: Any, indices: Any, out: Any) -> Any:
    return _scattered(grad_output, self, indices, 2, out)
