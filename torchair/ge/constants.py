"""Constants of the graph from numbers, lists, numpy arrays and torch tensors."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

import numpy as np
from xdsl.dialects.builtin import BytesAttr, DenseIntOrFPElementsAttr, StringAttr
from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder, dtypes
from torchair.ge.errors import ArgumentValueError
from torchair.ge.tensor import NODE_NAME
from torchair.ir import element_types, interned
from torchair.ir.weights import WeightAttr, WeightHandle

_SHORT = 256
"""Elements up to which a constant is written number by number (and shared when equal)."""
_TRUE = bytes([0, *[255] * 255])


def constant(value: Any, element: Attribute | None = None) -> SSAValue:
    """A ``Const``; equal ones are one node.

    Args:
        value: number, nested list, numpy array or torch tensor.
        element: element type; by default that of the value (Python floats are float32).

    Raises:
        ArgumentValueError: the value has no constant form.
    """
    attribute, type_ = constant_attribute(value, element)
    graph = builder.current()
    found = graph.constants.get(attribute)
    if found is None:
        found = graph.constants[attribute] = graph.append("Const", [attribute], [type_])[0]
    return found


def named_constant(value: Any, element: Attribute | None, node_name: str) -> SSAValue:
    """A ``Const`` of its own with a name."""
    attribute, type_ = constant_attribute(value, element)
    result = builder.current().append("Const", [attribute], [type_])[0]
    result.owner.attributes[NODE_NAME] = StringAttr(node_name)  # pyright: ignore
    return result


def constant_attribute(value: Any, element: Attribute | None) -> tuple[Attribute, Attribute]:
    """Value and type of a ``Const``."""
    if hasattr(value, "detach") and "torch" in sys.modules:
        return _from_tensor(value, element)
    return _from_array(value, element)


def _from_tensor(value: Any, element: Attribute | None) -> tuple[Attribute, Attribute]:
    torch = sys.modules["torch"]
    wanted = (
        value.dtype if element is None else getattr(torch, element_types.to_name(element), None)
    )
    if wanted is None:
        raise ArgumentValueError("torch has no such data type", found=element)
    plain = value.detach().to(device="cpu", dtype=wanted).contiguous()
    if element is None:
        element = element_types.from_name(str(plain.dtype).removeprefix("torch."))
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return _from_bytes(data, element, list(plain.shape))


def _from_array(value: Any, element: Attribute | None) -> tuple[Attribute, Attribute]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ArgumentValueError("a list of unequal lengths is not a constant") from error
    if array.dtype.kind not in "biufc":
        raise ArgumentValueError(
            "a value has no constant form",
            expected="a number, nested list of numbers, numpy array or torch tensor",
            found=f"{value!r} ({type(value).__name__})"[:200],
        )
    if element is None:
        if not isinstance(value, np.ndarray | np.generic):
            array = array.astype(_default_type(array))
        element = element_types.from_name(array.dtype.name)
    shape = list(array.shape)
    name = element_types.to_name(element)
    if array.size <= _SHORT and not element_types.is_complex(element):
        return builder.dense(array.reshape(-1).tolist(), element, shape), interned.tensor(
            shape, element
        )
    numpy_name = dtypes.BY_NAME[name].numpy
    if numpy_name is None:
        flat = array.reshape(-1).tolist()
        return builder.dense(flat, element, shape), interned.tensor(shape, element)
    return _from_bytes(np.ascontiguousarray(array, numpy_name).tobytes(), element, shape)


def _default_type(array: np.ndarray[Any, Any]) -> str:
    """Type of a constant of Python numbers."""
    if array.size == 0:
        return "int32"
    return {"b": "bool", "f": "float32", "c": "complex64"}.get(array.dtype.kind, "int64")


def _from_bytes(data: bytes, element: Attribute, shape: list[int]) -> tuple[Attribute, Attribute]:
    type_ = interned.tensor(shape, element)
    is_plain = element_types.to_name(element) in _DENSE
    if not is_plain:
        key = f"constant_{hashlib.sha256(data).hexdigest()[:24]}_{element_types.to_name(element)}"
        key = "_".join([key, *map(str, shape)])
        return WeightAttr(WeightHandle(key, len(data), lambda: data)), type_
    if element == interned.i1:
        data = data.translate(_TRUE)
    return DenseIntOrFPElementsAttr(type_, BytesAttr(data)), type_


_DENSE_MLIR = (
    "f64",
    "f32",
    "f16",
    "bf16",
    "i1",
    "i8",
    "ui8",
    "i16",
    "ui16",
    "i32",
    "ui32",
    "i64",
    "ui64",
)
_DENSE = frozenset(dtypes.BY_MLIR[name].name for name in _DENSE_MLIR)
