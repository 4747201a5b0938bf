"""npu quantised and fused products: against integer and float64 arithmetic, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu

HALF, BF16, INT8, INT32 = 5, 15, 1, 3
DTYPES = {HALF: torch.float16, BF16: torch.bfloat16, INT8: torch.int8, INT32: torch.int32}
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.int8: 0}


def bytes_of(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def floats(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def close(found: Tensor, expected: Tensor) -> None:
    if found.dtype in (torch.int8, torch.int32):
        limits = torch.iinfo(found.dtype)
        rounded = expected.round().clamp(limits.min, limits.max)
        assert int((found.double() - rounded).abs().max()) <= (
            1 if found.dtype is torch.int8 else 0
        )
        return
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected, rtol=limit, atol=limit)


def packed(numbers: Tensor) -> Tensor:
    """Eight int4 of the last dimension in an int32, the first lowest."""
    groups = numbers.unflatten(-1, (-1, 8)).long() & 15
    total = sum(groups[..., i] << (4 * i) for i in range(8))
    return torch.where(total >= 1 << 31, total - (1 << 32), total).to(torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear(dtype: torch.dtype, with_bias: bool) -> None:
    x, weight = floats(dtype, 16, 128), floats(dtype, 32, 128) / 12
    bias = floats(dtype, 32) if with_bias else None
    out = check_compiled(npu.npu_linear, x, weight, bias)
    expected = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    limit = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(out.double(), expected, rtol=limit, atol=limit)


def test_linear_gradient() -> None:
    x, weight, bias = (
        t.requires_grad_() for t in (torch.randn(4, 6), torch.randn(5, 6), torch.randn(5))
    )
    expected = torch.autograd.grad((x @ weight.T + bias).square().sum(), (x, weight, bias))
    found = torch.autograd.grad(npu.npu_linear(x, weight, bias).square().sum(), (x, weight, bias))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("output", [HALF, BF16, INT8])
@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize(
    "shape", [((5, 16), (16, 12)), ((2, 5, 16), (16, 12)), ((3, 5, 16), (3, 16, 12))]
)
def test_quant_matmul(output: int, per_column: bool, shape: Any) -> None:
    x1, x2 = bytes_of(*shape[0]), bytes_of(*shape[1])
    scale = torch.rand(12 if per_column else 1) / 500
    bias = torch.randint(-9999, 9999, (12,), dtype=torch.int32)
    offset = torch.tensor([3.0]) if output == INT8 else None

    def function(x1: Tensor, x2: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return npu.npu_quant_matmul(x1, x2, scale, bias=bias, offset=offset, output_dtype=output)

    out = check_compiled(function, x1, x2, scale, bias)
    assert out.dtype == DTYPES[output]
    exact = (x1.double() @ x2.double() + bias) * scale.double()
    close(out, exact + (3 if output == INT8 else 0))


def test_quant_matmul_per_token_with_float_bias() -> None:
    x1, x2, scale, token = bytes_of(5, 16), bytes_of(16, 12), torch.rand(12) / 50, torch.rand(5) / 9
    bias = floats(torch.bfloat16, 12)

    def function(*t: Tensor) -> Tensor:
        named = {"pertoken_scale": t[3], "bias": t[4], "output_dtype": BF16}
        return npu.npu_quant_matmul(*t[:3], **named)

    out = check_compiled(function, x1, x2, scale, token, bias)
    exact = x1.double() @ x2.double() * scale.double() * token.double()[:, None] + bias.double()
    close(out, exact)


def test_quant_matmul_with_packed_scale() -> None:
    x1, x2 = bytes_of(5, 16), bytes_of(16, 12)
    scale, offset = torch.rand(12) / 500, torch.randint(-9, 9, (12,)).float()

    def function(x1: Tensor, x2: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        return npu.npu_quant_matmul(x1, x2, npu.npu_trans_quant_param(scale, offset))

    out = check_compiled(function, x1, x2, scale, offset)
    short = ((scale.view(torch.int32) >> 13) << 13).view(torch.float32).double()
    close(out, x1.double() @ x2.double() * short + offset.double())


def test_quant_matmul_int32() -> None:
    x1, x2 = bytes_of(5, 16), bytes_of(16, 12)
    out = check_compiled(
        lambda *t: npu.npu_quant_matmul(*t, output_dtype=INT32), x1, x2, torch.ones(1)
    )
    assert torch.equal(out, (x1.long() @ x2.long()).int())


@pytest.mark.parametrize("by_rows", [False, True])
def test_quant_matmul_of_four_bits(by_rows: bool) -> None:
    x1, x2 = torch.randint(-8, 8, (4, 16)), torch.randint(-8, 8, (16, 24))
    scale = torch.rand(24) / 8
    right = packed(x2.T.contiguous()).T if by_rows else packed(x2)
    out = check_compiled(
        lambda *t: npu.npu_quant_matmul(*t, output_dtype=HALF), packed(x1), right, scale
    )
    close(out, (x1 @ x2).double() * scale.double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("group", [0, 32])
@pytest.mark.parametrize("bits", [8, 4])
def test_weight_quant(dtype: torch.dtype, group: int, bits: int) -> None:
    half = 1 << (bits - 1)
    x, numbers = floats(dtype, 5, 64), torch.randint(-half, half, (64, 24))
    weight = packed(numbers) if bits == 4 else numbers.to(torch.int8)
    shape = (2, 24) if group else (1, 24)
    scale, offset = (torch.rand(shape) / half / 8).to(dtype), torch.randint(-3, 3, shape).to(dtype)
    bias = torch.randn(24).to(torch.float16 if dtype is torch.float16 else torch.float32)

    def function(x: Tensor, w: Tensor, s: Tensor, o: Tensor, b: Tensor) -> Tensor:
        named = {"bias": b, "antiquant_group_size": group}
        return npu.npu_weight_quant_batchmatmul(x, w, s, o, **named)

    out = check_compiled(function, x, weight, scale, offset, bias)
    wide = [t.double().repeat_interleave(32 if group else 64, 0) for t in (scale, offset)]
    exact = (numbers + wide[1]) * wide[0]
    close(out, x.double() @ exact + bias.double())


def test_weight_quant_to_int8() -> None:
    x, weight = floats(torch.float16, 5, 64), bytes_of(64, 24)
    scale, quant = (torch.rand(1, 24) / 900).to(torch.float16), torch.rand(1, 24) * 50
    out = check_compiled(
        lambda x, w, s, q: npu.npu_weight_quant_batchmatmul(x, w, s, None, q),
        x,
        weight,
        scale,
        quant,
    )
    close(out, x.double() @ (weight.double() * scale.double()) * quant.double())


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "fastgelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "silu": torch.nn.functional.silu,
    "swiglu": lambda x: torch.nn.functional.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    "geglu": lambda x: torch.nn.functional.gelu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
    "reglu": lambda x: torch.relu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_ffn(dtype: torch.dtype, activation: str) -> None:
    x, first = floats(dtype, 2, 6, 16), floats(dtype, 16, 32) / 4
    second = floats(dtype, 16 if "glu" in activation else 32, 24) / 6
    out = check_compiled(lambda *t: npu.npu_ffn(*t, activation, inner_precise=1), x, first, second)
    between = ACTIVATIONS[activation](x.double() @ first.double()).to(dtype)
    close(out, between.double() @ second.double())


@pytest.mark.parametrize("as_index", [False, True])
def test_ffn_with_experts(as_index: bool) -> None:
    x, first, second = (floats(torch.float16, *s) for s in ((7, 16), (3, 16, 32), (3, 32, 8)))
    first, second = first / 4, second / 6
    biases = floats(torch.float16, 3, 32), floats(torch.float16, 3, 8)
    tokens = {"expert_tokens_index": [2, 2, 7]} if as_index else {"expert_tokens": [2, 0, 5]}

    def function(x: Tensor, first: Tensor, second: Tensor, b1: Tensor, b2: Tensor) -> Tensor:
        return npu.npu_ffn(x, first, second, "relu", bias1=b1, bias2=b2, **tokens)

    out = check_compiled(function, x, first, second, *biases)
    for start, end, expert in ((0, 2, 0), (2, 7, 2)):
        rows = x[start:end].double() @ first[expert].double() + biases[0][expert].double()
        rows = rows.relu().half().double() @ second[expert].double() + biases[1][expert].double()
        close(out[start:end], rows)


def test_quantised_ffn() -> None:
    x, first, second = bytes_of(6, 16), bytes_of(16, 32), bytes_of(32, 8)
    scale, deq1, deq2 = torch.tensor([30.0]), torch.rand(32) / 9999, torch.rand(8) / 999

    def function(*t: Tensor) -> Tensor:
        named = {"scale": t[3], "offset": t[4], "deq_scale1": t[5], "deq_scale2": t[6]}
        return npu.npu_ffn(*t[:3], "relu", output_dtype=torch.bfloat16, **named)

    out = check_compiled(function, x, first, second, scale, torch.ones(1), deq1, deq2)
    between = (x.double() @ first.double() * deq1.double()).relu() * 30 + 1
    between = between.round().clamp(-128, 127)
    close(out, between @ second.double() * deq2.double())


def test_refusals() -> None:
    x = floats(torch.float16, 2, 4)
    with pytest.raises(TorchairError, match="no activation 'tanh'"):
        npu.npu_ffn(x, x.T, x, "tanh")
    with pytest.raises(TorchairError, match="group_sizes"):
        npu.npu_quant_matmul(bytes_of(2, 4), bytes_of(4, 2), torch.ones(1), group_sizes=[1, 1, 32])
