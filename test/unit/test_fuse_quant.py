"""Quantised chains as models write them: that they become single operators, and that the numbers
stay near eager's. Quantised numbers may differ by one where a quotient lies between two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_fusions import compile_and_count, norm_in_float
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # defines quantized_decomposed
from torch.nn import functional

import torchair

quantized = torch.ops.quantized_decomposed
assert _decomposed is not None
SCAFFOLD = {"Data", "Const", "NetOutput", "Reshape", "Unsqueeze", "Squeeze", "StridedSliceV2"}


def check(
    function: Callable[..., Any], inputs: tuple[Any, ...], folder: Any, types: str, **how: Any
) -> None:
    """Check the numbers in units of the largest, and that the named GE types do all the work."""
    with torch.no_grad():
        expected = function(*inputs)
    found, nodes = compile_and_count(function, inputs, folder, **how)
    assert set(nodes) - SCAFFOLD == set(types.split())
    if isinstance(expected, Tensor):
        found, expected = (found,), (expected,)
    for mine, reference in zip(found, expected, strict=True):
        assert mine.dtype is reference.dtype and mine.shape == reference.shape
        assert bool(near(mine, reference))


def near(found: Tensor, expected: Tensor) -> Tensor:
    difference = (found.double() - expected.double()).abs().max()
    if found.dtype is torch.int8:
        return difference <= 1
    size = expected.double().abs().max()
    steps = {torch.float32: 2e-2, torch.float16: 2e-2, torch.bfloat16: 4e-2}
    return difference <= steps[found.dtype] * size


def codes(*shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8)


def weights(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Codes ``[24, 64]``, scales and a bias per output channel."""
    torch.manual_seed(seed)
    return codes(24, 64), torch.rand(24) * 0.01 + 0.001, torch.randn(24)


