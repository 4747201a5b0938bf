"""Builders of ge IR: ``ge.Add(x, y)`` appends an operation to the graph under construction.

The names are GE's, the positional arguments its inputs in registry order, keywords its attributes
or
optional inputs. Python numbers given as inputs become constants of the sibling tensor's type, lists
of numbers int64 constants, and lists that mix numbers and scalars a ``Pack``. Constants, shapes and
size lists are built once per graph.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Attribute, Block, SSAValue

from torchair.dialects.ge import dtypes, registry
from torchair.dialects.ge.dialect import GeOp, lookup_op
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.private import UNKNOWN_LOCATION, VALUE_CLASSES, append_op
from torchair.ir.schema import REQUIRED_VALUE, Role

_dense: dict[tuple[Any, ...], Attribute] = {}
_ONLY_INTS = {int}


class GraphBuilder:
    """The graph under construction.

    Args:
        block: where operations are appended.

    Attributes:
        written: graph inputs that the graph writes; copies of them must be made.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.location: Attribute = UNKNOWN_LOCATION
        self.attributes: dict[str, Attribute] = {}
        self.constants: dict[Attribute, SSAValue] = {}
        self.integers: dict[tuple[Any, ...], SSAValue] = {}
        self.shapes: dict[tuple[SSAValue, Attribute], SSAValue] = {}
        self.packs: dict[tuple[Any, ...], SSAValue] = {}
        self.written: set[SSAValue] = set()

    def constant(
        self, values: object, element: Attribute, shape: Sequence[int] | None = None
    ) -> SSAValue:
        """A ``Const`` of the given numbers, one per distinct value, type and shape.

        Args:
            values: one number or a flat list of numbers.
            element: element type.
            shape: defaults to ``[]`` for a number and ``[len(values)]`` for a list.
        """
        is_list = isinstance(values, list | tuple)
        flat = tuple(cast("Sequence[Any]", values)) if is_list else (values,)
        if shape is None:
            shape = [len(flat)] if is_list else []
        if set(map(type, flat)) != _ONLY_INTS:
            return self.constant_attribute(dense(flat, element, shape))
        key = (element, tuple(shape), flat)
        found = self.integers.get(key)
        if found is None:
            found = self.integers[key] = self.constant_attribute(dense(flat, element, shape))
        return found

    def constant_attribute(self, value: Attribute) -> SSAValue:
        """A ``Const`` of a dense or weight attribute."""
        found = self.constants.get(value)
        if found is None:
            type_ = cast(Any, value).type if hasattr(value, "type") else None
            assert type_ is not None, "a weight constant needs an explicit type: use append"
            found = self.append("Const", [value], [type_])[0]
            self.constants[value] = found
        return found

    def append(
        self,
        name: str,
        values: Sequence[object],
        result_types: Sequence[Attribute],
        controls: Sequence[SSAValue] = (),
    ) -> Sequence[SSAValue]:
        """Append an operation given one value per schema parameter."""
        return self.append_class(op_class(name), values, result_types, controls)

    def append_class(
        self,
        cls: type[GeOp],
        values: Sequence[object],
        result_types: Sequence[Attribute],
        controls: Sequence[SSAValue] = (),
    ) -> Sequence[SSAValue]:
        """Append an operation of a class."""
        attributes = dict(self.attributes) if self.attributes else None
        op = cls.build_call(values, result_types, self.location, controls, attributes)
        append_op(self.block, op)
        return op.results


_local = threading.local()


def current() -> GraphBuilder:
    """The builder of the graph under construction in this thread.

    Raises:
        ConversionError: nothing is under construction.
    """
    builder = getattr(_local, "builder", None)
    if builder is None:
        raise ConversionError(
            "no GE graph is under construction",
            hint="call ge builders only inside a converter",
        )
    return builder


@contextmanager
def building(builder: GraphBuilder) -> Generator[GraphBuilder]:
    """Make a builder current in this thread."""
    previous = getattr(_local, "builder", None)
    _local.builder = builder
    try:
        yield builder
    finally:
        _local.builder = previous


def op_class(name: str) -> type[GeOp]:
    """Class of a GE type.

    Raises:
        ConversionError: the registry does not have it; names similar ones.
    """
    cls = lookup_op(name)
    if cls is None:
        near = ", ".join(registry.suggest(name)) or "torchair-opt --help lists the dialects"
        raise ConversionError(f"GE has no operator '{name}'", hint=f"did you mean: {near}")
    return cls


