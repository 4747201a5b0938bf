"""Gives collectives the names under which the NPU's library of collectives (HCCL) knows their
groups.

A GE graph names the communicator itself; torch names groups otherwise, and torch_npu's collectives
name a tag and ranks. Without an NPU the host device understands those names.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d
from torch.fx import GraphModule, Node

from torchair.backend_ge.engines import engine_name
from torchair.config import CAPTURE_MODES, Snapshot
from torchair.core.utils import logger
from torchair.dialects.npu_groups import COMMUNICATOR
from torchair.errors import ConfigError

_NAMED, _RANKED = "_c10d_functional", "npu_define"
_TAGS, _RANKS = ("pg_tag", "tag"), ("ranks", "rank_list")


def patch_for_hcom() -> None:
    """Does nothing: dynamo traces ``torch.distributed`` without a patch since PyTorch 2.3.1.

    Programs written for older versions call it before they compile.
    """
    logger.info("patch_for_hcom() is not needed: collectives are traced as they are")


def name_communicators(gm: GraphModule, config: Snapshot) -> None:
    """Rewrite the groups of an AOT graph's collectives, when an NPU will run it as a GE graph.

    Raises:
        ConfigError: a group is none of HCCL's.
    """
    if config.mode in CAPTURE_MODES or engine_name(config.engine) != "cann":
        return
    for node in gm.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            _rename(node)


def _rename(node: Node) -> None:
    names = [argument.name for argument in node.target._schema.arguments]  # pyright: ignore
    namespace: str = node.target.namespace  # pyright: ignore
    if namespace == _NAMED and "group_name" in names:
        resolve: Any = c10d._resolve_process_group  # pyright: ignore[reportPrivateImportUsage]
        group = resolve(_given(node, names, "group_name"))
        _give(node, names, "group_name", communicator(group))
    elif namespace == _RANKED:
        tag = next(name for name in _TAGS if name in names)
        ranks = _given(node, names, next(name for name in _RANKS if name in names))
        found = c10d._find_or_create_pg_by_ranks_and_tag(
            _given(node, names, tag), list(ranks), len(ranks)
        )
        _give(node, names, tag, COMMUNICATOR + communicator(found))


def communicator(group: Any) -> str:
    """HCCL's name of a process group.

    Raises:
        ConfigError: the group's backend is another one.
    """
    device = torch.device(torch._C._get_privateuse1_backend_name())  # "npu" with torch_npu
    backend: Any = None
    with suppress(RuntimeError):  # the group has none for this device
        backend = group._get_backend(device)
    if not hasattr(backend, "get_hccl_comm_name"):
        raise ConfigError(
            "a graph for an NPU communicates in a group that is none of HCCL's",
            expected="torch.distributed.init_process_group(backend='hccl')",
            found=f"a group of {group.name()}",
            hint="config.engine = 'host' runs it on the CPU",
        )
    return backend.get_hccl_comm_name(dist.get_rank(), init_comm=True)


def _given(node: Node, names: list[str], name: str) -> Any:
    index = names.index(name)
    return node.args[index] if index < len(node.args) else node.kwargs[name]


def _give(node: Node, names: list[str], name: str, value: Any) -> None:
    index = names.index(name)
    if index < len(node.args):
        node.update_arg(index, value)
    else:
        node.update_kwarg(name, value)