def outer_scales(x: Tensor, w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return (torch._int_mm(x, w.t()).float() * (rows * columns)).half()


def one_scale_after_the_other(x: Tensor, w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    y = torch._int_mm(x, w.t()) * rows.to(torch.bfloat16)
    return (y * columns.to(torch.bfloat16)).to(torch.bfloat16)


def divided(x: Tensor, w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return (torch._int_mm(x, w.t()) / (1 / rows) / (1 / columns) / 2).to(torch.float16)


def one_number(x: Tensor, w: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return (torch._int_mm(x, w.t()) * 0.0005).to(torch.bfloat16)


DEQUANTISED = {
    outer_scales: "QuantBatchMatmulV3",
    one_scale_after_the_other: "QuantBatchMatmulV3",
    divided: "QuantBatchMatmulV3 Muls",
    one_number: "QuantBatchMatmulV3",
}


@pytest.mark.parametrize("form", list(DEQUANTISED))
def test_dequantised_product(form: Any, tmp_path: Any) -> None:
    w, columns, _ = weights()
    inputs = (codes(32, 64), w, torch.rand(32, 1) * 0.02 + 0.01, columns)
    check(form, inputs, tmp_path, DEQUANTISED[form], dynamic=True)


def by_largest(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = x.abs().max(dim=-1, keepdim=True)[0].clamp(min=1e-5) / 127
    return (x / scale).round().clamp(-128, 127).to(torch.int8), scale


def by_largest_in_float(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.clamp(x.abs().amax(-1, keepdim=True).float() / 127, min=1e-8)
    return torch.clamp(torch.round(x.float() * (1 / scale)), -128, 127).to(torch.int8), scale


def by_unsqueezed(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = (torch.amax(torch.abs(x.to(torch.float32)), dim=-1) / 127.0).unsqueeze(-1)
    return torch.round(x / scale).to(torch.int8), scale


def by_reciprocal(x: Tensor) -> tuple[Tensor, Tensor]:
    factor = 127.0 / x.abs().max(dim=-1, keepdim=True).values.clamp_(min=1e-5).float()
    return (x * factor).round().clamp(-128, 127).to(torch.int8), 1 / factor


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", [by_largest, by_largest_in_float, by_unsqueezed, by_reciprocal])
def test_layer_with_dynamic_quantisation(form: Any, dtype: torch.dtype, tmp_path: Any) -> None:
    def layer(x: Tensor, w: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        q, s = form(x.reshape(-1, x.shape[-1]))
        y = torch._int_mm(q, w.t()).float() * s * scale
        return y.to(x.dtype).reshape(*x.shape[:-1], -1) + bias

    w, scale, bias = weights()
    inputs = (torch.randn(4, 32, 64).to(dtype), w, scale, bias.to(dtype))
    check(layer, inputs, tmp_path, "DynamicQuant QuantBatchMatmulV3", dynamic=True)


def test_dynamic_quantisation_of_zeros_gives_zeros(tmp_path: Any) -> None:
    def layer(x: Tensor, w: Tensor, scale: Tensor) -> Tensor:
        q, s = by_largest_in_float(x)
        return (torch._int_mm(q, w.t()) * (s * scale)).to(x.dtype)

    x = torch.randn(32, 64).half()
    x[3:7] = 0
    found, nodes = compile_and_count(layer, (x, *weights()[:2]), tmp_path)
    assert "DynamicQuant" in nodes
    assert bool((found[3:7] == 0).all()) and not bool(found.isnan().any())


def test_bound_of_a_returned_scale_is_kept(tmp_path: Any) -> None:
    x = torch.zeros(4, 16).half()
    found, nodes = compile_and_count(by_largest, (x,), tmp_path)
    assert torch.equal(found[1], by_largest(x)[1]) and "DynamicQuant" not in nodes


STATIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "columns": lambda x, s: torch.clamp(torch.round(x / s), -128, 127),
    "number": lambda x, s: (x.float() * 20.0).round().clamp(-128, 127),
    "point": lambda x, s: torch.clamp(torch.round(x / 0.05) + 3, -128, 127),
    "clamped first": lambda x, s: torch.round(torch.clamp(x * (1 / s), -128, 127)),
    "one scale": lambda x, s: torch.clamp(torch.round(x / s[:1]) + 5, -128, 127),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", list(STATIC))
def test_static_quantisation(name: str, dtype: torch.dtype, tmp_path: Any) -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(4, 3, 64).to(dtype), (torch.rand(64) * 0.1 + 0.01).to(dtype))
    needs_cast = name in ("columns", "clamped first", "one scale") and dtype is torch.bfloat16
    types = "Quantize Cast" if needs_cast else "Quantize"
    check(lambda x, s: STATIC[name](x, s).to(torch.int8), inputs, tmp_path, types)


def by_number(x: Tensor) -> Tensor:
    return torch.clamp(torch.round(x / 0.03) + 2, -128, 127).to(torch.int8)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("kind", ["AddRmsNormQuant", "AddRmsNormDynamicQuant"])
def test_norm_and_quantisation(kind: str, flat: bool, tmp_path: Any) -> None:
    def block(x: Tensor, residual: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        total = x + residual
        y = norm_in_float(total, gamma)
        y = y.reshape(-1, y.shape[-1]) if flat else y
        found = (by_number(y),) if kind == "AddRmsNormQuant" else by_unsqueezed(y)
        return *found, total

    torch.manual_seed(0)
    inputs = tuple(torch.randn(*s).half() for s in ((2, 3, 64), (2, 3, 64), (64,)))
    types = f"{kind} BroadcastTo" if kind == "AddRmsNormQuant" else kind
    check(block, inputs, tmp_path, types, dynamic=True)


def quantised_linear(x: Tensor, w: Tensor, scales: Tensor, points: Tensor, bias: Tensor) -> Tensor:
    """What PyTorch's flows make of a linear layer: all in float between the quantised tensors."""
    range_ = (-128, 127, torch.int8)
    x = quantized.quantize_per_tensor(x, 0.02, 3, *range_)
    x = quantized.dequantize_per_tensor(x, 0.02, 3, *range_)
    w = quantized.dequantize_per_channel(w, scales, points, 0, *range_)
    y = functional.linear(x, w, bias)
    return quantized.quantize_per_tensor(y, 0.1, -5, *range_)


def symmetric_linear(x: Tensor, w: Tensor, scales: Tensor, points: Tensor, bias: Tensor) -> Tensor:
    range_ = (-128, 127, torch.int8)
    q = quantized.quantize_per_tensor(x.half(), 0.02, 0, *range_)
    x = quantized.dequantize_per_tensor(q, 0.02, 0, *range_, out_dtype=torch.half)
    w = quantized.dequantize_per_tensor(w, 0.01, 0, *range_, out_dtype=torch.half)
    return functional.linear(x, w, bias.half())


LINEARS = {
    quantised_linear: "Quantize MatMulV2 Cast ReduceSum Mul Muls Add Sub",
    symmetric_linear: "Cast Quantize QuantBatchMatmulV3 Add",
}


@pytest.mark.parametrize("form", list(LINEARS))
def test_linear_between_quantised_tensors(form: Any, tmp_path: Any) -> None:
    w, scales, bias = weights()
    inputs = (torch.randn(4, 3, 64), w, scales, torch.randint(-3, 3, (24,)), bias)
    check(form, inputs, tmp_path, LINEARS[form], dynamic=True)


def test_float_layers_stay_between_others_users(tmp_path: Any) -> None:
    """A dequantised tensor that is returned as well is computed for its user."""

    def layer(q: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x = (q.float() - 3) * 0.5
        return x @ (w.float() * 0.25).t(), x

    q, w = codes(32, 64), codes(24, 64)
    found, nodes = compile_and_count(layer, (q, w), tmp_path)
    expected = layer(q, w)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    assert "MatMul" not in nodes


def test_eager_numerics_keep_every_step(tmp_path: Any) -> None:
    def layer(x: Tensor, w: Tensor, scale: Tensor) -> Tensor:
        q, s = by_largest_in_float(x)
        return (torch._int_mm(q, w.t()) * (s * scale)).to(x.dtype)

    torch._dynamo.reset()
    inputs = (torch.randn(32, 64).half(), *weights()[:2])
    config = torchair.CompilerConfig()
    config.numerics = "eager"
    backend = torchair.get_npu_backend(compiler_config=config)
    found = torch.compile(layer, backend=backend, fullgraph=True)(*inputs)
    assert torch.equal(found, layer(*inputs))


class Int8Linear(nn.Module):
    def __init__(self, inner: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("weight", codes(columns, inner))
        self.register_buffer("scale", torch.rand(columns) * 0.002)

    def forward(self, x: Tensor) -> Tensor:
        q, s = by_largest_in_float(x.reshape(-1, x.shape[-1]))
        y = torch._int_mm(q, self.weight.t()).float() * s * self.scale
        return y.to(x.dtype).reshape(*x.shape[:-1], -1)


class Int8FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(64))
        self.gate, self.up, self.down = (Int8Linear(*s) for s in ((64, 96), (64, 96), (96, 64)))

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        total = x + residual
        y = norm_in_float(total, self.gamma)
        return self.down(functional.silu(self.gate(y)) * self.up(y)), total


def test_feed_forward_of_int8_layers(tmp_path: Any) -> None:
    """Layers that read the same tokens share their quantisation, which the norm does."""
    torch.manual_seed(0)
    model = Int8FeedForward().bfloat16()
    x, residual = (torch.randn(2, 32, 64).bfloat16() for _ in range(2))
    with torch.no_grad():
        expected = model(x, residual)
    found, nodes = compile_and_count(model, (x, residual), tmp_path, dynamic=True)
    assert bool(near(found[0], expected[0])) and torch.equal(found[1], expected[1])
    work = Counter(node for node in nodes if "Quant" in node)
    assert work == {"AddRmsNormDynamicQuant": 1, "QuantBatchMatmulV3": 3, "DynamicQuant": 1}
