"""The ``air`` operators behind ``torchair.scope`` and ``torchair.ops``: markers that stay where the
user wrote them until ``resolve-scopes`` reads them.

Each is a side effect to FX, so that dynamo, AOT autograd and dead code elimination keep it in
place. In eager mode everything runs in program order on one stream, so they have nothing to do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.fx.node import has_side_effect

from torchair.dialects.stream.markers import SCHEMAS

_library = torch.library.Library("air", "FRAGMENT")


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Eager mode has one stream and its order is the program's."""


def _record(*, device: torch.device | None = None) -> torch.Tensor:
    return torch.empty(0, device=device)


def _wait_tensor(self: torch.Tensor, dependency: torch.Tensor) -> torch.Tensor:
    return self.clone()


def _wait_tensor_fake(self: torch.Tensor, dependency: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(self)


def _wait_tensor_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
    return grad, None


def _print(
    tensors: Sequence[torch.Tensor],
    msg_format: str,
    placeholder: str,
    summarize_size: int,
    tensor_detail: bool,
) -> None:
    print(
        message(tensors, msg_format, placeholder, summarize_size, tensor_detail),
        file=sys.stderr,
    )


def message(
    tensors: Sequence[torch.Tensor],
    msg_format: str,
    placeholder: str,
    summarize_size: int,
    tensor_detail: bool,
) -> str:
    """Text of one ``air.print`` call.

    Args:
        tensors: what the placeholders stand for, in order.
        msg_format: text with one placeholder per tensor, or two (values, sizes) with details.
        placeholder: the text to replace.
        summarize_size: how many items are shown at each end of a dimension; -1 shows all.
        tensor_detail: whether a second placeholder per tensor takes its shape.
    """
    parts = msg_format.split(placeholder)
    texts: list[str] = []
    for tensor in tensors:
        texts.append(_values(tensor.detach(), summarize_size))
        if tensor_detail:
            texts.append(str(list(tensor.shape)))
    pairs = zip(parts, [*texts, ""], strict=False)
    return "".join(part + text for part, text in pairs)


def _values(tensor: torch.Tensor, summarize_size: int) -> str:
    """The numbers of a tensor as nested lists, the middle of long dimensions left out."""
    if tensor.dim() == 0:
        return str(tensor.item())
    count = tensor.shape[0]
    if summarize_size < 0 or count <= 2 * summarize_size:
        return "[" + " ".join(_values(row, summarize_size) for row in tensor) + "]"
    first = " ".join(_values(row, summarize_size) for row in tensor[:summarize_size])
    last = " ".join(_values(row, summarize_size) for row in tensor[-summarize_size:])
    return f"[{first} ... {last}]"


_EAGER = {
    "record": _record,
    "wait_tensor": _wait_tensor,
    "print": _print,
}
_FAKE = {"record": _record, "wait_tensor": _wait_tensor_fake}

for _schema in (schema.removeprefix("air::") for schema in SCHEMAS):
    _name = _schema[: _schema.index("(")]
    _library.define(_schema)
    _library.impl(_name, _EAGER.get(_name, _nothing), "CompositeExplicitAutograd")
    torch.library.register_fake(f"air::{_name}", _FAKE.get(_name, _nothing), lib=_library)
    if _name != "wait_tensor":
        has_side_effect(getattr(torch.ops.air, _name).default)
torch.library.register_autograd("air::wait_tensor", _wait_tensor_backward, lib=_library)
