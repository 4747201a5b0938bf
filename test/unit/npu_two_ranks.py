"""One of two ranks: every collective in eager and compiled, its results written to a file.

python npu_two_ranks.py <rank> <file that both ranks meet at> <file of the results>
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch import Tensor

import torchair

RANKS = [0, 1]


def all_reduce(x: Tensor) -> Tensor:
    total = x * 2
    dist.all_reduce(total)
    dist.all_reduce(total, dist.ReduceOp.MAX)
    return total + 1


def all_gather(x: Tensor) -> Tensor:
    return functional.all_gather_tensor(x, 0, dist.group.WORLD) * 2


def reduce_scatter(x: Tensor) -> Tensor:
    return functional.reduce_scatter_tensor(x, "sum", 0, dist.group.WORLD) * 2


def broadcast(x: Tensor) -> Tensor:
    return functional.broadcast(x, 1, dist.group.WORLD) * 2


def all_to_all(x: Tensor) -> Tensor:
    counts = ([1, 3], [1, 2]) if dist.get_rank() == 0 else ([3, 1], [2, 2])
    sent, received = counts[0], [[1, 3], [3, 1]][dist.get_rank()]
    return functional.all_to_all_single(x, received, sent, dist.group.WORLD) * 2


def uneven(x: Tensor) -> tuple[Tensor, Tensor]:
    ops = torch.ops.npu_define
    rank = dist.get_rank()
    mine = x[: 3 - rank] + 1
    gathered = ops.allgather_in_tensor_uneven(mine, 3 - rank, [3, 2], "", RANKS, 2, [])
    shared = ops.reduce_scatter_tensor_uneven(x, [1, 3], 1 + 2 * rank, "sum", "", RANKS, 2, [])
    return gathered * 2, shared * 2


def lists(x: Tensor) -> tuple[Tensor, ...]:
    ops = torch.ops.npu_define
    parts = ops.allgather([x.new_empty(4, 3), x.new_empty(4, 3)], x, "", RANKS, 2)
    stacked = ops._allgather_in_tensor_shape(x, [2, 4, 3], "", RANKS, 2)
    return *parts, stacked * 2, ops.broadcast(x, 0, "", RANKS, 2)


def exchange(x: Tensor) -> Tensor:
    ops = torch.ops.npu_define
    even = ops.all_to_all_single_npu(x, [6, 6], [0, 6], [6, 6], [0, 6], "", RANKS, 2)
    if dist.get_rank() == 0:
        ops._send(even, 1, RANKS, "", 7)
        return even
    return ops._recv(torch.empty_like(x), 0, RANKS, "", 7) * 2


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    numbers, scale = (x * 9).to(torch.int8), x[:, :1].abs() + 1
    name = "tag=;rank_list=0,1"
    total = torch.ops.npu.npu_quant_all_reduce(numbers, scale, name, 2)
    part = torch.ops.npu.npu_quant_reduce_scatter(numbers, scale, name, 2, output_dtype=6)
    return total, part


def products(x: Tensor) -> tuple[Tensor, ...]:
    """Products fused with communication; the groups have torch's names."""
    npu, w = torch.ops.npu, torch.arange(15.0).reshape(3, 5).half() + dist.get_rank()
    half, eight = x.half(), x.to(torch.float8_e4m3fn)
    summed = npu.npu_mm_all_reduce_base(half, w, "0")
    gathered, rows = npu.npu_all_gather_base_mm(half, w, "0", 2)
    scattered = npu.npu_mm_reduce_scatter_base(half, w, "0", 2)
    table, scale = w.to(torch.float8_e4m3fn), x[:, :1].abs() + 1
    wide = npu.npu_all_gather_quant_mm(eight, table, "0", 2, x1_scale=scale, y_dtype=6)
    part = npu.npu_quant_mm_reduce_scatter(eight, table, "0", 2, x1_scale=scale, y_dtype=6)
    return summed, gathered, rows, scattered, wide[0], part[0]


FUNCTIONS: list[Callable[[Tensor], Any]] = [
    all_reduce,
    all_gather,
    reduce_scatter,
    broadcast,
    all_to_all,
    uneven,
    lists,
    exchange,
    quantised,
    products,
]


HALF: list[Callable[[Tensor], Any]] = [all_reduce, all_gather, broadcast]
"""Those that run in bfloat16 as well, which GE's collectives do not take."""


def everything(x: Tensor) -> dict[str, Any]:
    return {function.__name__: function(x) for function in FUNCTIONS}


def everything_in_half(x: Tensor) -> dict[str, Any]:
    return {f"{function.__name__} of bfloat16": function(x) for function in HALF}


def main(rank: int, meeting: str, results: str) -> None:
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    torch.manual_seed(rank)
    x = torch.randn(4, 3)
    found: dict[str, Any] = {"x": x, "eager": {}, "compiled": {}}
    for function, value in ((everything, x), (everything_in_half, x.bfloat16())):
        compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
        with torch.no_grad():
            found["eager"] |= function(value)
            found["compiled"] |= compiled(value)
    torch.save(found, results)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