def dense(flat: Sequence[Any], element: Attribute, shape: Sequence[int]) -> Attribute:
    """Interned dense attribute of a few numbers."""
    key = (element, tuple(shape), *[(type(v), repr(v)) for v in flat])
    found = _dense.get(key)
    if found is None:
        if len(_dense) > 50_000:
            _dense.clear()
        type_ = interned.tensor(shape, element)
        is_int = element_types.to_name(element).startswith(("int", "uint", "bool"))
        numbers: list[Any]
        if element_types.is_complex(element):
            numbers = [(complex(v).real, complex(v).imag) for v in flat]
        else:
            numbers = [int(v) if is_int else float(v) for v in flat]
        found = _dense[key] = DenseIntOrFPElementsAttr.from_list(cast(Any, type_), numbers)
    return found


def element(value: SSAValue) -> Attribute:
    """Element type of a tensor value."""
    return interned.element_type(value.type)


def shape(value: SSAValue, dtype: Attribute = interned.i64) -> SSAValue:
    """``Shape`` of a value as a 1-D tensor, built once per value."""
    builder = current()
    key = (value, dtype)
    found = builder.shapes.get(key)
    if found is None:
        sizes = interned.shape_of(value.type)
        rank = interned.DYNAMIC if sizes is None else len(sizes)
        number = dtypes.BY_NAME[element_types.to_name(dtype)].ge
        result = interned.tensor([rank], dtype)
        found = builder.append("Shape", [value, number], [result])[0]
        builder.shapes[key] = found
    return found


def size(value: SSAValue, dim: int) -> SSAValue | int:
    """One size of a value: an int when static, else a 0-d int64 tensor.

    Equal symbols are equal sizes, so each symbol is read once per graph.
    """
    sizes = interned.shape_of(value.type)
    if sizes is not None and sizes[dim] != interned.DYNAMIC:
        return sizes[dim]
    builder = current()
    if dim < 0 and sizes is not None:
        dim += len(sizes)
    symbols = interned.symbols_of(value.type)
    key = ("size", value, dim) if symbols is None else ("symbol", symbols[dim])
    found = builder.packs.get(key)
    if found is None:
        index = builder.constant(dim, interned.i64)
        found = cast(
            SSAValue, call("Gather", shape(value), index, out=interned.tensor([], interned.i64))
        )
        builder.packs[key] = found
    return found


def sizes(values: Sequence[SSAValue | int], dtype: Attribute = interned.i64) -> SSAValue:
    """A 1-D integer tensor from a list that mixes ints and 0-d int64 tensors, built once."""
    builder = current()
    if all(isinstance(v, int) for v in values):
        return builder.constant(list(values), dtype)
    key = (dtype, *values)
    found = builder.packs.get(key)
    if found is None:
        parts = [builder.constant(v, interned.i64) if isinstance(v, int) else v for v in values]
        pack_type = interned.tensor([len(parts)], interned.i64)
        found = cast(SSAValue, call("Pack", parts, axis=0, N=len(parts), out=pack_type))
        if dtype is not interned.i64:
            found = cast_to(found, dtype)
        builder.packs[key] = found
    return found


def cast_to(value: SSAValue, dtype: Attribute) -> SSAValue:
    """``Cast`` to an element type; the value itself when it has it already."""
    if element(value) == dtype:
        return value
    number = dtypes.BY_NAME[element_types.to_name(dtype)].ge
    return cast(SSAValue, call("Cast", value, dst_type=number, out=_like(value, dtype)))


def _like(value: SSAValue, dtype: Attribute) -> Attribute:
    known = interned.shape_of(value.type)
    return interned.unranked(dtype) if known is None else interned.tensor(known, dtype)


def call(name: str, *inputs: Any, out: Any = None, **named: Any) -> Any:
    """Append a GE operation.

    Args:
        name: GE type.
        inputs: inputs in registry order (None for an absent optional input).
        out: result types: an element type or tensor type, a tuple of them for several outputs, or
        an
            int for the number of a dynamic output's tensors; inferred from the registry when None.
        named: attributes, or inputs by name.

    Returns:
        The value, a tuple for several outputs, a list for a dynamic output, None for no output.

    Raises:
        ConversionError: unknown operator, argument or undeducible result type.
    """
    cls = op_class(name)
    spec = cls.spec
    values = _arguments(cls, inputs, named)
    tensors = values[: len(spec.inputs)]
    _promote_numbers(cls, tensors)
    values[: len(spec.inputs)] = tensors
    types = _result_types(cls, values, out)
    results = current().append_class(cls, values, types)
    if not results:
        return None
    if len(spec.outputs) == 1:
        return list(results) if spec.outputs[0].kind == "dynamic" else results[0]
    return tuple(results)


