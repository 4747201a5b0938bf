"""The key of a capture: what a call must have in common with the captured one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchair.backend_ge.runtime.aten_graph import Argument
from torchair.backend_ge.runtime.specialise import TensorSpec

CaptureKey = tuple[Any, ...]
_FIELDS = ("shape", "strides", "dtype", "device", "lazy conjugation")


def key_of(inputs: Sequence[Any], ignored: frozenset[int]) -> CaptureKey:
    """Shape, strides, dtype, device and conjugation of each tensor; the value of each number.

    Args:
        inputs: tensors and numbers.
        ignored: places that do not matter (frozen parameters, numbers in update slots).
    """
    return tuple(
        [
            None
            if index in ignored
            else (v.shape, v.stride(), v.dtype, v.device, v.is_conj() or v.is_neg())
            if isinstance(v, torch.Tensor)
            else v
            for index, v in enumerate(inputs)
        ]
    )


def key_of_specs(inputs: Sequence[Any], ignored: frozenset[int]) -> CaptureKey:
    """The key that real tensors of these geometries have."""
    return tuple(
        None
        if index in ignored
        else (torch.Size(v.shape), v.strides, v.dtype, v.device, False)
        if isinstance(v, TensorSpec)
        else v
        for index, v in enumerate(inputs)
    )


def difference(arguments: Sequence[Argument], old: CaptureKey, new: CaptureKey) -> list[str]:
    """What changed from one key to another, one phrase per argument."""
    changes: list[str] = []
    for argument, before, after in zip(arguments, old, new, strict=True):
        if before == after:
            continue
        label = f"{argument.kind} '{argument.label}'"
        if not isinstance(before, tuple) or not isinstance(after, tuple):
            changes.append(f"{label}: {before!r} -> {after!r}")
            continue
        parts = [
            f"{name} {_text(a)} -> {_text(b)}"
            for name, a, b in zip(_FIELDS, before, after, strict=True)
            if a != b
        ]
        only_shape = before[0] != after[0]  # strides follow from it
        kept = [p for p in parts if not (only_shape and p.startswith("strides"))]
        changes.append(f"{label}: {', '.join(kept)}")
    return changes


def nearest(arguments: Sequence[Argument], known: Sequence[CaptureKey], new: CaptureKey) -> str:
    """How a new key differs from the known key that is most like it."""
    if not known:
        return "the first call"
    closest = min(known, key=lambda old: sum(a != b for a, b in zip(old, new, strict=True)))
    return "; ".join(difference(arguments, closest, new)) or "nothing"


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
