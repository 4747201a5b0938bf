"""Kernels of writes to key and value caches, after the definitions of the GE operators.

The operators write in place; the kernels give the new contents, and whoever assigns them to a graph
input does the write.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import kernel
from torchair.backend_ge.host.narrow_types import quantized
from torchair.errors import EngineError


@kernel("Scatter")
def scatter(
    var: Tensor, indices: Tensor, updates: Tensor, *, reduce: str = "update", axis: int = 0
) -> Tensor:
    """Rows of ``updates`` along ``axis`` replace those of ``var`` from an index on.

    Args:
        var: ``[batch, ...]``.
        indices: first place along ``axis`` per row of the batch, or ``[rows, 2]``: number in the
            batch and first place.
        updates: as ``var``, smaller in ``axis``; of axis 0, whole rows.
    """
    _require_update("Scatter", reduce)
    return _placed(var, indices, updates, axis)


def _placed(var: Tensor, indices: Tensor, updates: Tensor, axis: int) -> Tensor:
    at = indices.long()
    if at.dim() == 2:
        rows, first = at[:, 0], at[:, 1]
    else:
        rows, first = torch.arange(at.shape[0], device=at.device), at
    axis %= var.dim()
    if axis == 0:
        return torch.ops.aten.index_put.default(var, [first], updates, False)
    values = updates.to(var.dtype).movedim(axis, 1)
    places = first[:, None] + torch.arange(values.shape[1], device=at.device)
    where = [rows[:, None], places]
    moved = var.movedim(axis, 1)
    return torch.ops.aten.index_put.default(moved, where, values, False).movedim(1, axis)


def _require_update(name: str, reduce: str) -> None:
    if reduce != "update":
        raise EngineError(
            f"the host kernel of {name} only replaces", expected="update", found=reduce
        )


@kernel("ScatterList")
def scatter_list(
    var: list[Tensor],
    indice: Tensor,
    updates: Tensor,
    mask: Tensor | None = None,
    *,
    reduce: str = "update",
    axis: int = -2,
) -> list[Tensor]:
    """Row ``i`` of ``updates`` goes to ``var[i]``, along ``axis`` from ``indice[i]`` on.

    With ``[tensors, 2]`` indices the second number is how many places are replaced. Tensors whose
    mask is 0 stay.
    """
    _require_update("ScatterList", reduce)
    results: list[Tensor] = []
    for index, old in enumerate(var):
        row = indice[index].reshape(-1).long()
        values = updates[index].movedim(axis, 0)
        moved = old.movedim(axis, 0)
        offsets = torch.arange(values.shape[0], device=old.device)
        places = (row[0] + offsets).clamp_max(moved.shape[0] - 1)
        if row.shape[0] == 2:
            rest = torch.index_select(moved, 0, places)
            shape = [-1] + [1] * (values.dim() - 1)
            values = torch.where((offsets < row[1]).reshape(shape), values, rest)
        new = torch.ops.aten.index_put.default(moved, [places], values, False).movedim(0, axis)
        if mask is not None:
            new = torch.where(mask[index] != 0, new, old)
        results.append(new)
    return results


@kernel("QuantUpdateScatter")
def quant_update_scatter(
    var: Tensor,
    indices: Tensor,
    updates: Tensor,
    quant_scales: Tensor,
    quant_zero_points: Tensor | None = None,
    *,
    reduce: str,
    axis: int = -2,
    quant_axis: int = -1,
    round_mode: str = "rint",
) -> Tensor:
    """``Scatter`` of ``round(updates / scales + zero points)`` into an int8 tensor.

    Scales and zero points hold one number per place of ``quant_axis``, the last.
    """
    _require_update("QuantUpdateScatter", reduce)
    if quant_axis not in (-1, updates.dim() - 1) or round_mode != "rint":
        raise EngineError(
            "the host kernel of QuantUpdateScatter quantises along the last axis and rounds to "
            "nearest",
            found=f"quant_axis {quant_axis}, round_mode {round_mode}",
        )
    values = updates.float() / quant_scales.float().reshape(-1)
    if quant_zero_points is not None:
        values = values + quant_zero_points.float().reshape(-1)
    return _placed(var, indices, quantized(values, var.dtype), axis)


@kernel("ScatterPaKvCache")
def scatter_pa_kv_cache(
    key: Tensor,
    key_cache: Tensor,
    slot_mapping: Tensor,
    value: Tensor,
    value_cache: Tensor,
    compress_lens: Tensor | None = None,
    compress_seq_offset: Tensor | None = None,
    seq_lens: Tensor | None = None,
    *,
    cache_mode: str = "Norm",
) -> tuple[Tensor, Tensor]:
    """Tokens ``[tokens, heads, head]`` go to the slots of a paged cache.

    A cache is ``[pages, page, heads, head]``, or with ``PA_NZ``
    ``[pages, heads * head / n, page, n]``. Slot ``s`` is place ``s % page`` of page ``s // page``.
    """
    if any(t is not None for t in (compress_lens, compress_seq_offset, seq_lens)):
        raise EngineError("the host kernel of ScatterPaKvCache does not compress sequences")
    write = write_tiled if cache_mode == "PA_NZ" else write_pages
    return write(key_cache, slot_mapping, key), write(value_cache, slot_mapping, value)


def write_pages(cache: Tensor, slots: Tensor, tokens: Tensor) -> Tensor:
    flat = cache.flatten(0, 1)
    new = torch.ops.aten.index_put.default(flat, [slots.long()], tokens, False)
    return new.reshape(cache.shape)


def write_tiled(cache: Tensor, slots: Tensor, tokens: Tensor) -> Tensor:
    page, width = cache.shape[2], cache.shape[3]
    at = slots.long()
    moved = cache.permute(0, 2, 1, 3)
    rows = tokens.flatten(1).unflatten(1, (-1, width))
    new = torch.ops.aten.index_put.default(moved, [at // page, at % page], rows, False)
    return new.permute(0, 2, 1, 3)
