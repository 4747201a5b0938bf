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

from torchair.backend_ge.host.printing import message
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
    shown: list[torch.Tensor] = []
    for tensor in tensors:
        shown.append(tensor)
        if tensor_detail:
            shown.append(torch.tensor(tensor.shape))
    print(message(shown, msg_format, placeholder, summarize_size), file=sys.stderr)


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
