"""Which key tokens a query token attends to: sequence lengths, paddings, packing and masks.

Both sides are brought to ``[batch, heads, tokens, head]`` first; packed sequences (layouts TND and
NTD) are one batch whose tokens know their sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchair.errors import EngineError

DEFAULT_MASK, ALL_MASK, LEFT_UP_CAUSAL, RIGHT_DOWN_CAUSAL, BAND, PREFIX, PREFIX_COMPRESSED = range(
    7
)
"""Values of ``sparse_mode``."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Places of the tokens of one side, each ``[batch or 1, tokens]`` int64.

    Args:
        position: place of a token in its sequence; outside ``[0, length)`` for padding.
        length: tokens of its sequence.
        sequence: number of its sequence when sequences are packed.
        is_limited: whether some tokens may be padding or belong to several sequences.
    """

    position: Tensor
    length: Tensor
    sequence: Tensor | None
    is_limited: bool

    def valid(self) -> Tensor:
        """Whether a token is one of its sequence rather than padding."""
        return (self.position >= 0) & (self.position < self.length)


def padded(tokens: int, lengths: Tensor | None, padding: Tensor | None, like: Tensor) -> Tokens:
    """Tokens of padded sequences.

    Args:
        tokens: size of the token dimension.
        lengths: valid tokens, ``[batch]`` or ``[1]``; all of them when None.
        padding: with padding on the left, distance of the last valid token from the end, ``[1]``.
        like: any tensor on the device.
    """
    places = torch.arange(tokens, device=like.device)[None]
    if lengths is None:
        whole = torch.full((1, 1), tokens, dtype=torch.int64, device=like.device)
        return Tokens(places, whole, None, False)
    own = lengths.long().reshape(-1, 1)
    start = 0 if padding is None else tokens - padding.long().reshape(1, 1) - own
    return Tokens(places - start, own, None, True)


def packed(tokens: int, ends: Tensor, like: Tensor) -> Tokens:
    """Tokens of sequences packed one after the other.

    Args:
        tokens: number of tokens of all sequences.
        ends: where each sequence ends, ``[sequences]``, ascending.
        like: any tensor on the device.
    """
    last = ends.long().reshape(-1)
    first = torch.nn.functional.pad(last[:-1], (1, 0))
    places = torch.arange(tokens, device=like.device)
    number = torch.searchsorted(last, places, right=True).clamp_max(last.shape[0] - 1)
    return Tokens((places - first[number])[None], (last - first)[number][None], number[None], True)


def flattened(tokens: Tokens, batch: int) -> Tokens:
    """Padded sequences of a batch as one row of packed ones."""
    position = tokens.position.expand(batch, -1)
    number = torch.arange(batch, device=position.device)[:, None].expand_as(position)
    length = tokens.length.expand_as(position)
    parts = [part.reshape(1, -1) for part in (position, length, number)]
    return Tokens(parts[0], parts[1], parts[2], True)


@dataclass(frozen=True, slots=True)
class Masking:
    """The arguments that hide tokens.

    Args:
        mask: True or nonzero hides; in the compressed modes its content is implied by the mode.
        mode: ``sparse_mode``.
        before, after: how many tokens around its own a query token sees (modes 0 and 4).
        prefix: tokens that every query token sees, per sequence (mode 6).
        name: GE operator, for messages.
    """

    mask: Tensor | None
    mode: int
    before: int
    after: int
    name: str
    prefix: Tensor | None = None


def visible(query: Tokens, key: Tokens, masking: Masking) -> Tensor | None:
    """What is attended to, ``[batch or 1, 1 or heads, query tokens, key tokens]``; None for all."""
    shown: Tensor | None = None
    if query.is_limited or key.is_limited:
        shown = query.valid()[:, None, :, None] & key.valid()[:, None, None, :]
    if query.sequence is not None and key.sequence is not None:
        same = query.sequence[:, None, :, None] == key.sequence[:, None, None, :]
        shown = same if shown is None else shown & same
    pattern = None if masking.mask is None else _pattern(query, key, masking, masking.mask)
    if pattern is None or shown is None:
        return pattern if shown is None else shown
    return shown & pattern


def _pattern(query: Tokens, key: Tokens, masking: Masking, mask: Tensor) -> Tensor:
    """What the mask and its mode show; ``sparse_mode`` says nothing without a mask."""
    rows = query.position[:, None, :, None]
    columns = key.position[:, None, None, :]
    lag = key.length[:, None, None, :] - query.length[:, None, :, None]
    mode = masking.mode
    if mode in (DEFAULT_MASK, ALL_MASK, PREFIX):
        shown = torch.logical_not(_full_mask(query, key, mask))
        if mode != DEFAULT_MASK:
            return shown
        return shown & _band(columns - rows, masking)
    if mode == LEFT_UP_CAUSAL:
        return columns <= rows
    if mode == RIGHT_DOWN_CAUSAL:
        return columns <= rows + lag
    if mode == BAND:
        return _band(columns - rows - lag, masking)
    if mode == PREFIX_COMPRESSED and masking.prefix is not None:
        return (columns <= rows + lag) | (columns < masking.prefix.long().reshape(-1, 1, 1, 1))
    raise EngineError(
        f"the host kernel of {masking.name} does not know sparse_mode {mode}",
        expected="0 to 5, or 6 with a prefix",
        hint="pass the whole mask with sparse_mode 1",
    )


def _band(distance: Tensor, masking: Masking) -> Tensor:
    return (distance <= masking.after) & (distance >= -masking.before)


def _full_mask(query: Tokens, key: Tokens, mask: Tensor) -> Tensor:
    """A mask over all pairs of tokens, ``[batch or 1, heads or 1, query tokens, key tokens]``."""
    hidden = mask.to(torch.bool)
    rows, columns = query.position.shape[-1], key.position.shape[-1]
    if query.sequence is not None or key.sequence is not None:
        one = hidden.reshape(hidden.shape[-2:])
        row = query.position[0].clamp(0, one.shape[0] - 1)
        column = key.position[0].clamp(0, one.shape[1] - 1)
        return one[row][:, column][None, None]
    if hidden.dim() == 2:
        hidden = hidden[:, None, None] if rows == 1 else hidden[None, None]
    elif hidden.dim() == 3:
        hidden = hidden[:, None]
    missing = columns - hidden.shape[-1]
    if missing > 0:  # the pages of a cache reach beyond the longest sequence
        hidden = torch.nn.functional.pad(hidden, (0, missing), value=True)
    return hidden[..., :rows, :columns]
