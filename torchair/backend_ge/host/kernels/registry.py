"""The table of host kernels: one decorated function per GE operator.

    @kernel("Add")
    def add(x1, x2):
        return x1 + x2

Parameters are named as in the registry: inputs first (None when an optional one is absent, a list
for a dynamic one), then the attributes the kernel honours. An attribute that a kernel does not
declare must have its default, otherwise running the node is an ``EngineError``. One with
``**rest`` takes them all.

A kernel is traced with fake tensors, so it must not look at tensor values; ``ints(t)`` reads a
small
integer input (a target shape, axes) that is known when the graph is specialised. ``metadata=True``
marks kernels whose result follows from shapes alone (``Shape``, ``Rank``); ``random=True`` those
that
draw numbers or have effects and must run every time. Inputs are never written, except by operators
that GE defines as in-place.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from torchair.backend_ge.host.narrow_types import host_dtype
from torchair.backend_ge.host.tracing import known_tensor
from torchair.dialects.ge import dtypes
from torchair.errors import EngineError

FAMILIES = (
    "elementwise",
    "special_functions",
    "linear_algebra",
    "complex_numbers",
    "comparison",
    "shape",
    "slicing",
    "padding",
    "creation",
    "random_numbers",
    "matmul",
    "reduction",
    "normalization",
    "npu_fusion_attention",
    "batch_norm",
    "activation",
    "embedding",
    "indexing",
    "scattering",
    "ordering",
    "convolution",
    "pooling",
    "resampling",
    "loss",
    "mutation",
    "fourier",
    "printing",
    "npu_normalization",
    "npu_attention",
    "npu_kv_cache",
    "npu_matmul",
    "npu_grouped_matmul",
    "npu_matmul_fusions",
    "npu_matmul_accumulation",
    "npu_masked_softmax",
    "npu_sparse_attention",
    "npu_mla_prolog",
    "npu_state_space",
    "npu_collectives",
    "npu_communication",
    "npu_moe_distribution",
    "npu_workers",
    "npu_activation",
    "npu_rotary",
    "npu_quantization",
    "npu_activation_quantization",
    "npu_mx_quantization",
    "npu_rope_cache",
    "npu_moe_routing",
    "npu_moe_tokens",
    "npu_moe_gating",
    "npu_norm_quantization",
)
"""Modules of this package that hold kernels, loaded on first use."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One host kernel.

    Args:
        name: GE type.
        function: computes the outputs; a list or tuple for several.
        declared: names of its parameters.
        metadata: the result depends on shapes and dtypes only.
        random: must run on every execution.
        takes_rest: takes every other attribute by name (``**rest``).
    """

    name: str
    function: Callable[..., Any]
    declared: frozenset[str]
    metadata: bool = False
    random: bool = False
    takes_rest: bool = False

    def __call__(
        self, inputs: Sequence[Any], attributes: dict[str, Any], defaults: dict[str, Any]
    ) -> Any:
        """Run on positional inputs and all attributes of a node."""
        named: dict[str, Any] = {}
        for name, value in attributes.items():
            if self.takes_rest or name in self.declared:
                named[name] = value
            elif value != defaults.get(name, value):
                raise EngineError(
                    f"the host kernel of {self.name} does not implement {name} = {value!r}",
                    expected=f"{name} = {defaults.get(name)!r}",
                    hint="run this graph on an NPU, or extend the kernel",
                )
        return self.function(*inputs, **named)


_kernels: dict[str, Kernel] = {}


def kernel(
    *names: str, metadata: bool = False, random: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the kernel of one or several GE operators."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = inspect.signature(function).parameters
        declared = frozenset(parameters)
        rest = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name in names:
            _kernels[name] = Kernel(name, function, declared, metadata, random, rest)
        return function

    return register


@cache
def _load_families() -> None:
    for family in FAMILIES:
        importlib.import_module(f"torchair.backend_ge.host.kernels.{family}")


def kernels() -> dict[str, Kernel]:
    """All kernels by GE type."""
    _load_families()
    return _kernels


def ints(tensor: torch.Tensor) -> list[int]:
    """Values of a small integer tensor that is known at specialisation (a shape, axes, a perm).

    Raises:
        DataDependentError: the value depends on tensor data; the graph then runs interpreted.
    """
    values = known_tensor(tensor).tolist()
    return values if isinstance(values, list) else [values]


def torch_dtype(number: int) -> torch.dtype:
    """torch dtype of a ``ge::DataType`` number (``Cast.dst_type``), see ``narrow_types``.

    Raises:
        EngineError: torch has no such type.
    """
    name = dtypes.BY_GE[number].name if number in dtypes.BY_GE else str(number)
    found = host_dtype(name)
    if found is None:
        raise EngineError(f"the host device has no data type {name}")
    return found
