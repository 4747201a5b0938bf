"""Printing on the host device: the text of a format, and an operator that writes it to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch

_library = torch.library.Library("torchair_host", "FRAGMENT")
_library.define("print(Tensor[] tensors, str template, str placeholder, int summarize) -> ()")


def message(
    tensors: Sequence[torch.Tensor], template: str, placeholder: str, summarize: int
) -> str:
    """A template with its placeholders replaced by tensors.

    Args:
        tensors: one per placeholder, of any shape.
        template: text with placeholders.
        placeholder: the text to replace.
        summarize: items shown at each end of a dimension; -1 shows all.
    """
    parts = template.split(placeholder)
    texts = [format_tensor(tensor.detach(), summarize) for tensor in tensors]
    pairs = zip(parts, [*texts, ""], strict=False)
    return "".join(part + text for part, text in pairs)


def format_tensor(tensor: torch.Tensor, summarize: int) -> str:
    """The numbers of a tensor as nested lists, the middle of long dimensions left out."""
    if tensor.dim() == 0:
        return str(tensor.item())
    if summarize < 0 or tensor.shape[0] <= 2 * summarize:
        return "[" + " ".join(format_tensor(row, summarize) for row in tensor) + "]"
    first = " ".join(format_tensor(row, summarize) for row in tensor[:summarize])
    last = " ".join(format_tensor(row, summarize) for row in tensor[-summarize:])
    return f"[{first} ... {last}]"


def _print(
    tensors: Sequence[torch.Tensor], template: str, placeholder: str, summarize: int
) -> None:
    print(message(tensors, template, placeholder, summarize), file=sys.stderr)


def _nothing(*args: Any) -> None:
    """Printing has no result to fake."""


_library.impl("print", _print, "CompositeExplicitAutograd")
torch.library.register_fake("torchair_host::print", _nothing, lib=_library)
