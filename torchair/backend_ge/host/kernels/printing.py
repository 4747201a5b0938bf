"""Printing: a text is an empty tensor here that remembers what it was made from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import torchair.backend_ge.host.printing  # noqa: F401  (defines the operator that prints)
from torchair.backend_ge.host.kernels.registry import kernel

_SOURCE = "torchair_text_source"
"""Attribute of a text with the arguments of its ``StringFormat``."""


@kernel("StringFormat", random=True)
def string_format(x: list[Tensor], template: str, placeholder: str, summarize: int) -> Tensor:
    """Stands for a text that only ``PrintV2`` can take."""
    text: Any = torch.empty(0, dtype=torch.uint8, device=x[0].device)
    setattr(text, _SOURCE, (x, template, placeholder, summarize))
    return text


@kernel("PrintV2", random=True)
def print_v2(x: Tensor, output_stream: str) -> tuple[()]:
    """Prints the text when the graph runs."""
    source = getattr(x, _SOURCE, None)
    if source is None:
        raise ValueError("PrintV2 takes the output of StringFormat")
    if output_stream != "stderr":
        raise ValueError(f"output_stream '{output_stream}'; only stderr is implemented")
    torch.ops.torchair_host.print(*source)
    return ()
