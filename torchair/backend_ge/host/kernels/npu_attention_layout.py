"""Layouts of attention tensors: to and from ``[batch, heads, tokens, head]``, pages of a cache."""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.errors import EngineError

PACKED = ("TND", "NTD")
_KNOWN = "BSH, SBH, BSND, BNSD, NBSD, NSD, SH, TND or NTD"


def split(layout: str) -> tuple[str, str]:
    """Layouts of the query and of the result: ``BNSD_BSND`` -> ``BNSD``, ``BSND``."""
    source, _, target = layout.partition("_")
    return source, target or source


def to_heads(tensor: Tensor, layout: str, heads: int, name: str) -> Tensor:
    """``[batch, heads, tokens, head]`` of a tensor in some layout.

    Raises:
        EngineError: the layout is unknown.
    """
    if layout == "BNSD":
        return tensor
    if layout == "BSND":
        return tensor.transpose(1, 2)
    if layout == "NBSD":
        return tensor.transpose(0, 1)
    if layout == "BSH":
        return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
    if layout == "SBH":
        return tensor.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
    if layout == "TND":
        return tensor.transpose(0, 1)[None]
    if layout in ("NTD", "NSD"):
        return tensor[None]
    if layout == "SH":
        return tensor.unflatten(-1, (heads, -1)).transpose(0, 1)[None]
    raise EngineError(
        f"the host kernel of {name} does not know the layout {layout}", expected=_KNOWN
    )


def from_heads(tensor: Tensor, layout: str, name: str) -> Tensor:
    """A tensor ``[batch, heads, tokens, head]`` in some layout.

    Raises:
        EngineError: the layout is unknown.
    """
    if layout == "BNSD":
        return tensor
    if layout == "BSND":
        return tensor.transpose(1, 2)
    if layout == "NBSD":
        return tensor.transpose(0, 1)
    if layout == "BSH":
        return tensor.transpose(1, 2).flatten(2)
    if layout == "SBH":
        return tensor.permute(2, 0, 1, 3).flatten(2)
    if layout == "TND":
        return tensor[0].transpose(0, 1)
    if layout in ("NTD", "NSD"):
        return tensor[0]
    if layout == "SH":
        return tensor[0].transpose(0, 1).flatten(1)
    raise EngineError(
        f"the host kernel of {name} does not know the layout {layout}", expected=_KNOWN
    )


def gather_pages(cache: Tensor, table: Tensor, heads: int) -> Tensor:
    """The pages of each sequence one after the other, ``[batch, heads, tokens, head]``.

    Args:
        cache: ``[pages, page, heads * head]``, ``[pages, heads, page, head]`` or
            ``[pages, heads, head / 16, page, 16]``.
        table: numbers of each sequence's pages, ``[batch, pages per sequence]``; numbers beyond
            the sequence's length may be anything.
        heads: heads of the cache.
    """
    if cache.dim() == 3:
        cache = cache.unflatten(-1, (heads, -1)).transpose(1, 2)
    elif cache.dim() == 5:
        cache = cache.permute(0, 1, 3, 2, 4).flatten(3)
    numbers = table.long().clamp(0, cache.shape[0] - 1)
    return cache[numbers].transpose(1, 2).flatten(2, 3)


def merge_batch(tensor: Tensor) -> Tensor:
    """``[batch, heads, tokens, head]`` as one batch of packed sequences."""
    return tensor.transpose(0, 1).flatten(1, 2)[None]


def repeat_heads(tensor: Tensor, heads: int) -> Tensor:
    """Key or value heads repeated for grouped queries."""
    groups = heads // tensor.shape[1]
    return tensor if groups == 1 else torch.repeat_interleave(tensor, groups, 1)