def _arguments(cls: type[GeOp], inputs: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    parameters = cls.schema.parameters
    count = len(cls.spec.inputs)
    if len(inputs) > count:
        raise ConversionError(
            f"{cls.name} takes {count} inputs, got {len(inputs)}", expected=cls.schema.text
        )
    values: list[Any] = [*inputs, *[REQUIRED_VALUE] * (len(parameters) - len(inputs))]
    for key, value in named.items():
        position = cls.schema.positions.get(key)
        if position is None:
            raise ConversionError(
                f"{cls.name} has no input or attribute '{key}'",
                expected=", ".join(cls.schema.positions),
            )
        values[position] = value
    return values


def _promote_numbers(cls: type[GeOp], tensors: list[Any]) -> None:
    """Turn Python numbers and lists given as inputs into constants."""
    given = tuple(tensors)
    for index, (value, port) in enumerate(zip(given, cls.spec.inputs, strict=True)):
        if value.__class__ in VALUE_CLASSES:
            continue
        if value is REQUIRED_VALUE and port.kind != "required":
            tensors[index] = [] if port.kind == "dynamic" else None
        elif isinstance(value, bool | int | float | complex):
            sibling = next((v for v in given if v.__class__ in VALUE_CLASSES), None)
            tensors[index] = current().constant(value, _number_type(value, port, sibling))
        elif isinstance(value, list | tuple) and cls.schema.parameters[index].role is Role.REQUIRED:
            wanted = interned.i64 if not port.dtypes or "int64" in port.dtypes else interned.i32
            tensors[index] = sizes(cast("list[Any]", value), wanted)


def _number_type(value: object, port: registry.Port, sibling: SSAValue | None) -> Attribute:
    if sibling is not None:
        own = element(sibling)
        if not port.dtypes or element_types.to_name(own) in port.dtypes:
            return own
    preferred = ("bool",) if isinstance(value, bool) else ("int64", "int32")
    if isinstance(value, float):
        preferred = ("float32", "float16")
    elif isinstance(value, complex):
        preferred = ("complex64", "complex128")
    for name in preferred:
        if not port.dtypes or name in port.dtypes:
            return element_types.from_name(name)
    raise ConversionError(f"no constant of {value!r} fits input '{port.name}'", found=port.dtypes)


def _result_types(cls: type[GeOp], values: list[Any], out: Any) -> list[Attribute]:
    spec = cls.spec
    if isinstance(out, Attribute):
        return [_as_type(out)]
    if isinstance(out, tuple | list):
        return [_as_type(item) for item in cast("Sequence[Attribute]", out)]
    types: list[Attribute] = []
    for index, port in enumerate(spec.outputs):
        inferred = interned.unranked(_infer(cls, index, values))
        count = out if port.kind == "dynamic" and isinstance(out, int) else 1
        types.extend([inferred] * count)
    return types


def _as_type(item: Attribute) -> Attribute:
    if item == interned.element_type(item):
        return interned.unranked(item)
    return item


def _infer(cls: type[GeOp], index: int, values: list[Any]) -> Attribute:
    """Element type of one output from the registry's rule."""
    spec = cls.spec
    rule = spec.result_rules[index]
    port = spec.outputs[index]
    if rule is not None:
        if rule.kind == "fixed":
            return element_types.from_name(rule.dtype)
        if rule.kind == "attr":
            return _attr_dtype(cls, rule.attr, values)
        for position in rule.inputs:
            first = _first(values[position])
            if first is not None:
                return element(first)
    for value in values[: len(spec.inputs)]:
        first = _first(value)
        if first is not None and (
            not port.dtypes or element_types.to_name(element(first)) in port.dtypes
        ):
            return element(first)
    raise ConversionError(
        f"the dtype of output '{port.name}' of {cls.name} does not follow from its inputs",
        hint=f"pass out=<element type> to ge.{spec.name}",
    )


def _attr_dtype(cls: type[GeOp], name: str, values: list[Any]) -> Attribute:
    position = cls.schema.positions[name]
    value = values[position]
    if value is REQUIRED_VALUE:
        value = cls.schema.parameters[position].default
    if isinstance(value, int):
        return element_types.from_name(dtypes.BY_GE[value].name)
    return cast(Attribute, value)


def _first(value: Any) -> SSAValue | None:
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return value if isinstance(value, SSAValue) else None


def __getattr__(name: str) -> Callable[..., Any]:
    """``builder.Add`` is the builder of GE's ``Add``."""
    if name.startswith("_") or lookup_op(name) is None:
        raise AttributeError(f"GE has no operator '{name}'; similar: {registry.suggest(name)}")

    def build(*inputs: Any, out: Any = None, **named: Any) -> Any:
        return call(name, *inputs, out=out, **named)

    build.__name__ = build.__qualname__ = name
    globals()[name] = build  # asked for once: the operator is looked up in each call
    return build
