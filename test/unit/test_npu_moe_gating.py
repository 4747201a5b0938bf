"""npu choice of experts against loops over rows, eager and compiled, static and dynamic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    parts = [math.exp(v - top) for v in row]
    return [p / sum(parts) for p in parts]


def best(scores: list[float], k: int) -> list[int]:
    """Largest first, of equal ones the lower index."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]


def close(found: Tensor, expected: list[Any]) -> None:
    limit = TOLERANCE.get(found.dtype, 0)
    wanted = torch.tensor(expected, dtype=torch.float64).reshape(found.shape)
    torch.testing.assert_close(found.double(), wanted, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("shape", "k"), [((3, 4), 1), ((5, 8), 3), ((2, 3, 6), 6)])
def test_top_k_softmax(dtype: torch.dtype, shape: tuple[int, ...], k: int) -> None:
    x = torch.randn(shape, dtype=dtype)
    finished = torch.rand(shape[:-1]) < 0.4
    y, experts, rows = check_compiled(
        lambda x, f: npu.npu_moe_gating_top_k_softmax(x, f, k), x, finished
    )
    scores = [softmax(row) for row in x.double().flatten(0, -2).tolist()]
    chosen = [best(row, k) for row in scores]
    close(y, [[s[i] for i in c] for s, c in zip(scores, chosen, strict=True)])
    done = finished.flatten().tolist()
    wanted = [[shape[-1]] * k if d else c for d, c in zip(done, chosen, strict=True)]
    assert experts.tolist() == torch.tensor(wanted).reshape(experts.shape).tolist()
    places = [[row + column * len(scores) for column in range(k)] for row in range(len(scores))]
    assert rows.tolist() == torch.tensor(places).reshape(rows.shape).tolist()
    assert experts.dtype is rows.dtype is torch.int32 and y.dtype is dtype


def test_top_k_softmax_takes_the_first_of_equals() -> None:
    _, experts, _ = check_compiled(
        lambda x: npu.npu_moe_gating_top_k_softmax(x, None, 3), torch.zeros(2, 5)
    )
    assert experts.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("renorm", [0, 1])
@pytest.mark.parametrize("all_scores", [False, True])
def test_top_k_softmax_v2(renorm: int, all_scores: bool) -> None:
    x = torch.randn(3, 4)
    y, experts, scores = check_compiled(
        lambda x: npu.npu_moe_gating_top_k_softmax_v2(
            x, k=2, finished=None, renorm=renorm, output_softmax=all_scores
        ),
        x,
    )
    rows = x.double().tolist()
    chosen = [best(row, 2) for row in rows]
    assert experts.tolist() == chosen
    if renorm:
        close(y, [softmax([r[i] for i in c]) for r, c in zip(rows, chosen, strict=True)])
        assert scores.numel() == 0
        return
    close(y, [[softmax(r)[i] for i in c] for r, c in zip(rows, chosen, strict=True)])
    assert scores.shape == ((3, 4) if all_scores else (0,))


def top_k_reference(
    row: list[float], bias: list[float], k: int, groups: int, keep: int, mode: int, sigmoid: bool
) -> tuple[list[float], list[int]]:
    scores = [1 / (1 + math.exp(-v)) for v in row] if sigmoid else softmax(row)
    biased = [s + b for s, b in zip(scores, bias, strict=True)]
    size = len(row) // groups
    parts = [sorted(biased[g * size : (g + 1) * size], reverse=True) for g in range(groups)]
    kept = best([sum(p[: mode + 1]) for p in parts], keep)
    allowed = [b if i // size in kept else -math.inf for i, b in enumerate(biased)]
    chosen = best(allowed, k)
    return [scores[i] for i in chosen], chosen


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(("norm_type", "mode"), [(0, 0), (1, 1), (1, 0)])
def test_top_k(dtype: torch.dtype, norm_type: int, mode: int) -> None:
    torch.manual_seed(1)
    x, bias = torch.randn(4, 16, dtype=dtype), torch.rand(16, dtype=dtype)
    y, experts, scores = check_compiled(
        lambda x, b: npu.npu_moe_gating_top_k(
            x,
            3,
            bias=b,
            k_group=2,
            group_count=4,
            group_select_mode=mode,
            norm_type=norm_type,
            routed_scaling_factor=2.5,
            out_flag=True,
        ),
        x,
        bias,
    )
    for row in range(4):
        wanted, chosen = top_k_reference(
            x[row].tolist(), bias.tolist(), 3, 4, 2, mode, bool(norm_type)
        )
        total = sum(wanted) if norm_type else 1.0
        assert experts[row].tolist() == chosen
        close(y[row], [v / total * 2.5 for v in wanted])
    assert scores.shape == x.shape and scores.dtype is torch.float32


def test_top_k_plain_renormalised_and_by_table() -> None:
    x = torch.randn(4, 6)
    y, experts, _ = check_compiled(lambda x: npu.npu_moe_gating_top_k(x, 2, renorm=1), x)
    torch.testing.assert_close(y.sum(-1), torch.ones(4))
    assert experts.tolist() == [best(row, 2) for row in x.tolist()]
    table = torch.tensor([[0, 5], [3, 1], [4, 4]])
    ids = torch.tensor([2, 0, 1, 0])
    y, experts, _ = check_compiled(
        lambda x, i, t: npu.npu_moe_gating_top_k(x, 2, input_ids=i, tid2eid=t), x, ids, table
    )
    assert experts.tolist() == table[ids].tolist()
    torch.testing.assert_close(y, torch.softmax(x, -1).gather(1, table[ids]))
    with pytest.raises(TorchairError, match="go together"):
        npu.npu_moe_gating_top_k(x, 2, input_ids=ids)


@pytest.mark.parametrize("balance_mode", [0, 1])
@pytest.mark.parametrize("pruned", [False, True])
def test_update_expert(balance_mode: int, pruned: bool) -> None:
    torch.manual_seed(2)
    ids = torch.randint(0, 6, (5, 3), dtype=torch.int32)
    counts = torch.tensor([1, 2, 3, 4, 1, 2])
    table = torch.cat((counts[:, None], torch.randint(0, 8, (6, 4))), 1).int()
    scales, limits = torch.rand(5, 3), torch.rand(1, 3) * 0.5
    mask = torch.tensor([True, True, True, False, False])
    physical, used = check_compiled(
        lambda i, t, s, p, m: npu.npu_moe_update_expert(
            i,
            t,
            expert_scales=s if pruned else None,
            pruning_threshold=p if pruned else None,
            active_mask=m if pruned else None,
            local_rank_id=5,
            world_size=8,
            balance_mode=balance_mode,
        ),
        ids,
        table,
        scales,
        limits,
        mask,
    )
    for token in range(5):
        for column in range(3):
            expert = int(ids[token, column])
            count = int(counts[expert])
            instance = token % count if balance_mode else 5 // math.ceil(8 / count)
            assert physical[token, column] == table[expert, instance + 1]
            limit = limits[0, column] * scales[token].sum()
            wanted = bool(mask[token] and scales[token, column] >= limit) if pruned else True
            assert bool(used[token, column]) == wanted
    with pytest.raises(TorchairError, match="needs local_rank_id"):
        npu.npu_moe_update_expert(ids, table)
