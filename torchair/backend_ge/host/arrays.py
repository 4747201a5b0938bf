"""Runs a ge module on numpy arrays: what ``torchair-run`` does once the graph is lowered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.host.engine import HostEngine
from torchair.errors import ArtifactError
from torchair.ir import element_types, interned

Arrays = dict[str, Any]


def load_arrays(path: Path | None, names: list[str]) -> Arrays:
    """Read an archive; unnamed arrays (``arr_0``...) are taken in the order of ``names``.

    Raises:
        ArtifactError: not a numpy archive, or it holds objects.
    """
    if path is None:
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            found: Arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise ArtifactError(
            f"{path} is not a numpy archive: {error}", hint="write it with numpy.savez"
        ) from error
    for index, name in enumerate(names):
        if f"arr_{index}" in found:
            found.setdefault(name, found[f"arr_{index}"])
    return found


def run_module(module: ModuleOp, names: list[str], arrays: Arrays) -> list[Any]:
    """Run a ge module.

    Args:
        module: a ge module with one function.
        names: argument names.
        arrays: values by name; cast to the argument's dtype (numpy has no bfloat16).

    Returns:
        numpy arrays; bfloat16 results as float32.

    Raises:
        ArtifactError: an input is missing or has another shape.
        EngineError: a kernel failed.
    """
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    inputs = [
        _tensor(name, argument.type, arrays)
        for name, argument in zip(names, function.body.block.args, strict=True)
    ]
    data = serialize(emit(module, "run"))
    results = HostEngine().compile(data).run(inputs)
    return [_array(result) for result in results]


def _tensor(name: str, type_: Any, arrays: Arrays) -> torch.Tensor:
    if name not in arrays:
        raise ArtifactError(
            f"input '{name}' is not in the archive",
            expected=str(type_),
            found=", ".join(arrays) or "no inputs",
            hint="numpy.savez(path, **{name: array}) with the names of the graph's arguments",
        )
    array = np.ascontiguousarray(arrays[name])
    expected = interned.shape_of(type_)
    if expected is not None and not _fits(array.shape, expected):
        raise ArtifactError(
            f"input '{name}' has another shape", expected=str(type_), found=list(array.shape)
        )
    dtype = getattr(torch, element_types.to_name(interned.element_type(type_)))
    return torch.from_numpy(array).to(dtype).reshape(arrays[name].shape)


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        e in (s, interned.DYNAMIC) for s, e in zip(shape, expected, strict=True)
    )


def _array(tensor: torch.Tensor) -> Any:
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    return tensor.contiguous().numpy()
