"""npu fused products: against integer and float64 arithmetic, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
GROUPS = ((0, 3, 0), (3, 3, 1), (3, 9, 2))


def floats(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def bytes_of(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def close(found: Tensor, expected: Tensor) -> None:
    if found.dtype is torch.int8:
        assert bool(((found.double() - expected.round().clamp(-128, 127)).abs() <= 1).all())
        return
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("perms", [([0, 1, 2], [0, 1, 2]), ([1, 0, 2], [0, 2, 1])])
def test_transpose_batchmatmul(
    dtype: torch.dtype, factor: int, perms: tuple[list[int], list[int]]
) -> None:
    first, second = (floats(dtype, 4, 5, 16) for _ in range(2))
    second = floats(dtype, 4, 16, 8) / 4
    x1, x2 = first.permute(perms[0]).contiguous(), second.permute(perms[1]).contiguous()
    out = check_compiled(
        lambda a, b: npu.npu_transpose_batchmatmul(
            a, b, perm_x1=perms[0], perm_x2=perms[1], batch_split_factor=factor
        ),
        x1,
        x2,
        dynamic=factor == 1,
    )
    exact = (first.double() @ second.double()).transpose(0, 1)
    if factor == 2:
        exact = torch.stack(exact.reshape(5, 2, 16).unbind(1))
    close(out, exact)


def test_transpose_batchmatmul_to_int8() -> None:
    x1, x2, scale = floats(torch.float16, 2, 5, 16), floats(torch.float16, 2, 16, 8), torch.rand(16)
    out = check_compiled(
        lambda a, b, s: npu.npu_transpose_batchmatmul(a, b, scale=npu.npu_trans_quant_param(s)),
        x1,
        x2,
        scale * 9,
    )
    exact = (x1.double() @ x2.double()).transpose(0, 1).flatten(1)
    assert out.shape == (5, 1, 16)
    close(out[:, 0], exact * (scale * 9).double())


def rows_of(x: Tensor, smooth: Tensor | None) -> tuple[Tensor, Tensor]:
    wide = x.double() if smooth is None else x.double() * smooth.double()
    scale = wide.abs().amax(-1, keepdim=True) / 127
    return (wide / scale).round(), scale


@pytest.mark.parametrize("with_smooth", [False, True])
def test_quant_matmul_dequant(with_smooth: bool) -> None:
    x, weight, scale = floats(torch.float16, 5, 32), bytes_of(12, 32), torch.rand(12) / 99
    smooth = (torch.rand(32) + 0.5).half() if with_smooth else None
    out = check_compiled(
        lambda *t: npu.npu_quant_matmul_dequant(*t, smooth_scale=smooth), x, weight, scale
    )
    numbers, factor = rows_of(x, smooth)
    close(out, (numbers @ weight.double().T) * factor * scale.double())


def test_quant_matmul_dequant_with_scale() -> None:
    x, weight, scale = floats(torch.float16, 5, 32), bytes_of(12, 32), torch.rand(12) / 99
    out = check_compiled(
        lambda x, w, s, f: npu.npu_quant_matmul_dequant(x, w, s, x_scale=f, quant_mode="pertensor"),
        x,
        weight,
        scale,
        torch.tensor([0.03]),
    )
    numbers = (x.float() / 0.03).round().clamp(-128, 127).double()
    close(out, (numbers @ weight.double().T) * 0.03 * scale.double())


def test_quant_grouped_matmul_dequant() -> None:
    x, weight, scale = floats(torch.float16, 9, 32), bytes_of(3, 12, 32), torch.rand(3, 12) / 99
    out = check_compiled(
        npu.npu_quant_grouped_matmul_dequant, x, weight, scale, torch.tensor([3, 3, 9])
    )
    numbers, factor = rows_of(x, None)
    for start, end, group in GROUPS:
        exact = (numbers[start:end] @ weight[group].double().T) * factor[start:end]
        close(out[start:end], exact * scale[group].double())


def test_quant_matmul_reduce_sum() -> None:
    x1, x2 = bytes_of(3, 5, 32), bytes_of(3, 32, 12)
    rows, columns = torch.rand(3, 5) / 99, (torch.rand(12) / 9).bfloat16()
    out = check_compiled(
        lambda a, b, r, c: npu.npu_quant_matmul_reduce_sum(a, b, x1_scale=r, x2_scale=c),
        x1,
        x2,
        rows,
        columns,
    )
    exact = (x1.double() @ x2.double()) * rows.double()[..., None] * columns.double()
    close(out, exact.sum(0))


FUSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "": lambda y, z: y,
    "relu": lambda y, z: y.relu(),
    "add": lambda y, z: y + z,
    "mul": lambda y, z: y * z,
    "gelu_erf": lambda y, z: torch.nn.functional.gelu(y),
    "gelu_tanh": lambda y, z: torch.nn.functional.gelu(y, approximate="tanh"),
}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("name", list(FUSED))
def test_fused_matmul(dtype: torch.dtype, name: str) -> None:
    x1, x2, x3 = floats(dtype, 5, 16), floats(dtype, 16, 12) / 4, floats(dtype, 5, 12)
    given = x3 if name in ("add", "mul") else None
    out = check_compiled(
        lambda a, b, c: npu.npu_fused_matmul(a, b, x3=c, fused_op_type=name), x1, x2, given
    )
    close(out, FUSED[name](x1.double() @ x2.double(), x3.double()))


@pytest.mark.parametrize("with_a", [False, True])
def test_batch_gather_matmul(with_a: bool) -> None:
    y, x = floats(torch.float16, 5, 40), floats(torch.float16, 5, 32 if with_a else 16)
    b = floats(torch.float16, 3, 2, 24, 16)
    a = floats(torch.float16, 3, 2, 16, 32) if with_a else None
    indices = torch.tensor([0, -1, 2, 1, 0], dtype=torch.int32)
    out = check_compiled(
        lambda y, x, b, i, a: npu.npu_batch_gather_matmul(y, x, b, i, a, 1, 0.05, 8, 24),
        y,
        x,
        b,
        indices,
        a,
    )
    expected = y.double()
    for row, index in enumerate(indices.tolist()):
        if index >= 0:
            middle = x[row].double() if a is None else a[index, 1].double() @ x[row].double()
            expected[row, 8:32] += 0.05 * (b[index, 1].double() @ middle)
    close(out, expected)


@pytest.mark.parametrize("with_shared", [False, True])
def test_grouped_matmul_finalize_routing(with_shared: bool) -> None:
    x, weight, scale = bytes_of(9, 16), bytes_of(3, 16, 32), torch.rand(3, 32) / 99
    token, logit = torch.rand(9) / 9, torch.rand(9)
    index = torch.tensor([3, 0, 1, 1, 2, 0, 3, 2, 1])
    shared = floats(torch.bfloat16, 2, 32) if with_shared else None
    out = check_compiled(
        lambda x, w, g, s, t, z, i: npu.npu_grouped_matmul_finalize_routing(
            x,
            w,
            g,
            scale=s,
            pertoken_scale=t,
            logit=z,
            row_index=i,
            shared_input=shared,
            shared_input_weight=0.5,
            shared_input_offset=1,
            output_bs=4,
        ),
        x,
        weight,
        torch.tensor([3, 0, 6]),
        scale,
        token,
        logit,
        index,
    )
    expected = torch.zeros(4, 32, dtype=torch.float64)
    for start, end, group in GROUPS:
        for row in range(start, end):
            part = x[row].double() @ weight[group].double() * scale[group].double()
            expected[index[row]] += part * float(token[row]) * float(logit[row])
    if shared is not None:
        expected[1:3] += shared.double() * 0.5
    close(out, expected)


@pytest.mark.parametrize("version", [1, 2])
def test_grouped_matmul_swiglu_quant(version: int) -> None:
    x, weight, scale = bytes_of(9, 16), bytes_of(3, 16, 32), torch.rand(3, 32) / 99
    token, groups = torch.rand(9) / 9, torch.tensor([3, 3, 9])

    def first(x: Tensor, w: Tensor, s: Tensor, t: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        numbers, factor, _ = npu.npu_grouped_matmul_swiglu_quant(x, w, g, s, t)
        return numbers, factor

    def second(x: Tensor, w: Tensor, s: Tensor, t: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        sizes = torch.cat([g[:1], g[1:] - g[:-1]])
        return npu.npu_grouped_matmul_swiglu_quant_v2(x, [w], [s], t, sizes, group_list_type=1)

    function = first if version == 1 else second
    numbers, factor = check_compiled(function, x, weight, scale, token, groups)
    for start, end, group in GROUPS:
        exact = x[start:end].double() @ weight[group].double() * scale[group].double()
        gate, value = (exact * token[start:end, None].double()).chunk(2, -1)
        exact = torch.nn.functional.silu(gate) * value
        step = exact.abs().amax(-1, keepdim=True) / 127
        torch.testing.assert_close(factor[start:end].double(), step[:, 0], rtol=1e-5, atol=0)
        close(numbers[start:end], exact / step)


def test_quant_conv2d() -> None:
    x, weight = bytes_of(2, 4, 9, 7), bytes_of(6, 2, 3, 3)
    scale, bias = torch.rand(6) / 9999, torch.randint(-99, 99, (6,), dtype=torch.int32)
    out = check_compiled(
        lambda x, w, s, b: npu.npu_quant_conv2d(
            x, w, npu.npu_trans_quant_param(s), [2, 1], [1, 0], [1, 2], 2, output_dtype=5, bias=b
        ),
        x,
        weight,
        scale,
        bias,
        dynamic=False,
    )
    exact = torch.nn.functional.conv2d(
        x.double(), weight.double(), bias.double(), (2, 1), (1, 0), (1, 2), 2
    )
    short = ((scale.view(torch.int32) >> 13) << 13).view(torch.float32).double()
    close(out, exact * short.reshape(1, -1, 1, 1))


def test_transpose_quant_batchmatmul() -> None:
    x1 = floats(torch.float32, 5, 4, 16).to(torch.float8_e4m3fn)
    x2 = floats(torch.float32, 4, 16, 8).to(torch.float8_e5m2)
    rows, columns = torch.rand(5), torch.rand(8)
    out = npu.npu_transpose_quant_batchmatmul(
        x1,
        x2,
        15,
        x1_scale=rows,
        x2_scale=columns,
        perm_x1=[1, 0, 2],
        perm_x2=[0, 1, 2],
        perm_y=[1, 0, 2],
    )
    exact = (x1.double().transpose(0, 1) @ x2.double()).transpose(0, 1)
    close(out, exact * rows.double()[:, None, None] * columns.double())
