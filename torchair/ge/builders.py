"""One builder function per GE operator, made on first use: ``builder_of("Add")(x, y)``.

Inputs are positional or named, attributes named; ``size_of_<output>`` gives the number of tensors
of a dynamic output. Numbers and lists given as inputs become constants.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from torchair.dialects.ge.dialect import lookup_op
from torchair.dialects.ge.registry import OpSpec, op_names
from torchair.ge import attr
from torchair.ge.errors import ArgumentTypeError
from torchair.ge.nodes import Cast, Const, add_node
from torchair.ge.tensor import Tensor

_SIZE_OF = "size_of_"
_KEYWORD = "_changed_as_is_python_key"
_DUPLICATE = "_changed_as_duplicate_with_input"
_SPECIAL: dict[str, Callable[..., Any]] = {"Const": Const, "Cast": Cast}


def builder_of(op_type: str) -> Callable[..., Any] | None:
    """Builder function of a GE operator (``_Split`` is ``Split``), None when GE has no such one."""
    if op_type in _SPECIAL:
        return _SPECIAL[op_type]
    if lookup_op(op_type) is None:
        known = op_type.startswith("_") and lookup_op(op_type[1:]) is not None
        return builder_of(op_type[1:]) if known else None
    return _make(op_type)


def builder_names() -> list[str]:
    """GE types that have a builder."""
    return op_names()


@cache
def _make(op_type: str) -> Callable[..., Any]:
    def build(
        *inputs: Any,
        dependencies: Sequence[Tensor] = (),
        node_name: str | None = None,
        **named: Any,
    ) -> Any:
        cls = lookup_op(op_type)
        assert cls is not None, "operators are never removed from the registry"
        given, values, counts = _sorted_arguments(cls.spec, inputs, named)
        results = add_node(
            op_type, given, values, counts, dependencies=dependencies, node_name=node_name
        )
        if not results:
            return None
        return results[0] if len(results) == 1 else tuple(results)

    build.__name__ = build.__qualname__ = op_type
    build.__doc__ = f"Append a ``{op_type}`` node."
    return build


def _sorted_arguments(
    spec: OpSpec, inputs: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any], dict[str, int]]:
    """Inputs in order, attribute values and output counts of one call."""
    if len(inputs) > len(spec.inputs):
        raise ArgumentTypeError(
            f"{spec.name} takes {len(spec.inputs)} inputs, attributes are named",
            expected=", ".join([*spec.input_index, *(f"{name}=" for name in spec.attrs)]),
            found=f"{len(inputs)} positional arguments",
        )
    given: list[Any] = [*inputs, *[None] * (len(spec.inputs) - len(inputs))]
    values: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for key, value in named.items():
        name = key.removesuffix(_KEYWORD) if keyword.iskeyword(key.removesuffix(_KEYWORD)) else key
        if key.startswith(_SIZE_OF) and key.removeprefix(_SIZE_OF) in spec.output_index:
            counts[key.removeprefix(_SIZE_OF)] = value
        elif name in spec.input_index:
            given[spec.input_index[name]] = value
        elif name.removesuffix(_DUPLICATE) in spec.attrs:
            name = name.removesuffix(_DUPLICATE)
            values[name] = attr.from_value(spec.attrs[name].type, value, name)
        else:
            raise ArgumentTypeError(
                f"{spec.name} has no input or attribute '{key}'",
                expected=", ".join([*spec.input_index, *spec.attrs]),
            )
    return given, values, counts
