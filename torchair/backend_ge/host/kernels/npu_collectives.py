"""Kernels of products fused with communication, and of dispatch to experts.

Products that are summed, gathered or scattered over ranks communicate through torch.distributed;
those that exchange rows run on one rank, where that changes nothing, and refuse several.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_process_groups as groups
from torchair.backend_ge.host.kernels.npu_grouped_matmul import group_ends
from torchair.backend_ge.host.kernels.npu_grouped_rows import row_groups
from torchair.backend_ge.host.kernels.npu_matmul import antiquant, product
from torchair.backend_ge.host.kernels.npu_quantization_values import dequant_factor
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.errors import EngineError

_UNDEFINED = 28
"""``ge::DataType`` of "as the inputs"."""


def one_rank(name: str, size: int | None = None) -> None:
    """Refuse groups of several ranks.

    Args:
        name: GE operator.
        size: ranks of the group; None when the operator only knows the group's name.

    Raises:
        EngineError: there are several ranks.
    """
    if size is None and torch.distributed.is_available() and torch.distributed.is_initialized():
        size = torch.distributed.get_world_size()
    if size is not None and size > 1:
        raise EngineError(
            f"{name} communicates, and the host device is one rank",
            expected="a group of 1 rank",
            found=f"{size} ranks",
            hint="run this graph on NPUs, or compile with a group of one rank",
        )


def _gathered(name: str, x: Tensor, group: str, rank_size: int) -> Tensor:
    """The rows of all ranks."""
    groups.require_size(name, group, rank_size)
    return x if rank_size <= 1 else groups.all_gather(x, [x.size(0)] * rank_size, group)


def _scattered(name: str, x: Tensor, group: str, rank_size: int) -> Tensor:
    """This rank's rows of the sum over all ranks."""
    groups.require_size(name, group, rank_size)
    if rank_size <= 1:
        return x
    rows = x.size(0) // rank_size
    return groups.reduce_scatter(x, [rows] * rank_size, rows, "sum", group)


def _matrix(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None,
    scales: tuple[Tensor | None, Tensor | None],
    dtype: torch.dtype,
) -> Tensor:
    """``(x1 x2 + integer bias) scales + bias``; scales are per row and per column."""
    found = product(x1, x2)
    if bias is not None and not bias.is_floating_point():
        found = found + bias.double()
    found = found.float()
    if scales[1] is not None:
        found = found * dequant_factor(scales[1]).reshape(-1)
    if scales[0] is not None:
        rows = scales[0].float()
        found = found * (rows if rows.numel() == 1 else rows.reshape(-1, 1))
    if bias is not None and bias.is_floating_point():
        found = found + bias.float()
    return found.to(dtype)


def _result(x: Tensor, number: int) -> torch.dtype:
    return x.dtype if number == _UNDEFINED else torch_dtype(number)


@kernel("MatmulAllReduce")
def matmul_all_reduce(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x3: Tensor | None = None,
    antiquant_scale: Tensor | None = None,
    antiquant_offset: Tensor | None = None,
    dequant_scale: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    comm_quant_scale_1: Tensor | None = None,
    comm_quant_scale_2: Tensor | None = None,
    *,
    group: str,
    is_trans_a: bool = False,
    is_trans_b: bool = False,
    antiquant_group_size: int = 0,
    y_dtype: int = _UNDEFINED,
    **_: Any,
) -> Tensor:
    """The product, its weight dequantised or itself, plus ``x3``, summed over ranks in float32."""
    left, right = (x1.mT if is_trans_a else x1), (x2.mT if is_trans_b else x2)
    if antiquant_scale is not None:
        right = antiquant(right, antiquant_scale, antiquant_offset, antiquant_group_size)
    wanted = torch.float16 if x1.dtype is torch.int8 else x1.dtype
    wanted = wanted if y_dtype == _UNDEFINED else torch_dtype(y_dtype)
    found = _matrix(left, right, bias, (pertoken_scale, dequant_scale), torch.float32)
    found = found if x3 is None else found + x3.float()
    if groups.process_group(group) is not None:
        found = groups.all_reduce(found, "sum", group)
    return found.to(wanted)


@kernel("AllGatherMatmul")
def all_gather_matmul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    *,
    group: str,
    rank_size: int = 0,
    is_gather_out: bool = True,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """The product of the gathered rows, and those (empty unless asked for)."""
    rows = _gathered("AllGatherMatmul", x1, group, rank_size)
    found = _matrix(rows, x2, bias, (None, None), x1.dtype)
    return found, rows.clone() if is_gather_out else x1.new_empty(0)


