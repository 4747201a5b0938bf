"""Storage formats that the device prefers for weights: which a model's weights have, and casts.

A weight cast to an internal format keeps its logical shape, dtype and values; only its storage on
the device differs. The format is part of the type of a graph argument (``torchair.format``), GE
reads it from the Data node. The host device stores every tensor row-major whatever its format says.
"""

from __future__ import annotations

import importlib.util
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from torchair.core.utils import logger
from torchair.errors import EngineError
from torchair.frontend.real_inputs import real_inputs

_MARK = "_torchair_format"
FORMAT = "torchair.format"
"""Key of a placeholder's meta and of a graph argument's attributes."""


class AclFormat(IntEnum):
    """``aclFormat`` of the formats that weights are cast to."""

    NCHW = 0
    ND = 2
    NC1HWC0 = 3
    FRACTAL_Z = 4
    FRACTAL_NZ = 29
    NDC1HWC0 = 32
    FRACTAL_Z_3D = 33


_LINEAR_KINDS = (
    "LinearLayer",
    "LinearAllreduce",
    "LinearA8W8Quant",
    "LinearQuant",
    "LinearWeightQuant",
)
"""Classes of other libraries, by name, whose weight is that of a linear layer."""
_NZ_BLOCK = (16, 32)
"""Rows and int8 columns of one FRACTAL_NZ block."""


def use_internal_format_weight(model: nn.Module) -> None:
    """Cast the weights of a model, in place, to the formats that NPU kernels prefer.

    Conv2d weights in float16 without groups become FRACTAL_Z, Linear weights FRACTAL_NZ, quantised
    linear layers (``weight`` in int8) FRACTAL_NZ. Without torch_npu the weights stay as they are
    and only remember the format, so that dumps and exports show it.

    Args:
        model: its weights must be on the NPU when torch_npu is installed.

    Raises:
        EngineError: torch_npu is installed and a weight is not on an NPU.
    """
    for name, module in model.named_modules():
        wanted = _wanted_format(module)
        if wanted is None:
            continue
        weight: Any = module.weight
        if importlib.util.find_spec("torch_npu") is None:
            setattr(weight, _MARK, int(wanted))
            continue
        if weight.device.type != "npu":
            raise EngineError(
                f"the weight of '{name}' is on {weight.device}",
                expected="npu",
                hint="move the model to the NPU first: model.npu()",
            )
        torch_npu: Any = importlib.import_module("torch_npu")
        weight.data = torch_npu.npu_format_cast(weight.data, int(wanted))
    logger.info("use_internal_format_weight: done")


def _wanted_format(module: nn.Module) -> AclFormat | None:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    if isinstance(module, nn.Conv2d):
        is_plain = weight.dtype is torch.float16 and module.groups == 1
        return AclFormat.FRACTAL_Z if is_plain else None
    kind = type(module).__name__
    if kind == "QuantConv2d":
        return AclFormat.FRACTAL_Z if weight.dtype is torch.int8 else None
    linear = (
        "LinearLayer",
        "LinearAllreduce",
        "LinearA8W8Quant",
        "LinearQuant",
        "LinearWeightQuant",
    )
    return AclFormat.FRACTAL_NZ if isinstance(module, nn.Linear) or kind in linear else None


def format_of(tensor: object) -> int | None:
    """The internal format of a tensor, None when it is stored row-major."""
    if not isinstance(tensor, Tensor):
        return None
    if tensor.device.type == "npu" and importlib.util.find_spec("torch_npu") is not None:
        torch_npu: Any = importlib.import_module("torch_npu")
        found = int(torch_npu.get_npu_format(tensor))
        return None if found in (AclFormat.ND, AclFormat.NCHW) else found
    return getattr(tensor, _MARK, None)


def mark_formats(graph_module: GraphModule) -> None:
    """Note the internal formats of a forward graph's inputs on its placeholders."""
    for node, value in real_inputs(graph_module).items():
        stored = format_of(value)
        if stored is not None:
            node.meta[FORMAT] = stored


def npu_format_cast_via_cpu(
    self: Tensor,
    acl_format: int,
    customize_dtype: int | None = None,
    input_dtype: int | None = None,
) -> Tensor:
    """Re-lay an int8 matrix out as FRACTAL_NZ on the CPU.

    Args:
        self: int8, ``[..., rows, columns]``.
        acl_format: 29 (FRACTAL_NZ).
        customize_dtype: must be None.
        input_dtype: must be None.

    Returns:
        ``[..., columns / 32, rows / 16, 16, 32]``, rounded up, padded with zeros.

    Raises:
        ValueError: another format or dtype, fewer than two dimensions, or an empty matrix.
    """
    if acl_format != AclFormat.FRACTAL_NZ or customize_dtype is not None or input_dtype is not None:
        raise ValueError(f"only acl_format 29 without other dtypes is supported, got {acl_format}")
    if self.dtype is not torch.int8 or self.dim() < 2 or 0 in self.shape[-2:]:
        raise ValueError(f"expected a non-empty int8 matrix, got {self.dtype} {list(self.shape)}")
    rows, columns = self.shape[-2:]
    height, width = _NZ_BLOCK
    padded = nn.functional.pad(self, (0, -columns % width, 0, -rows % height))
    blocks = padded.unflatten(-1, (-1, width)).unflatten(-3, (-1, height))
    return blocks.movedim(-2, -4).contiguous()
