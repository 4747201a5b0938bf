"""Tensors of torch as GE takes them: on the host, or on the NPU where torch_npu is."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torchair.backend_ge.cann.options import TorchSettings
from torchair.backend_ge.cann.signature import Port
from torchair.errors import EngineError

if TYPE_CHECKING:
    import torch

View = tuple[int, int, int, list[int], bool]
"""Address, bytes, ``ge::DataType``, shape, and whether the tensor lies on the host."""


def torch_npu() -> Any | None:
    """torch_npu with a device, or None."""
    if importlib.util.find_spec("torch_npu") is None:
        return None
    module: Any = importlib.import_module("torch_npu")
    return module if module.npu.is_available() else None


def torch_settings(npu: Any | None) -> TorchSettings:
    """The settings of torch that GE takes over."""
    import torch

    deterministic = torch.are_deterministic_algorithms_enabled()
    if npu is None:
        return TorchSettings(deterministic)
    return TorchSettings(
        deterministic, bool(npu.npu.conv.allow_hf32), bool(npu.npu.matmul.allow_hf32)
    )


def torch_type(port: Port) -> torch.dtype:
    """The torch type of a port.

    Raises:
        EngineError: torch has none.
    """
    import torch

    found = getattr(torch, port.data_type.name, None)
    if not isinstance(found, torch.dtype):
        raise EngineError(
            f"{port.name} has type {port.data_type.name}, which torch does not have",
            hint="cast it in the model",
        )
    return found


def as_tensor(value: Any, port: Port, device: str) -> torch.Tensor:
    """The dense tensor that GE reads for an argument; a copy where the argument is not one.

    Raises:
        EngineError: naming the input, for another element type or shape than the graph's.
    """
    import torch

    dtype = torch_type(port)
    if not isinstance(value, torch.Tensor):
        return torch.tensor(value, dtype=dtype)
    if value.dtype != dtype:
        raise EngineError(f"{port.name} has another type", expected=dtype, found=value.dtype)
    _check_shape(value.shape, port)
    dense = value.detach().resolve_conj().resolve_neg()
    if dense.device.type != device:
        dense = dense.to(device)
    return dense.contiguous()


def _check_shape(shape: Sequence[int], port: Port) -> None:
    if port.shape is None:
        return
    fits = len(shape) == len(port.shape) and all(
        wanted in (-1, size) for size, wanted in zip(shape, port.shape, strict=True)
    )
    if not fits:
        raise EngineError(
            f"{port.name} has another shape", expected=list(port.shape), found=list(shape)
        )


def view(tensor: torch.Tensor, port: Port) -> View:
    """The memory of a dense tensor."""
    shape = list(tensor.shape)
    return (tensor.data_ptr(), port.bytes_of(shape), port.data_type.ge, shape, port.on_host)


def empty_view(port: Port) -> View:
    """Shape and type of an output without memory; its shape must be known."""
    assert port.shape is not None, "callers check"
    return (0, port.nbytes, port.data_type.ge, list(port.shape), False)


def write_back(target: Any, value: torch.Tensor) -> None:
    """Give an input its new value, seen by autograd as any write."""
    import torch

    if not isinstance(target, torch.Tensor):
        raise EngineError("the graph writes to an input that is not a tensor", found=repr(target))
    with torch.no_grad():
        target.copy_(value)
