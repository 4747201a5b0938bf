"""Communication between processes for the host device, over torch.distributed on CPU tensors.

Each function is one operator of ``torchair_host``, so that a host program calls it when it runs and
never while it is traced. A group is named as in a GE graph, see ``process_group``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d as c10d

from torchair.errors import EngineError

_library = torch.library.Library("torchair_host", "FRAGMENT")
_ORDERED = (torch.Tag.nondeterministic_seeded,)
"""Other ranks wait: calls keep their order, and none is dropped or done once for two."""
_REDUCTIONS = {"sum": "SUM", "prod": "PRODUCT", "product": "PRODUCT", "max": "MAX", "min": "MIN"}


def process_group(name: str) -> Any | None:
    """The process group of a name; None when it is this process alone.

    Args:
        name: ``tag=<tag>;rank_list=<ranks>``, or the name that torch gives a group.

    Raises:
        EngineError: there is no such group in this process.
    """
    tag, ranks = _tag_and_ranks(name)
    if not (dist.is_available() and dist.is_initialized()):
        if len(ranks) > 1:
            raise EngineError(
                "the graph communicates with other ranks, and torch.distributed is not started",
                found=f"ranks {ranks}",
                hint="call torch.distributed.init_process_group on every rank",
            )
        return None
    if dist.get_world_size() == 1:
        return None
    group = _find(name, tag, ranks)
    return None if group.size() == 1 else group


def require_size(name: str, group: str, ranks: int) -> None:
    """Refuse to communicate in a group of another size than a graph was made for.

    Args:
        name: GE operator.
        group: name of the group.
        ranks: how many the operator says it has; 0 when it does not.

    Raises:
        EngineError: the group has another number of ranks.
    """
    if ranks <= 1:
        return
    found = process_group(group)
    if found is None or found.size() != ranks:
        raise EngineError(
            f"{name}: the group has another number of ranks",
            expected=f"{ranks} ranks",
            found="1 rank" if found is None else f"{found.size()} ranks",
            hint="start torch.distributed on every rank, or compile with a group of one rank",
        )


def _find(name: str, tag: str, ranks: list[int]) -> Any:
    try:
        if ranks:
            return c10d._find_or_create_pg_by_ranks_and_tag(tag, ranks, len(ranks))
        resolve: Any = c10d._resolve_process_group  # pyright: ignore[reportPrivateImportUsage]
        return resolve(name)
    except (LookupError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"there is no process group '{name}'",
            expected="tag=<tag>;rank_list=<ranks>, or the name of a group of torch.distributed",
            hint="HCCL's names exist on NPUs only",
        ) from error


def _tag_and_ranks(name: str) -> tuple[str, list[int]]:
    if not name.startswith("tag=") or ";rank_list=" not in name:
        return "", []
    tag, _, ranks = name.removeprefix("tag=").partition(";rank_list=")
    return tag, [int(rank) for rank in ranks.split(",") if rank]


def _operation(reduction: str) -> Any:
    name = _REDUCTIONS.get(reduction)
    if name is None:
        raise EngineError(
            "unknown reduction", expected=", ".join(_REDUCTIONS), found=repr(reduction)
        )
    return getattr(dist.ReduceOp, name)


def all_reduce(x: Tensor, reduction: str, group: str) -> Tensor:
    """The reduction over all ranks: ``sum``, ``prod``, ``max`` or ``min``; as ``x``."""
    return torch.ops.torchair_host.all_reduce(x, reduction, group)


def all_gather(x: Tensor, rows: Sequence[Any], group: str) -> Tensor:
    """The tensors of all ranks one after the other.

    Args:
        x: ``[rows of this rank, ...]``.
        rows: the rows of each rank.
        group: name of the group.
    """
    return torch.ops.torchair_host.all_gather(x, rows, group)


def reduce_scatter(
    x: Tensor, rows: Sequence[Any], received: Any, reduction: str, group: str
) -> Tensor:
    """This rank's rows of the reduction over all ranks.

    Args:
        x: ``[sum of rows, ...]``.
        rows: the rows of each rank.
        received: those of this rank.
        reduction: as for ``all_reduce``.
        group: name of the group.
    """
    return torch.ops.torchair_host.reduce_scatter(x, rows, received, reduction, group)


def all_to_all(x: Tensor, sent: Sequence[Any], received: Sequence[Any], group: str) -> Tensor:
    """Rows exchanged: ``sent`` to each rank, ``received`` from each; in the order of the ranks."""
    return torch.ops.torchair_host.all_to_all(x, sent, received, group)


def broadcast(x: Tensor, root: int, group: str) -> Tensor:
    """The tensor of one rank of the group."""
    return torch.ops.torchair_host.broadcast(x, root, group)


def send(x: Tensor, rank: int, tag: int, group: str) -> None:
    """Send a tensor to a rank of the group, which receives it with the same tag."""
    torch.ops.torchair_host.send(x, rank, tag, group)


def receive(
    shape: Sequence[int],
    dtype: torch.dtype,
    rank: int,
    tag: int,
    group: str,
    device: torch.device | None = None,
) -> Tensor:
    """Receive a tensor from a rank of the group; on the CPU when no device is given."""
    return torch.ops.torchair_host.receive(shape, dtype, rank, tag, group, device)


def _all_reduce(x: Tensor, reduction: str, group: str) -> Tensor:
    found, operation = process_group(group), _operation(reduction)
    result = x.clone(memory_format=torch.contiguous_format)
    if found is not None:
        dist.all_reduce(result, operation, found)
    return result


def _all_gather(x: Tensor, rows: Sequence[int], group: str) -> Tensor:
    found = process_group(group)
    if found is None:
        return x.clone(memory_format=torch.contiguous_format)
    result = x.new_empty([sum(rows), *x.shape[1:]])
    parts = result.split(list(rows))
    parts[found.rank()].copy_(x)
    for rank, part in enumerate(parts):  # rows differ, which gloo's all_gather does not take
        if part.numel():
            dist.broadcast(_plain(part), group=found, group_src=rank)
    return result


def _plain(x: Tensor) -> Tensor:
    """Bytes in the place of 8-bit types that backends do not know."""
    return x.view(torch.uint8) if x.itemsize == 1 else x


def _reduce_scatter(
    x: Tensor, rows: Sequence[int], received: int, reduction: str, group: str
) -> Tensor:
    found = process_group(group)
    result = _all_reduce(x, reduction, group)
    return result if found is None else result.split(list(rows))[found.rank()].clone()


def _all_to_all(x: Tensor, sent: Sequence[int], received: Sequence[int], group: str) -> Tensor:
    found = process_group(group)
    if found is None:
        return x.clone(memory_format=torch.contiguous_format)
    result = x.new_empty([sum(received), *x.shape[1:]])
    parts = list(received), list(sent)
    dist.all_to_all_single(_plain(result), _plain(x.contiguous()), *parts, group=found)
    return result


def _broadcast(x: Tensor, root: int, group: str) -> Tensor:
    found = process_group(group)
    result = x.clone(memory_format=torch.contiguous_format)
    if found is not None:
        dist.broadcast(_plain(result), group=found, group_src=root)
    return result


def _several(group: str) -> Any:
    found = process_group(group)
    if found is None:
        raise EngineError("a rank does not send to itself", found=f"a group of one rank: {group}")
    return found


def _send(x: Tensor, rank: int, tag: int, group: str) -> None:
    dist.send(_plain(x.contiguous()), group=_several(group), tag=tag, group_dst=rank)


def _receive(
    shape: Sequence[int],
    dtype: torch.dtype,
    rank: int,
    tag: int,
    group: str,
    device: torch.device | None = None,
) -> Tensor:
    result = torch.empty(shape, dtype=dtype, device=device)
    dist.recv(_plain(result), group=_several(group), tag=tag, group_src=rank)
    return result


def _define(schema: str, run: Any, shape: Any) -> None:
    name = schema.partition("(")[0]
    _library.define(schema, tags=_ORDERED)
    _library.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"torchair_host::{name}", shape, lib=_library)


def _rows(x: Tensor, rows: Any) -> Tensor:
    return x.new_empty([rows, *x.shape[1:]])


_define(
    "all_reduce(Tensor x, str reduction, str group) -> Tensor",
    _all_reduce,
    lambda x, *_: x.new_empty(x.shape),
)
_define(
    "all_gather(Tensor x, SymInt[] rows, str group) -> Tensor",
    _all_gather,
    lambda x, rows, group: _rows(x, sum(rows)),
)
_define(
    "reduce_scatter(Tensor x, SymInt[] rows, SymInt received, str reduction, str group) -> Tensor",
    _reduce_scatter,
    lambda x, rows, received, *_: _rows(x, received),
)
_define(
    "all_to_all(Tensor x, SymInt[] sent, SymInt[] received, str group) -> Tensor",
    _all_to_all,
    lambda x, sent, received, group: _rows(x, sum(received)),
)
_define(
    "broadcast(Tensor x, int root, str group) -> Tensor",
    _broadcast,
    lambda x, *_: x.new_empty(x.shape),
)
_define("send(Tensor x, int rank, int tag, str group) -> ()", _send, lambda *_: None)
_define(
    "receive(SymInt[] shape, ScalarType dtype, int rank, int tag, str group, Device? device=None) "
    "-> Tensor",
    _receive,
    lambda shape, dtype, rank, tag, group, device=None: torch.empty(
        shape, dtype=dtype, device=device
    ),
)
