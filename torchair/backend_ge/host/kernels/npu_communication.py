"""Kernels of collectives, after GE's definitions; ``npu_process_groups`` communicates."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_process_groups as groups
from torchair.backend_ge.host.kernels.npu_mx_quantization import power
from torchair.backend_ge.host.kernels.registry import ints, kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import FLOAT8_E8M0, dequantized
from torchair.errors import EngineError

_UNDEFINED = 28
_BFLOAT16 = 27
"""``ge::DataType`` numbers of "as the inputs" and bfloat16."""


@kernel("HcomAllReduce", random=True)
def hcom_all_reduce(
    x: Tensor, *, reduction: str, group: str, fusion: int = 1, fusion_id: int = -1
) -> Tensor:
    return groups.all_reduce(x, reduction, group)


@kernel("HcomAllGather", random=True)
def hcom_all_gather(
    x: Tensor, *, rank_size: int, group: str, fusion: int = 0, fusion_id: int = -1
) -> Tensor:
    """``[rank_size * rows, ...]``."""
    return groups.all_gather(x, [x.size(0)] * rank_size, group)


@kernel("HcomAllGatherV", random=True)
def hcom_all_gather_v(
    x: Tensor,
    send_count: Tensor,
    recv_counts: Tensor,
    recv_displacements: Tensor | None = None,
    *,
    group: str,
) -> Tensor:
    """Ranks have different numbers of rows."""
    counts = ints(recv_counts)
    _require_dense("HcomAllGatherV", counts, recv_displacements)
    return groups.all_gather(x, counts, group)


@kernel("HcomReduceScatter", random=True)
def hcom_reduce_scatter(
    x: Tensor,
    *,
    reduction: str,
    group: str,
    rank_size: int,
    fusion: int = 0,
    fusion_id: int = -1,
) -> Tensor:
    """``[rows / rank_size, ...]``."""
    rows = x.size(0) // rank_size
    return groups.reduce_scatter(x, [rows] * rank_size, rows, reduction, group)


@kernel("HcomReduceScatterV", random=True)
def hcom_reduce_scatter_v(
    x: Tensor,
    recv_count: Tensor,
    send_counts: Tensor,
    send_displacements: Tensor | None = None,
    *,
    reduction: str,
    group: str,
) -> Tensor:
    """Ranks get different numbers of rows."""
    counts = ints(send_counts)
    _require_dense("HcomReduceScatterV", counts, send_displacements)
    return groups.reduce_scatter(x, counts, ints(recv_count)[0], reduction, group)


@kernel("HcomAllToAll", random=True)
def hcom_all_to_all(x: Tensor, *, group: str) -> Tensor:
    """Every rank sends as many rows to every rank."""
    found = groups.process_group(group)
    ranks = 1 if found is None else found.size()
    rows = [x.size(0) // ranks] * ranks
    return groups.all_to_all(x, rows, rows, group)


@kernel("HcomAllToAllV", random=True)
def hcom_all_to_all_v(
    send_data: Tensor,
    send_counts: Tensor,
    send_displacements: Tensor,
    recv_counts: Tensor,
    recv_displacements: Tensor,
    *,
    group: str,
) -> Tensor:
    """Counts are of elements, and of whole rows."""
    sent, received = ints(send_counts), ints(recv_counts)
    _require_dense("HcomAllToAllV", sent, send_displacements)
    _require_dense("HcomAllToAllV", received, recv_displacements)
    inner = 1
    for size in send_data.shape[1:]:
        inner *= size
    inner = max(inner, 1)
    return groups.all_to_all(
        send_data, [n // inner for n in sent], [n // inner for n in received], group
    )


@kernel("HcomBroadcast", random=True)
def hcom_broadcast(
    x: list[Tensor], *, root_rank: int, group: str, fusion: int = 0, fusion_id: int = -1
) -> list[Tensor]:
    return [groups.broadcast(value, root_rank, group) for value in x]


@kernel("HcomSend", random=True)
def hcom_send(x: Tensor, *, group: str, sr_tag: int, dest_rank: int) -> tuple[()]:
    groups.send(x, dest_rank, sr_tag, group)
    return ()


@kernel("HcomReceive", random=True)
def hcom_receive(
    *, group: str, sr_tag: int, src_rank: int, shape: list[int], dtype: torch.dtype
) -> Tensor:
    return groups.receive(shape, dtype, src_rank, sr_tag, group)


def _require_dense(name: str, counts: list[int], displacements: Tensor | None) -> None:
    """Parts lie one after the other."""
    if displacements is None or displacements.numel() == 0:
        return
    found = ints(displacements)
    dense = [sum(counts[:i]) for i in range(len(counts))]
    if found != dense:
        raise EngineError(
            f"the host kernel of {name} takes parts that lie one after the other",
            expected=f"displacements {dense}",
            found=str(found),
        )


@kernel("QuantAllReduce")
def quant_all_reduce(
    x: Tensor,
    scales: Tensor,
    *,
    group: str,
    reduce_op: str = "sum",
    output_dtype: int = _BFLOAT16,
    world_size: int,
) -> Tensor:
    """The sum over ranks of ``x`` times its scales, summed in float32.

    Args:
        x: 8-bit numbers ``[..., columns]``.
        scales: float32 ``[..., columns / n]``, or powers of two ``[..., columns / (2 n), 2]``.
        group: name of the group.
        reduce_op: ``sum``.
        output_dtype: ``ge::DataType`` of the result.
        world_size: ranks of the group.
    """
    groups.require_size("QuantAllReduce", group, world_size)
    return groups.all_reduce(_scaled(x, scales), reduce_op, group).to(_result(output_dtype))


@kernel("QuantReduceScatter")
def quant_reduce_scatter(
    x: Tensor,
    scales: Tensor,
    *,
    group: str,
    reduce_op: str = "sum",
    output_dtype: int = _BFLOAT16,
    world_size: int,
) -> Tensor:
    """As QuantAllReduce, of which every rank gets as many rows: ``[rows / world_size, columns]``.

    Leading dimensions of ``x`` are rows.
    """
    groups.require_size("QuantReduceScatter", group, world_size)
    values = _scaled(x, scales).flatten(0, -2)
    rows = values.size(0) // world_size
    found = groups.reduce_scatter(values, [rows] * world_size, rows, reduce_op, group)
    return found.to(_result(output_dtype))


def _result(number: int) -> torch.dtype:
    return torch.bfloat16 if number == _UNDEFINED else torch_dtype(number)


def _scaled(x: Tensor, scales: Tensor) -> Tensor:
    """``x`` in float32 times the scales of its groups of columns."""
    if scales.dtype is FLOAT8_E8M0:
        codes = scales.contiguous().view(torch.uint8).int()
        factors = power(codes.flatten(-2) if codes.dim() > x.dim() else codes)
    else:
        factors = scales.float()
    columns, groups_ = x.size(-1), factors.size(-1)
    if groups_ == 0 or columns % groups_ or factors.shape[:-1] != x.shape[:-1]:
        raise EngineError(
            "scales do not fit what they scale",
            expected="one scale per row and group of columns",
            found=f"{list(scales.shape)} for {list(x.shape)}",
        )
    return dequantized(x) * factors.repeat_interleave(columns // groups_, -1)
