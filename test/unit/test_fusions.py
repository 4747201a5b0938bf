"""Fusions on the forms that models write: that they fire, and that the numbers stay within the
numeric class of the pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import torchair
from torchair.backend_ge.graph_text import read_graph_file

TOLERANCE = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def compile_and_count(
    function: Callable[..., Any], inputs: tuple[Any, ...], folder: Any, *, dynamic: bool = False
) -> tuple[Any, list[str]]:
    """Results of the compiled function, and the GE operator types of its graph; ``dynamic`` makes
    the leading sizes of tensors of several dimensions symbolic."""
    torch._dynamo.reset()
    for tensor in inputs:
        if dynamic and tensor.dim() > 1:
            torch._dynamo.maybe_mark_dynamic(tensor, [0] if tensor.dim() < 4 else [0, 2])
    config = torchair.CompilerConfig()
    config.debug.ir_dump.path = str(folder)
    backend = torchair.get_npu_backend(compiler_config=config)
    with torch.no_grad():
        found = torch.compile(function, backend=backend, fullgraph=True)(*inputs)
    [path] = folder.rglob("*graph.pbtxt")
    return found, [node.type for node in read_graph_file(path).graph[0].op]


def check(
    function: Callable[..., Any], inputs: tuple[Any, ...], folder: Any, types: str, **how: Any
) -> None:
    """Check the numbers against eager, and that every named GE type is in the graph, no other."""
    with torch.no_grad():
        expected = function(*inputs)
    found, nodes = compile_and_count(function, inputs, folder, **how)
    limit = TOLERANCE[inputs[0].dtype]
    torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
    computing = {
        n for n in nodes if n not in ("Data", "Const", "NetOutput", "Reshape", "Unsqueeze")
    }
    assert computing == set(types.split())


def norm_times_weight(x: Tensor, w: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w


def norm_in_float(x: Tensor, w: Tensor) -> Tensor:
    wide = x.to(torch.float32)
    return w * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)


def norm_by_division(x: Tensor, w: Tensor) -> Tensor:
    wide = x.float()
    return (wide / torch.sqrt((wide * wide).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * w


def norm_narrowed_at_the_end(x: Tensor, w: Tensor) -> Tensor:
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
    return (wide * scale * w.float()).to(x.dtype)


def norm_of_torch(x: Tensor, w: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],), w, 1e-6)


RMS_NORMS = (
    norm_times_weight,
    norm_in_float,
    norm_by_division,
    norm_narrowed_at_the_end,
    norm_of_torch,
)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", RMS_NORMS)
def test_rms_norm(norm: Any, dtype: torch.dtype, dynamic: bool, tmp_path: Any) -> None:
    if norm is norm_times_weight and dtype is not torch.float32:
        dtype = torch.float32  # without the casts, half precision means other numbers
    inputs = (torch.randn(3, 5, 16, dtype=dtype), torch.randn(16, dtype=dtype))
    check(norm, inputs, tmp_path, "RmsNorm", dynamic=dynamic)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_residual_add_and_rms_norm(dtype: torch.dtype, tmp_path: Any) -> None:
    def block(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        total = x + y
        return norm_in_float(total, w), total

    inputs = tuple(torch.randn(*shape, dtype=dtype) for shape in ((4, 16), (4, 16), (16,)))
    check(block, inputs, tmp_path, "AddRmsNorm")


class Gated(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], first: bool) -> None:
        super().__init__()
        self.activation, self.first = activation, first

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return self.activation(a) * b if self.first else a * self.activation(b)


@pytest.mark.parametrize("dynamic", [False, True])
def test_swiglu(dynamic: bool, tmp_path: Any) -> None:
    model = Gated(functional.silu, True)
    check(model, (torch.randn(3, 4, 32),), tmp_path, "SwiGlu", dynamic=dynamic)


def test_geglu(tmp_path: Any) -> None:
    check(Gated(functional.gelu, False), (torch.randn(3, 4, 32),), tmp_path, "GeGluV2")


def rotate_half(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotary_embedding(dtype: torch.dtype, dynamic: bool, tmp_path: Any) -> None:
    def rotary(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin

    angles = torch.randn(2, 5, 8).repeat(1, 1, 2)
    inputs = (
        torch.randn(2, 4, 5, 16, dtype=dtype),
        torch.randn(2, 2, 5, 16, dtype=dtype),
        angles.cos().to(dtype),
        angles.sin().to(dtype),
    )
    check(rotary, inputs, tmp_path, "RotaryMul", dynamic=dynamic)


def gelu_by_erf(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def gelu_by_erf_scaled_last(x: Tensor) -> Tensor:
    return 0.5 * (x * (1.0 + torch.erf(x * 0.7071067811865475)))


def gelu_by_tanh(x: Tensor) -> Tensor:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(inner))


def gelu_by_tanh_of_products(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


def gelu_by_tanh_factored(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x)))


GELUS = (
    gelu_by_erf,
    gelu_by_erf_scaled_last,
    gelu_by_tanh,
    gelu_by_tanh_of_products,
    gelu_by_tanh_factored,
)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("gelu", GELUS)
def test_gelu(gelu: Any, dynamic: bool, tmp_path: Any) -> None:
    check(gelu, (torch.randn(4, 33),), tmp_path, "GeluV2", dynamic=dynamic)


def test_silu(tmp_path: Any) -> None:
    check(lambda x: torch.sigmoid(x) * x, (torch.randn(4, 8).half(),), tmp_path, "Swish")


def layer_norm_by_mean(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    variance = centered.pow(2).mean(-1, keepdim=True)
    return centered * torch.rsqrt(variance + 1e-5) * w + b


def layer_norm_by_variance(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return w * ((x - mean) / torch.sqrt(variance + 1e-6)) + b


def layer_norm_by_var_mean(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, -1, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + 1e-6) * w + b


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    "norm", [layer_norm_by_mean, layer_norm_by_variance, layer_norm_by_var_mean]
)
def test_layer_norm(norm: Any, dynamic: bool, tmp_path: Any) -> None:
    inputs = (torch.randn(2, 3, 16), torch.randn(16), torch.randn(16))
    check(norm, inputs, tmp_path, "LayerNormV4", dynamic=dynamic)


def test_norm_and_cast(tmp_path: Any) -> None:
    def router(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total = x + y
        normalized = norm_in_float(total, w)
        return normalized.float(), normalized, total

    inputs = tuple(torch.randn(*shape).bfloat16() for shape in ((4, 16), (4, 16), (16,)))
    check(router, inputs, tmp_path, "AddRmsNormCast")


@pytest.mark.parametrize("smooth", [False, True])
def test_norm_and_dynamic_quantisation(smooth: bool, tmp_path: Any) -> None:
    def block(x: Tensor, y: Tensor, w: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        normalized, _, total = torch.ops.npu.npu_add_rms_norm(x, y, w, 1e-5)
        scales = s if smooth else None
        return *torch.ops.npu.npu_dynamic_quant(normalized, smooth_scales=scales), total

    inputs = tuple(torch.randn(*shape).half() for shape in ((4, 16), (4, 16), (16,), (16,)))
    expected = block(*inputs)
    found, nodes = compile_and_count(block, inputs, tmp_path)
    assert "AddRmsNormDynamicQuant" in nodes and "DynamicQuant" not in nodes
    assert (found[0].int() - expected[0].int()).abs().max() <= 1
    torch.testing.assert_close(found[1:], expected[1:], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
def test_choice_of_experts(normalized: bool, dynamic: bool, tmp_path: Any) -> None:
    def gate(scores: Tensor) -> tuple[Tensor, Tensor]:
        best, experts = torch.topk(torch.softmax(scores, dim=-1), 2, dim=-1)
        return (best / best.sum(-1, keepdim=True) if normalized else best), experts

    scores = torch.randn(6, 8)
    check(gate, (scores,), tmp_path, "MoeGatingTopKSoftmaxV2 Cast", dynamic=dynamic)


def turn_pairs(x: Tensor) -> Tensor:
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def turn_unbound_pairs(x: Tensor) -> Tensor:
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack((-odd, even), dim=-1).flatten(-2)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("turn", [turn_pairs, turn_unbound_pairs])
def test_rotary_embedding_of_pairs(turn: Any, dynamic: bool, tmp_path: Any) -> None:
    def rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return x * cos + turn(x) * sin

    inputs = (torch.randn(2, 4, 5, 16), torch.randn(2, 1, 5, 16), torch.randn(2, 1, 5, 16))
    check(rotary, inputs, tmp_path, "RotaryPositionEmbedding", dynamic=dynamic)


def linear_of_int8(x: Tensor, w: Tensor, s: Tensor, b: Tensor) -> Tensor:
    return functional.linear(x, w.to(x.dtype) * s, b)


def product_of_int8(x: Tensor, w: Tensor, s: Tensor, b: Tensor) -> Tensor:
    return x @ (w.t().to(x.dtype) * s.t()) + b


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("form", [linear_of_int8, product_of_int8])
def test_product_with_int8_weights(form: Any, dynamic: bool, tmp_path: Any) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(3, 16).half(), torch.randint(-127, 128, (8, 16), dtype=torch.int8)
    s, b = (torch.rand(8, 1) * 0.02).half(), torch.randn(8).half()
    found, nodes = compile_and_count(form, (x, w, s, b), tmp_path, dynamic=dynamic)
    torch.testing.assert_close(found, form(x, w, s, b), rtol=4e-3, atol=8e-3)
    assert "WeightQuantBatchMatmulV2" in nodes and not {"Cast", "MatMul", "MatMulV2"} & set(nodes)
