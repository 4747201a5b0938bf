"""npu products of 8-bit floats that are added to a tensor, against loops over blocks and groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair
from torchair.errors import ConversionError, EngineError

npu = torch.ops.npu

E8M0 = 293
HIFLOAT8 = 290
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def eights(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def codes(*shape: int) -> Tensor:
    """Powers of two between 2**-4 and 2**3, as bytes."""
    torch.manual_seed(sum(shape) + 1)
    return torch.randint(123, 131, shape, dtype=torch.uint8)


def factor(scale: Tensor, place: int, row: int) -> float:
    """The power of two of a block; ``scale`` is ``[places / 2, rows, 2]``."""
    return 2.0 ** (int(scale[place // 2, row, place % 2]) - 127)


def blocked(x: Tensor, scale: Tensor, ends: list[int]) -> Tensor:
    """``x[inner, rows]`` times its scales in float64, blocks beginning anew in every group."""
    result = x.double().clone()
    start = 0
    for group, end in enumerate(ends):
        for k in range(start, end):
            place = (start // 64 + group) * 2 + (k - start) // 32
            for row in range(x.shape[1]):
                result[k, row] *= factor(scale, place, row)
        start = end
    return result


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
@pytest.mark.parametrize("inner", [40, 96])
def test_blocks_of_powers_of_two(dtype: torch.dtype, inner: int) -> None:
    y, x1, x2 = torch.randn(6, 5), eights(dtype, inner, 6).t(), eights(FLOAT8[0], inner, 5)
    halves = -(-inner // 64)
    first, second = codes(halves, 6, 2), codes(halves, 5, 2)
    out = check_compiled(
        lambda y, a, b, s, r: npu.npu_add_quant_matmul(
            y,
            a,
            b,
            s,
            x1_scale=r.transpose(0, 1),
            group_sizes=[1, 1, 32],
            x1_scale_dtype=E8M0,
            x2_scale_dtype=E8M0,
        ),
        y,
        x1,
        x2,
        second,
        first,
    )
    left, right = blocked(x1.t(), first, [inner]), blocked(x2, second, [inner])
    close(out, y.double() + left.t() @ right)


@pytest.mark.parametrize("columns", [1, 5])
def test_one_scale_per_matrix_or_column(columns: int) -> None:
    y, x1, x2 = torch.randn(6, 5), eights(FLOAT8[0], 6, 16), eights(FLOAT8[1], 16, 5)
    first, second = torch.rand(1) + 0.5, torch.rand(columns) + 0.5
    out = check_compiled(
        lambda y, a, b, s, r: npu.npu_add_quant_matmul(y, a, b, s, x1_scale=r),
        y,
        x1,
        x2,
        second,
        first,
    )
    close(out, y.double() + x1.double() @ x2.double() * first.double() * second.double())


@pytest.mark.parametrize("kind", ["ends", "sizes"])
def test_groups_with_powers_of_two(kind: str) -> None:
    inner, ends = 200, [70, 70, 170]
    y, x1, x2 = torch.randn(3, 4, 5), eights(FLOAT8[0], inner, 4).t(), eights(FLOAT8[0], inner, 5)
    first, second = codes(inner // 64 + 3, 4, 2), codes(inner // 64 + 3, 5, 2)
    groups = torch.tensor(ends if kind == "ends" else [70, 0, 100])
    out = check_compiled(
        lambda y, a, b, s, g, r: npu.npu_add_quant_gmm(
            y,
            a,
            b,
            s,
            g,
            x1_scale=r.transpose(0, 1),
            group_list_type=int(kind == "sizes"),
            x1_scale_dtype=E8M0,
            x2_scale_dtype=E8M0,
        ),
        y,
        x1,
        x2,
        second,
        groups,
        first,
    )
    left, right = blocked(x1.t(), first, ends), blocked(x2, second, ends)
    expected = y.double()
    start = 0
    for group, end in enumerate(ends):
        expected[group] += left[start:end].t() @ right[start:end]
        start = end
    close(out, expected)


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 5)])
def test_groups_with_float_scales(shape: tuple[int, ...]) -> None:
    y, x1, x2 = torch.randn(2, 4, 5), eights(FLOAT8[0], 4, 16), eights(FLOAT8[0], 16, 5)
    first, second = torch.rand(2, 1) + 0.5, torch.rand(shape) + 0.5
    out = check_compiled(
        lambda y, a, b, s, g, r: npu.npu_add_quant_gmm(y, a, b, s, g, x1_scale=r),
        y,
        x1,
        x2,
        second,
        torch.tensor([7, 12]),
        first,
    )
    parts = [x1.double()[:, a:b] @ x2.double()[a:b] for a, b in ((0, 7), (7, 12))]
    scale = first.double().reshape(2, 1, 1) * second.double().reshape(2, 1, -1)
    close(out, y.double() + torch.stack(parts) * scale)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["npu_add_quant_matmul_", "npu_add_quant_gmm_"])
def test_in_place(name: str, dynamic: bool) -> None:
    """The accumulator is written, and readers of the result see what was written."""
    x1, x2, scale = eights(FLOAT8[0], 4, 16), eights(FLOAT8[0], 16, 5), torch.rand(1)
    y, more = torch.randn(4, 5), []
    if name == "npu_add_quant_gmm_":
        y, more = torch.randn(1, 4, 5), [torch.tensor([16])]

    def accumulate(y: Tensor, *others: Tensor) -> Tensor:
        return getattr(npu, name)(y, *others) * 2

    eager = y.clone()
    wanted = accumulate(eager, x1, x2, scale, *more)
    assert not torch.equal(eager, y)
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(accumulate, backend=backend, fullgraph=True, dynamic=dynamic)
    assert torch.equal(compiled(y, x1, x2, scale, *more), wanted)
    assert torch.equal(y, eager)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"group_sizes": [1, 2]}, ConversionError, "three sizes"),
    ({"group_sizes": [1, 1, 64]}, EngineError, "blocks of 32"),
    ({"x1_dtype": HIFLOAT8}, EngineError, "cannot read hifloat8"),
    ({"x1_dtype": 6}, ConversionError, "an 8-bit type"),
    ({"x1_scale": torch.ones(1, dtype=torch.uint8)}, EngineError, "need x1_scale_dtype"),
    ({"x1_scale": torch.ones(3)}, EngineError, "takes other scales"),
]


@pytest.mark.parametrize(("named", "error", "message"), REFUSED)
def test_refused(named: dict[str, Any], error: type[Exception], message: str) -> None:
    x1, x2 = eights(FLOAT8[0], 4, 16), eights(FLOAT8[0], 16, 5)
    with pytest.raises(error, match=message):
        npu.npu_add_quant_matmul(torch.zeros(4, 5), x1, x2, torch.ones(1), **named)


def test_groups_take_no_group_sizes() -> None:
    x1, x2 = eights(FLOAT8[0], 4, 16), eights(FLOAT8[0], 16, 5)
    with pytest.raises(ConversionError, match="takes no group_sizes"):
        npu.npu_add_quant_gmm(
            torch.zeros(1, 4, 5), x1, x2, torch.ones(1), torch.tensor([16]), group_sizes=[1, 1, 32]
        )