@kernel("AllGatherMatmulV2")
def all_gather_matmul_v2(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    quant_scale: Tensor | None = None,
    *,
    group: str,
    rank_size: int = 0,
    is_gather_out: bool = True,
    y_dtype: int = 0,
    **_: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """As AllGatherMatmul of quantised tensors; the largest values are not given."""
    rows = _gathered("AllGatherMatmulV2", x1, group, rank_size)
    if x1_scale is not None and x1_scale.numel() > 1:
        x1_scale = _gathered("AllGatherMatmulV2", x1_scale, group, rank_size)
    found = _matrix(rows, x2, bias, (x1_scale, x2_scale), torch_dtype(y_dtype))
    gathered = rows.clone() if is_gather_out else x1.new_empty(0)
    return found, gathered, found.new_empty(0, dtype=torch.float32)


@kernel("MatmulReduceScatter")
def matmul_reduce_scatter(
    x1: Tensor, x2: Tensor, bias: Tensor | None = None, *, group: str, rank_size: int = 0, **_: Any
) -> Tensor:
    """The product, summed over ranks in float32; each has some of its rows."""
    found = _matrix(x1, x2, bias, (None, None), torch.float32)
    return _scattered("MatmulReduceScatter", found, group, rank_size).to(x1.dtype)


@kernel("MatmulReduceScatterV2")
def matmul_reduce_scatter_v2(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    quant_scale: Tensor | None = None,
    *,
    group: str,
    rank_size: int = 0,
    y_dtype: int = _UNDEFINED,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """As MatmulReduceScatter of quantised tensors; the largest values are not given."""
    found = _matrix(x1, x2, bias, (x1_scale, x2_scale), torch.float32)
    found = _scattered("MatmulReduceScatterV2", found, group, rank_size).to(_result(x1, y_dtype))
    return found, found.new_empty(0, dtype=torch.float32)


@kernel("MatmulAlltoAll")
def matmul_all_to_all(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    *absent: Tensor | None,
    world_size: int,
    y_dtype: int = _UNDEFINED,
    **_: Any,
) -> Tensor:
    """The product, scaled per row and column."""
    one_rank("MatmulAlltoAll", world_size)
    _refuse("MatmulAlltoAll", absent)
    return _matrix(x1, x2, bias, (x1_scale, x2_scale), _result(x1, y_dtype))


@kernel("AlltoAllMatmul")
def all_to_all_matmul(
    x1: Tensor,
    x2: Tensor,
    bias: Tensor | None = None,
    x1_scale: Tensor | None = None,
    x2_scale: Tensor | None = None,
    *absent: Tensor | None,
    world_size: int,
    y_dtype: int = _UNDEFINED,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """The product, scaled per row and column, and what was exchanged."""
    one_rank("AlltoAllMatmul", world_size)
    _refuse("AlltoAllMatmul", absent)
    return _matrix(x1, x2, bias, (x1_scale, x2_scale), _result(x1, y_dtype)), x1.clone()


def _refuse(name: str, absent: tuple[Tensor | None, ...]) -> None:
    if any(t is not None for t in absent):
        raise EngineError(f"the host kernel of {name} takes no offsets or scales of messages")


def _experts(x: Tensor, weight: Tensor, counts: list[int], is_turned: bool) -> Tensor:
    """Products of the rows of every expert, float32."""
    ends = group_ends(torch.tensor(counts, device=x.device), 1, 0)
    return row_groups(x, weight.mT if is_turned else weight, ends).float()


@kernel("AlltoAllvGroupedMatMul")
def all_to_allv_grouped_mat_mul(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    send_counts_tensor: Tensor | None = None,
    recv_counts_tensor: Tensor | None = None,
    mm_x: Tensor | None = None,
    mm_weight: Tensor | None = None,
    *,
    ep_world_size: int,
    recv_counts: list[int],
    trans_gmm_weight: bool = False,
    trans_mm_weight: bool = False,
    permute_out_flag: bool = False,
    **_: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Products of each expert's rows, of the shared expert's, and the rows themselves."""
    one_rank("AlltoAllvGroupedMatMul", ep_world_size)
    found = _experts(gmm_x, gmm_weight, recv_counts, trans_gmm_weight).to(gmm_x.dtype)
    shared = _shared(mm_x, mm_weight, trans_mm_weight, gmm_x)
    return found, shared, gmm_x.clone() if permute_out_flag else gmm_x.new_empty(0)


@kernel("GroupedMatMulAlltoAllv")
def grouped_mat_mul_all_to_allv(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    send_counts_tensor: Tensor | None = None,
    recv_counts_tensor: Tensor | None = None,
    mm_x: Tensor | None = None,
    mm_weight: Tensor | None = None,
    *,
    ep_world_size: int,
    send_counts: list[int],
    trans_gmm_weight: bool = False,
    trans_mm_weight: bool = False,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    one_rank("GroupedMatMulAlltoAllv", ep_world_size)
    found = _experts(gmm_x, gmm_weight, send_counts, trans_gmm_weight).to(gmm_x.dtype)
    return found, _shared(mm_x, mm_weight, trans_mm_weight, gmm_x)


@kernel("AlltoAllvQuantGroupedMatMul")
def all_to_allv_quant_grouped_mat_mul(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    gmm_x_scale: Tensor,
    gmm_weight_scale: Tensor,
    send_counts_tensor: Tensor | None = None,
    recv_counts_tensor: Tensor | None = None,
    mm_x: Tensor | None = None,
    mm_weight: Tensor | None = None,
    mm_x_scale: Tensor | None = None,
    mm_weight_scale: Tensor | None = None,
    *,
    ep_world_size: int,
    recv_counts: list[int],
    permute_out_flag: bool = False,
    y_dtype: int,
    mm_dtype: int = _UNDEFINED,
    **_: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """As AlltoAllvGroupedMatMul, with one scale per operand."""
    name = "AlltoAllvQuantGroupedMatMul"
    one_rank(name, ep_world_size)
    scales = (gmm_x_scale, gmm_weight_scale)
    found = _scaled(_experts(gmm_x, gmm_weight, recv_counts, False), scales, name)
    shared = _quantised_shared(mm_x, mm_weight, (mm_x_scale, mm_weight_scale), mm_dtype, name)
    moved = gmm_x.clone() if permute_out_flag else gmm_x.new_empty(0)
    return found.to(torch_dtype(y_dtype)), shared, moved


@kernel("QuantGroupedMatMulAlltoAllv")
def quant_grouped_mat_mul_all_to_allv(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    gmm_x_scale: Tensor,
    gmm_weight_scale: Tensor,
    send_counts_tensor: Tensor | None = None,
    recv_counts_tensor: Tensor | None = None,
    mm_x: Tensor | None = None,
    mm_weight: Tensor | None = None,
    mm_x_scale: Tensor | None = None,
    mm_weight_scale: Tensor | None = None,
    comm_quant_scale: Tensor | None = None,
    *,
    ep_world_size: int,
    send_counts: list[int],
    y_dtype: int,
    mm_dtype: int = _UNDEFINED,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """As GroupedMatMulAlltoAllv, with one scale per operand."""
    name = "QuantGroupedMatMulAlltoAllv"
    one_rank(name, ep_world_size)
    _refuse(name, (comm_quant_scale,))
    scales = (gmm_x_scale, gmm_weight_scale)
    found = _scaled(_experts(gmm_x, gmm_weight, send_counts, False), scales, name)
    shared = _quantised_shared(mm_x, mm_weight, (mm_x_scale, mm_weight_scale), mm_dtype, name)
    return found.to(torch_dtype(y_dtype)), shared


def _scaled(found: Tensor, scales: tuple[Tensor | None, ...], name: str) -> Tensor:
    for scale in scales:
        if scale is None or scale.numel() != 1:
            raise EngineError(
                f"the host kernel of {name} takes one scale per operand",
                hint="run this graph on NPUs",
            )
        found = found * scale.float().reshape(1, 1)
    return found


def _quantised_shared(
    x: Tensor | None,
    weight: Tensor | None,
    scales: tuple[Tensor | None, Tensor | None],
    number: int,
    name: str,
) -> Tensor:
    if x is None or weight is None:
        return torch.empty(0, dtype=torch.float16)
    found = torch.matmul(x.float(), weight.float())
    return _scaled(found, scales, name).to(_result(x, number))


def _shared(x: Tensor | None, weight: Tensor | None, is_turned: bool, like: Tensor) -> Tensor:
    if x is None or weight is None:
        return like.new_empty(0)
    return torch.matmul(x.float(), (weight.mT if is_turned else weight).float()).to(x.dtype)


@kernel("DistributeBarrier")
def distribute_barrier(
    x_ref: Tensor,
    time_out: Tensor | None = None,
    elastic_info: Tensor | None = None,
    *,
    group: str,
    world_size: int,
) -> Tensor:
    """Waits for all ranks: one rank need not wait."""
    one_rank("DistributeBarrier", world_size)
    return x_ref


@kernel("AttentionWorkerScheduler", "FfnWorkerScheduler")
def worker_scheduler(
    schedule_context: Tensor, sync_group_size: int = 1, execute_mode: int = 0
) -> Tensor:
    """Waits for other workers, which the host device does not have."""
    return schedule_context
