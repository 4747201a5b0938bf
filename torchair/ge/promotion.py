"""Conversion of converter arguments: to one data type, or to tensors of the graph."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torchair.dialects.ge import registry
from torchair.ge.data_types import TensorType, element_of, number_of
from torchair.ge.errors import ArgumentTypeError, ArgumentValueError
from torchair.ge.nodes import Cast, Const, as_value
from torchair.ge.tensor import Tensor

_ANY = registry.Port("", "required", frozenset())
_INDEX = registry.Port("", "required", frozenset({"int64"}))


def dtype_promote(*tensors: Any, target_dtype: Any) -> Any:
    """Cast tensors to a data type, and make constants of that type from everything else.

    Args:
        tensors: tensors of the graph, numbers, lists, numpy arrays or torch tensors.
        target_dtype: ``torchair.ge.DataType`` number or torch dtype.

    Returns:
        One tensor, or a tuple when there are several arguments.

    Raises:
        ArgumentValueError: no arguments, or one that is None.
    """
    if not tensors or any(value is None for value in tensors):
        raise ArgumentValueError(
            "dtype_promote needs tensors or numbers", found=tensors, hint="leave out absent inputs"
        )
    number = number_of(element_of(target_dtype))
    promoted = [
        Cast(value, dst_type=number) if isinstance(value, Tensor) else Const(value, number)
        for value in tensors
    ]
    return tuple(promoted) if len(promoted) > 1 else promoted[0]


def auto_convert_to_tensor(
    is_dynamic: Sequence[bool],
    is_optional: Sequence[bool],
    *,
    inputs_tensor_type: Sequence[TensorType] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator for builders of nodes: numbers and lists given as inputs become constants.

    Args:
        is_dynamic: per input, whether it is a list of tensors.
        is_optional: per input, whether it may be None.
        inputs_tensor_type: per input, the class of types it takes; index numbers become int64.
    """
    classes = list(inputs_tensor_type or [TensorType.TT_UNKNOWN] * len(is_dynamic))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        names = list(signature.parameters)[: len(is_dynamic)]

        @functools.wraps(function)
        def build(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            given = [bound.arguments.get(name) for name in names]
            siblings = [v.value for v in given if isinstance(v, Tensor)]
            for index, name in enumerate(names):
                value = given[index]
                if value is None and is_optional[index]:
                    continue
                port = _INDEX if classes[index] is TensorType.TT_INDEX_NUMBER else _ANY
                if is_dynamic[index]:
                    bound.arguments[name] = _tensor_list(name, value)
                elif value is None:
                    raise ArgumentTypeError(f"input '{name}' is required", found=None)
                elif not isinstance(value, Tensor):
                    bound.arguments[name] = Tensor(as_value(value, port, siblings))
            return function(*bound.args, **bound.kwargs)

        return build

    return decorate


def _tensor_list(name: str, value: Any) -> list[Tensor]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, Tensor) for v in value):
        raise ArgumentTypeError(f"input '{name}' takes a list of tensors", found=repr(value))
    return list(value)
