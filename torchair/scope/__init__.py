"""Context managers that place what stands inside them: streams, cores, super kernels, dumps.

    with torchair.scope.npu_stream_switch("side"):
        y = torch.mm(a, b)

Scopes nest; an inner scope overrides an outer one. They act on compiled graphs; in eager mode they
change nothing. A graph break inside a scope is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import torch

import torchair.frontend.scopes  # noqa: F401  (defines the operators)

__all__ = [
    "data_dump",
    "limit_core_num",
    "npu_stream_switch",
    "npu_wait_tensor",
    "op_never_timeout",
    "super_kernel",
]


class Scope:
    """A scope in the graph: marks where it begins and where it ends.

    Args:
        keys: names of node attributes.
        values: their texts.
    """

    def __init__(self, keys: list[str], values: list[str]) -> None:
        self.keys = keys
        self.values = values

    def __enter__(self) -> None:
        torch.ops.air.scope_enter(self.keys, self.values)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.ops.air.scope_exit()


def npu_stream_switch(
    stream_tag: str, stream_priority: int = 0, enable_inner_parallel: bool = True
) -> Scope:
    """Runs what stands inside on the stream of that name.

    Args:
        stream_tag: name of the stream; equal names are one stream.
        stream_priority: priority of the stream, a small number; 0 is the usual one.
        enable_inner_parallel: whether GE may run independent operators inside in parallel.
    """
    return Scope(
        ["_user_stream_label", "_user_stream_priority", "_enable_inner_parallel"],
        [str(stream_tag), str(stream_priority), str(enable_inner_parallel)],
    )


def npu_wait_tensor(
    self: torch.Tensor, dependency: torch.Tensor | Sequence[torch.Tensor]
) -> torch.Tensor:
    """``self``, available only when ``dependency`` has been computed.

    Use the returned tensor: what reads it waits. Gradients flow to ``self``.

    Args:
        self: any tensor.
        dependency: a tensor of any shape and dtype, computed on any stream, or several.

    Raises:
        TypeError: one of them is not a tensor.
    """
    for item in dependency if isinstance(dependency, list | tuple) else (dependency,):
        if not isinstance(item, torch.Tensor):
            raise TypeError(f"npu_wait_tensor waits for tensors, got {type(item).__name__}")
        self = torch.ops.air.wait_tensor(self, item)
    return self


def super_kernel(scope: str, options: str = "") -> Scope:
    """Fuses the launches of what stands inside into one kernel where GE can.

    Args:
        scope: name of the super kernel; empty excludes what stands inside from an outer one.
        options: GE's options, ``key=value`` separated by colons, e.g.
            ``"stream-fusion=1:strict-scope-check=abort"``. Keys that this version does not know
            are handed on.
    """
    return Scope(["_super_kernel_scope", "_super_kernel_options"], [scope or "", options])


def limit_core_num(op_aicore_num: int, op_vectorcore_num: int) -> Scope:
    """Limits how many cores each operator inside takes.

    Args:
        op_aicore_num: cube cores, at least 1.
        op_vectorcore_num: vector cores, at least 1 (0 on devices without).
    """
    return Scope(
        ["_op_aicore_num", "_op_vectorcore_num"], [str(op_aicore_num), str(op_vectorcore_num)]
    )


def op_never_timeout(enable: bool = True) -> Scope:
    """Lets operators inside run without the device's time limit.

    Raises:
        TypeError: `enable` is not a bool.
    """
    if not isinstance(enable, bool):
        raise TypeError(f"enable must be a bool, got {type(enable).__name__}")
    return Scope(["_op_exec_never_timeout"], [str(enable)])


def data_dump() -> Scope:
    """Selects the operator types inside for GE's data dump."""
    return Scope(["torchair_enable_data_dump"], ["True"])
