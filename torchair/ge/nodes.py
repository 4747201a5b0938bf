"""Appends one node to the graph under construction; ``Const``, ``Cast`` and ``Clone``.

Output types follow from the registry's rules. Where it has none, the type that the converted
operator returns is taken, or the type of the first input; ``Expectation`` remembers such guesses.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Operation, OpResult, SSAValue, SSAValues

from torchair.dialects.ge import builder, registry
from torchair.dialects.ge.dialect import GeOp, lookup_op
from torchair.ge import constants
from torchair.ge.data_types import element_of, number_of
from torchair.ge.errors import (
    ArgumentCountError,
    ArgumentTypeError,
    ArgumentValueError,
    OperatorError,
)
from torchair.ge.tensor import NODE_NAME, Tensor, require_tensors, unwrap
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type
from torchair.ir.schema import REQUIRED_VALUE


@dataclass
class Expectation:
    """What the operator under conversion returns.

    Args:
        elements: element type of each result.
        guessed: values whose element type the registry did not decide.
    """

    elements: Sequence[Attribute]
    guessed: set[SSAValue] = field(default_factory=set[SSAValue])


_local = threading.local()


@contextmanager
def expecting(elements: Sequence[Attribute]) -> Iterator[Expectation]:
    """Make the result types of the operator under conversion known to the builders."""
    previous = getattr(_local, "expectation", None)
    expectation = _local.expectation = Expectation(elements)
    try:
        yield expectation
    finally:
        _local.expectation = previous


def operator_class(op_type: str, suggestion: str | None = None) -> type[GeOp]:
    """Class of a GE operator.

    Args:
        op_type: GE type.
        suggestion: a definition that fits the call, for the message.

    Raises:
        OperatorError: the registry does not have it.
    """
    cls = lookup_op(op_type)
    if cls is not None:
        return cls
    near = ", ".join(registry.suggest(op_type))
    example = suggestion or f"{op_type}(x: any as T) -> (y: any as T)"
    raise OperatorError(
        f"GE has no operator '{op_type}'" + (f" (similar: {near})" if near else ""),
        hint=f'declare it once: torchair.ge.define_operator("{example}")',
    )


def add_node(
    op_type: str,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any],
    counts: Mapping[str, int] | None = None,
    *,
    dependencies: Sequence[Tensor] | None = None,
    node_name: str | None = None,
    extra: Mapping[str, Attribute] | None = None,
) -> list[Any]:
    """Append a node.

    Args:
        op_type: GE type.
        inputs: one entry per registered input: a Tensor, a list of them, None, or numbers, which
            become constants.
        attributes: values by registered name.
        counts: number of tensors of each dynamic output.
        dependencies: tensors whose nodes run first.
        node_name: name of the node.
        extra: attributes that the registry lacks, by name with ``ge.attr.`` prefix.

    Returns:
        One entry per registered output: a Tensor, or a list of them for a dynamic output.
    """
    cls = operator_class(op_type)
    spec = cls.spec
    values = [*_promoted(cls, inputs), *_attribute_values(cls, attributes)]
    types, sizes, guessed = _result_types(spec, values, dict(counts or {}))
    controls = [_control(v) for v in require_tensors(dependencies or (), "dependencies")]
    graph = builder.current()
    results = graph.append(op_type, values, types, [c for c in controls if c is not None])
    operation = graph.block.last_op
    assert operation is not None, "the operation was just appended"
    if node_name is not None:
        operation.attributes[NODE_NAME] = StringAttr(checked_name(node_name))
    operation.attributes.update(extra or {})
    expectation = getattr(_local, "expectation", None)
    if expectation is not None:
        expectation.guessed.update(
            r for r, is_guess in zip(results, guessed, strict=True) if is_guess
        )
    return _grouped(spec, [Tensor(v) for v in results], sizes)


def checked_name(node_name: str) -> str:
    """A node name that GE accepts.

    Raises:
        ArgumentValueError: it is blank or no string.
    """
    if not isinstance(node_name, str) or not node_name.strip():
        raise ArgumentValueError("a node name is a string that is not blank", found=node_name)
    return node_name


def _grouped(spec: registry.OpSpec, tensors: list[Tensor], sizes: list[int]) -> list[Any]:
    grouped: list[Any] = []
    position = 0
    for port, size in zip(spec.outputs, sizes, strict=True):
        held = tensors[position : position + size]
        grouped.append(held if port.kind == "dynamic" else held[0])
        position += size
    return grouped


def _control(value: SSAValue) -> SSAValue | None:
    """The control result of the operation that computes a value; None for an input of the graph."""
    operation = value.owner
    if not isinstance(operation, Operation):
        return None
    if operation.results and operation.results[-1].type == control_type:
        return operation.results[-1]
    control = OpResult(control_type, operation, len(operation.results))
    operation.results = SSAValues((*operation.results, control))
    return control


# ---------------------------------------------------------------- inputs and attributes


def _promoted(cls: type[GeOp], inputs: Sequence[Any]) -> list[Any]:
    spec = cls.spec
    if len(inputs) != len(spec.inputs):
        raise ArgumentCountError(
            f"{spec.name} has {len(spec.inputs)} inputs",
            expected=", ".join(port.name for port in spec.inputs),
            found=f"{len(inputs)} values",
        )
    siblings = [v.value for value in inputs for v in _tensors_in(value)]
    return [
        _input(spec, port, value, siblings) for port, value in zip(spec.inputs, inputs, strict=True)
    ]


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return (
        [v for item in value for v in _tensors_in(item)] if isinstance(value, list | tuple) else []
    )


def _input(
    spec: registry.OpSpec, port: registry.Port, value: Any, siblings: Sequence[SSAValue]
) -> Any:
    where = f"input '{port.name}' of {spec.name}"
    if value is None:
        if port.kind == "optional":
            return None
        raise ArgumentTypeError(f"{where} is required", expected="torchair.ge.Tensor", found=None)
    if port.kind == "dynamic":
        if not isinstance(value, list | tuple):
            raise ArgumentTypeError(
                f"{where} takes a list of tensors", found=f"{value!r} ({type(value).__name__})"
            )
        return [as_value(item, port, siblings) for item in value]
    return as_value(value, port, siblings)


def as_value(value: Any, port: registry.Port | None, siblings: Sequence[SSAValue] = ()) -> SSAValue:
    """The SSA value of a tensor, or of a constant that is made from numbers.

    Floats take the floating type of the sibling tensors, integers their integer type; lists of
    integers are int64 (int32 where the port takes nothing wider).
    """
    if isinstance(value, Tensor):
        return value.value
    if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
        return builder.sizes(unwrap(value), _index_type(port))
    if isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return builder.current().constant(list(value), _index_type(port))
    element = None
    if isinstance(value, bool | int | float):
        element = _number_type(value, port, siblings)
    return constants.constant(value, element)


def _index_type(port: registry.Port | None) -> Attribute:
    takes_wide = port is None or not port.dtypes or "int64" in port.dtypes
    return interned.i64 if takes_wide else interned.i32


def _number_type(
    value: bool | int | float, port: registry.Port | None, siblings: Sequence[SSAValue]
) -> Attribute:
    elements = list(dict.fromkeys(builder.element(v) for v in siblings))
    allowed = frozenset[str]() if port is None else port.dtypes
    fitting = [e for e in elements if not allowed or element_types.to_name(e) in allowed]
    alike = [e for e in fitting if element_types.is_floating(e) == isinstance(value, float)]
    if isinstance(value, bool):
        alike = [e for e in fitting if e == interned.i1]
    if alike:
        return alike[0]
    if fitting and not isinstance(value, float):
        return fitting[0]
    default = {bool: "bool", float: "float32"}.get(type(value), "int64")
    if allowed and default not in allowed:
        default = next(
            (n for n in ("float32", "float16", "int64", "int32") if n in allowed), default
        )
    return element_types.from_name(default)


def _attribute_values(cls: type[GeOp], attributes: Mapping[str, Any]) -> list[Any]:
    spec = cls.spec
    unknown = [name for name in attributes if name not in spec.attrs]
    if unknown:
        raise ArgumentTypeError(
            f"{spec.name} has no attribute '{unknown[0]}'",
            expected=", ".join(spec.attrs) or "no attributes",
            hint="remove it, or declare the operator with it (torchair.ge.define_operator)",
        )
    values: list[Any] = []
    for name, known in spec.attrs.items():
        value = attributes.get(name, REQUIRED_VALUE)
        if value is REQUIRED_VALUE and known.required:
            raise ArgumentTypeError(f"{spec.name} needs attribute '{name}' ({known.type})")
        values.append(value)
    return values


# ---------------------------------------------------------------- output types


def _result_types(
    spec: registry.OpSpec, values: Sequence[Any], counts: dict[str, int]
) -> tuple[list[Attribute], list[int], list[bool]]:
    """Types of all results, number of results per output, and which types are guesses."""
    types: list[Attribute] = []
    sizes: list[int] = []
    guessed: list[bool] = []
    for index, port in enumerate(spec.outputs):
        count = 1
        if port.kind == "dynamic":
            count = counts.get(port.name, -1)
            count = dynamic_count(spec, values, port) if count < 0 else count
        element = _known_element(spec, index, values)
        is_guess = element is None
        if element is None:
            element = _guess(spec, index, values)
        types.extend([interned.unranked(element)] * count)
        guessed.extend([is_guess] * count)
        sizes.append(count)
    return types, sizes, guessed


def dynamic_count(spec: registry.OpSpec, values: Sequence[Any], port: registry.Port) -> int:
    """Number of tensors of a dynamic output, where an attribute or the only list input tells it.

    Raises:
        ArgumentCountError: nothing does.
    """
    names = list(spec.attrs)
    for name in ("num_split", "num", "N"):
        if name in spec.attrs:
            value = values[len(spec.inputs) + names.index(name)]
            return spec.attrs[name].default if value is REQUIRED_VALUE else value  # pyright: ignore
    if len(spec.dynamic_inputs) == 1:
        return len(values[spec.dynamic_inputs[0]])
    raise ArgumentCountError(
        f"the number of tensors of output '{port.name}' of {spec.name} is not known",
        hint=f'pass size_of_{port.name}=n, or outputs=[("{port.name}", n)] to custom_op',
    )


def _known_element(spec: registry.OpSpec, index: int, values: Sequence[Any]) -> Attribute | None:
    """Element type by the registry's rule, None where the rule says nothing."""
    rule = spec.result_rules[index]
    if rule is None:
        return None
    if rule.kind == "fixed":
        return element_types.from_name(rule.dtype)
    if rule.kind == "attr":
        value = values[len(spec.inputs) + list(spec.attrs).index(rule.attr)]
        if value is REQUIRED_VALUE:
            value = spec.attrs[rule.attr].default
        is_unset = value in (28, "undefined", None)
        if is_unset or (
            isinstance(value, Attribute) and element_types.to_name(value) == "undefined"
        ):
            return None
        return element_types.from_name(value) if isinstance(value, str) else element_of(value)
    found = [_first(values[position]) for position in rule.inputs]
    elements = dict.fromkeys(builder.element(v) for v in found if v is not None)
    if rule.kind == "same":
        return next(iter(elements), None)
    return next(iter(elements)) if len(elements) == 1 else None


