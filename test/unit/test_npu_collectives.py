"""npu products fused with communication on one rank; see test_npu_communication for several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair
from torchair.errors import TorchairError

npu = torch.ops.npu


def halves(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).half()


def bytes_of(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=3e-3, atol=3e-3)


X1, X2, BIAS = halves(6, 16), halves(16, 8) / 4, halves(8)
EXACT = X1.double() @ X2.double()


def test_mm_all_reduce() -> None:
    out = check_compiled(
        lambda a, b, c: npu.npu_mm_all_reduce_base(a, b, "group", reduce_op="sum", bias=c),
        X1,
        X2,
        BIAS,
    )
    close(out, EXACT + BIAS.double())


def test_quantised_mm_all_reduce() -> None:
    x1, x2, scale = bytes_of(6, 16), bytes_of(16, 8), torch.rand(8) / 999
    bias = torch.randint(-999, 999, (8,), dtype=torch.int32)
    out = check_compiled(
        lambda a, b, c, s: npu.npu_mm_all_reduce_base(
            a, b, "group", bias=c, dequant_scale=npu.npu_trans_quant_param(s)
        ),
        x1,
        x2,
        bias,
        scale,
    )
    close(out, (x1.double() @ x2.double() + bias) * scale.double())


def test_mm_all_reduce_of_a_quantised_weight() -> None:
    weight, scale = bytes_of(16, 8), (torch.rand(1, 8) / 99).half()
    out = check_compiled(
        lambda a, b, s, x3: npu.npu_mm_all_reduce_base(a, b, "group", antiquant_scale=s, x3=x3),
        X1,
        weight,
        scale,
        halves(6, 8),
    )
    close(out, X1.double() @ (weight.double() * scale.double()) + halves(6, 8).double())


def test_all_gather() -> None:
    found, gathered = check_compiled(
        lambda a, b, c: npu.npu_all_gather_base_mm(a, b, "group", 1, bias=c), X1, X2, BIAS
    )
    close(found, EXACT + BIAS.double())
    assert torch.equal(gathered, X1)
    found, gathered, _ = check_compiled(
        lambda a, b: npu.npu_all_gather_quant_mm(a, b, "group", 1, gather_output=False), X1, X2
    )
    close(found, EXACT)
    assert gathered.numel() == 0


def test_reduce_scatter() -> None:
    close(
        check_compiled(lambda a, b: npu.npu_mm_reduce_scatter_base(a, b, "group", 1), X1, X2), EXACT
    )
    found, _ = check_compiled(
        lambda a, b: npu.npu_quant_mm_reduce_scatter(a, b, "group", 1), X1, X2
    )
    close(found, EXACT)


def test_all_to_all() -> None:
    close(check_compiled(lambda a, b: npu.npu_matmul_all_to_all(a, b, "group", 1), X1, X2), EXACT)
    found, moved = check_compiled(
        lambda a, b: npu.npu_all_to_all_matmul(a, b, "group", 1), X1, X2, dynamic=False
    )
    close(found, EXACT)
    assert torch.equal(moved, X1)


def eights(*shape: int) -> Tensor:
    return halves(*shape).to(torch.float8_e4m3fn)


def test_quantised_all_to_all() -> None:
    x1, x2, rows, columns = eights(6, 16), eights(16, 8), torch.rand(6), torch.rand(8)
    exact = x1.double() @ x2.double() * rows.double()[:, None] * columns.double()
    out = check_compiled(
        lambda a, b, r, c: npu.npu_quant_matmul_all_to_all(a, b, "group", 1, None, r, c),
        x1,
        x2,
        rows,
        columns,
        dynamic=False,
    )
    close(out, exact)
    found, moved = check_compiled(
        lambda a, b, r, c: npu.npu_all_to_all_quant_matmul(
            a, b, "group", 1, x1_scale=r, x2_scale=c, y_dtype=15
        ),
        x1,
        x2,
        rows,
        columns,
        dynamic=False,
    )
    torch.testing.assert_close(found.double(), exact, rtol=2e-2, atol=2e-2)
    assert found.dtype == torch.bfloat16 and torch.equal(moved.float(), x1.float())


@pytest.mark.parametrize("name", ["npu_alltoallv_quant_gmm", "npu_quant_gmm_alltoallv"])
def test_quantised_grouped_all_to_all(name: str) -> None:
    x, weight, shared = eights(6, 16), eights(3, 16, 8), eights(4, 16)
    scales = [torch.tensor([value]) for value in (0.5, 0.25, 0.125, 2.0)]

    def function(x: Tensor, w: Tensor, y: Tensor, z: Tensor, *s: Tensor) -> Any:
        named = {"mm_x": y, "mm_weight": z, "mm_x_scale": s[2], "mm_weight_scale": s[3]}
        counts = ([2, 0, 4], [2, 0, 4])
        modes = {"gmm_x_quant_mode": 1, "gmm_weight_quant_mode": 1, "mm_y_dtype": 5}
        operator = getattr(npu, name)
        return operator(x, w, s[0], s[1], "group", 1, *counts, 5, **modes, **named)[:2]

    other = eights(16, 8)
    found, both = check_compiled(function, x, weight, shared, other, *scales, dynamic=False)
    close(found[:2], x[:2].double() @ weight[0].double() * 0.125)
    close(found[2:], x[2:].double() @ weight[2].double() * 0.125)
    close(both, shared.double() @ other.double() * 0.25)


@pytest.mark.parametrize("name", ["npu_alltoallv_gmm", "npu_gmm_alltoallv"])
def test_grouped_all_to_all(name: str) -> None:
    weight, shared = halves(3, 16, 8) / 4, halves(4, 16)
    found, other, *_ = check_compiled(
        lambda a, b, c, d: getattr(npu, name)(
            a, b, "group", 1, [2, 0, 4], [2, 0, 4], mm_x=c, mm_weight=d
        ),
        X1,
        weight,
        shared,
        X2,
        dynamic=False,
    )
    close(found[:2], X1[:2].double() @ weight[0].double())
    close(found[2:], X1[2:].double() @ weight[2].double())
    close(other, shared.double() @ X2.double())


@pytest.mark.parametrize("version", ["", "_v2"])
def test_experts_there_and_back(version: str) -> None:
    """Experts that double their rows: what comes back is twice the weighted sum."""
    ids = torch.tensor([[0, 3], [2, 0], [3, 1], [0, 2], [1, 0]], dtype=torch.int32)
    x, scales = halves(5, 16), torch.rand(5, 2)

    def function(x: Tensor, ids: Tensor, scales: Tensor) -> tuple[Tensor, ...]:
        there, back = (
            getattr(npu, f"npu_moe_distribute_{name}{version}") for name in ("dispatch", "combine")
        )
        rows, _, places, counts, received, _, _ = there(x, ids, "group", 1, 0, 4)
        found = back(rows * 2, ids, places, received, scales, "group", 1, 0, 4)
        return found, rows, counts

    found, rows, counts = check_compiled(function, x, ids, scales, dynamic=False)
    assert counts.tolist() == [4, 2, 2, 2]
    assert torch.equal(rows[:4], x[[0, 1, 3, 4]])
    close(found, 2 * x.double() * scales.double().sum(-1, keepdim=True))


def test_combine_and_norm() -> None:
    ids = torch.tensor([[0, 1], [1, 0], [0, 1]], dtype=torch.int32)
    x, scales = halves(3, 16).bfloat16(), torch.rand(3, 2)
    residual, gamma = halves(3, 1, 16).bfloat16(), halves(16).bfloat16()

    def function(x: Tensor, ids: Tensor, s: Tensor, r: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        rows, _, places, _, got, _, _ = npu.npu_moe_distribute_dispatch(x, ids, "group", 1, 0, 2)
        return npu.npu_moe_distribute_combine_add_rms_norm(
            rows, ids, places, got, s, r, g, "group", 1, 0, 2, norm_eps=1e-5
        )

    y, rstd, total = check_compiled(function, x, ids, scales, residual, gamma, dynamic=False)
    exact = (x.double() * scales.double().sum(-1, keepdim=True))[:, None] + residual.double()
    torch.testing.assert_close(total.double(), exact, rtol=2e-2, atol=2e-2)
    scale = 1 / (total.double().square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(rstd.double(), scale, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        y.double(), total.double() * scale * gamma.double(), rtol=2e-2, atol=2e-2
    )


SCHEDULERS = [f"{name}_worker_scheduler{end}" for name in ("attention", "ffn") for end in ("", "_")]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers(name: str) -> None:
    context = bytes_of(1024)
    assert torch.equal(check_compiled(getattr(npu, name), context), context)


def test_barrier() -> None:
    out = check_compiled(lambda x: npu._npu_distribute_barrier(x, "group", 1), X1)
    assert torch.equal(out, X1)


CASES: dict[str, Any] = {
    "npu_all_gather_quant_mm": ((16384, 1024), (16384, 1024)),
    "npu_quant_mm_reduce_scatter": ((256, 1024), (0,)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_public_cases_compile_for_eight_ranks(name: str) -> None:
    """The graph is made with the shapes of eight ranks; one rank cannot run it."""
    x1, x2 = halves(2048, 1024), halves(1024, 1024)

    def function(a: Tensor, b: Tensor) -> Any:
        return getattr(npu, name)(a, b, "94430305206192", 8)[:2]

    with torch._subclasses.FakeTensorMode() as mode:
        found = function(mode.from_tensor(x1), mode.from_tensor(x2))
    assert tuple(tuple(t.shape) for t in found) == CASES[name]
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    with pytest.raises(TorchairError, match="the group has another number of ranks"):
        compiled(x1, x2)
