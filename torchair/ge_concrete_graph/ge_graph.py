"""``mark_static`` and the names of ``torchair.ge`` under their older path."""

from __future__ import annotations

import importlib
from typing import Any

from torchair.ge import Cast, Const, DataType, Format, Tensor, TensorSpec

__all__ = ["Cast", "Const", "DataType", "Format", "Tensor", "TensorSpec", "mark_static"]


def mark_static(tensor: Any) -> None:
    """Keep the sizes of a tensor static when the model is compiled with ``dynamic=True``.

    Args:
        tensor: an argument of the compiled function.
    """
    importlib.import_module("torch._dynamo").mark_static(tensor)