def _guess(spec: registry.OpSpec, index: int, values: Sequence[Any]) -> Attribute:
    allowed = spec.outputs[index].dtypes
    expectation = getattr(_local, "expectation", None)
    expected = [] if expectation is None else list(expectation.elements)
    if len(expected) == len(spec.outputs):
        expected = [expected[index], *expected]
    elsewhere = [_first(value) for value in values[: len(spec.inputs)]]
    candidates = [*expected, *[builder.element(v) for v in elsewhere if v is not None]]
    for element in candidates:
        if not allowed or element_types.to_name(element) in allowed:
            return element
    raise OperatorError(
        f"the data type of output '{spec.outputs[index].name}' of {spec.name} is not known",
        hint='declare the operator with a rule: "(x: any as T) -> (y: any as T)" or '
        '"(y: any from dtype) {dtype: Type}"',
    )


def _first(value: Any) -> SSAValue | None:
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return value if isinstance(value, SSAValue) else None


# ---------------------------------------------------------------- public nodes


def Const(v: Any, dtype: Any = None, node_name: str | None = None, readable: bool = True) -> Tensor:
    """A constant.

    Args:
        v: number, nested list, numpy array or torch tensor. Python floats are float32 and ints
            int64 where `dtype` does not say otherwise; an empty list is int32.
        dtype: ``torchair.ge.DataType`` number or torch dtype.
        node_name: name of the node; equal constants without a name are one node.
        readable: accepted for compatibility; small constants are always readable in dumps.

    Raises:
        ArgumentValueError: the value is a tensor of the graph, or has no constant form.
    """
    if isinstance(v, Tensor):
        raise ArgumentValueError(
            "a tensor of the graph is not a constant", found=v, hint="use the tensor itself"
        )
    element = None if dtype is None else element_of(dtype)
    if node_name is None:
        return Tensor(constants.constant(v, element))
    return Tensor(constants.named_constant(v, element, checked_name(node_name)))


def Cast(
    x: Any,
    *,
    dst_type: Any,
    dependencies: Sequence[Tensor] = (),
    node_name: str | None = None,
) -> Tensor:
    """Conversion to a data type; the tensor itself when it has that type already.

    Args:
        x: tensor; anything else becomes a constant first.
        dst_type: ``torchair.ge.DataType`` number or torch dtype.
        dependencies: tensors whose nodes run first.
        node_name: name of the node.
    """
    value = x if isinstance(x, Tensor) else Const(x)
    element = element_of(dst_type)
    if node_name is None and not dependencies:
        return Tensor(builder.cast_to(value.value, element))
    number = {"dst_type": number_of(element)}
    return add_node("Cast", [value], number, dependencies=dependencies, node_name=node_name)[0]


def Clone(
    x: Tensor, *, dependencies: Sequence[Tensor] = (), node_name: str | None = None
) -> Tensor:
    """A copy in memory of its own.

    Raises:
        ArgumentTypeError: `x` is not a tensor of the graph.
    """
    require_tensors([x], "the input of Clone")
    return add_node("TensorMove", [x], {}, dependencies=dependencies, node_name=node_name)[0]
