"""Converters that nobody has to write: a custom operator whose GE operator has the same signature.

``my::add_custom(Tensor x, Tensor y, *, int axis=0) -> Tensor`` becomes ``ge.AddCustom`` when the
registry's operator takes as many tensors, at least as many attributes, and gives as many results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.aten import lookup
from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.dialects.ge.dialect import lookup_op
from torchair.dialects.ge.registry import AttrSpec, OpSpec
from torchair.errors import ConversionError
from torchair.ir import element_types
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema

_BUILTIN = frozenset(("aten", "prim", "prims", "sym", "_c10d_functional", "quantized"))
_TENSOR_ROLES = (Role.REQUIRED, Role.OPTIONAL, Role.VARIADIC, Role.MASKED)


def ge_name(mnemonic: str) -> str:
    """GE type of a custom operator: ``my.add_custom_functional`` -> ``AddCustom``."""
    words = mnemonic.split(".")[1].removesuffix("_functional").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


def auto_converter(mnemonic: str) -> tuple[Schema, Callable[..., Any]] | None:
    """The schema and a function from its argument values (and ``out``) to results.

    Returns:
        None when GE has no operator of that name.
    """
    if mnemonic.split(".")[0] in _BUILTIN:
        return None
    cls = lookup(mnemonic)
    target = lookup_op(ge_name(mnemonic))
    if cls is None or target is None:
        return None
    schema, spec = cls.schema, target.spec

    def convert(out: Any = None, **values: Any) -> Any:
        _check_signatures(schema, spec)
        given = {p.name: values.get(p.name, values.get(f"{p.name}_")) for p in schema.parameters}
        types = cast("list[Any]", out) if isinstance(out, list) else [out]
        return _build(schema, spec, given, types)

    return schema, convert


def _check_signatures(schema: Schema, spec: OpSpec) -> None:
    tensors = [p for p in schema.parameters if p.role in _TENSOR_ROLES]
    statics = [p for p in schema.parameters if p.role not in _TENSOR_ROLES]
    numbers = [p.name for p in schema.parameters if p.kind == "number"]
    written = sum(p.writes for p in tensors)
    problems: list[str] = []
    if numbers:
        problems.append(f"argument '{numbers[0]}' is a Scalar")
    if len(tensors) != len(spec.inputs):
        problems.append(f"{len(tensors)} tensor arguments for {len(spec.inputs)} inputs")
    if len(statics) > len(spec.attrs):
        problems.append(f"{len(statics)} other arguments for {len(spec.attrs)} attributes")
    results = len(schema.results) + written
    if results != len(spec.outputs):
        problems.append(f"{results} results for {len(spec.outputs)} outputs")
    if written and written != len(spec.refs):
        problems.append(f"{written} written arguments for {len(spec.refs)} in-place outputs")
    if any(port.kind == "dynamic" for port in spec.outputs):
        problems.append("a dynamic output")
    if problems:
        raise ConversionError(
            f"GE's {spec.name} does not fit {schema.name}, so no converter can be made for it: "
            + "; ".join(problems),
            expected=f"a signature like {schema.text}",
            hint="write one with torchair.register_fx_node_ge_converter",
        )


def _build(
    schema: Schema, spec: OpSpec, values: dict[str, Any], types: Sequence[Attribute | None]
) -> Any:
    tensors = [p for p in schema.parameters if p.role in _TENSOR_ROLES]
    inputs = [_tensor(values[p.name]) for p in tensors]
    is_functional = not any(p.writes for p in tensors)
    if is_functional:
        for _, position in spec.refs:
            inputs[position] = ge.TensorMove(inputs[position], out=inputs[position].type)
    references = {output for output, _ in spec.refs} if not is_functional else set[int]()
    results = iter(types)
    outputs: list[Any] = [
        _tensor_type(inputs[dict(spec.refs)[i]]) if i in references else next(results, None)
        for i in range(len(spec.outputs))
    ]
    named = _attributes(schema, spec, values)
    made = ge.call(spec.name, *inputs, out=tuple(outputs), **named)
    flat = list(cast("tuple[Any, ...]", made)) if isinstance(made, tuple) else [made]
    return [value for i, value in enumerate(flat) if i not in references]


def _tensor_type(value: SSAValue) -> Attribute:
    return value.type


def _tensor(value: Any) -> Any:
    """A tensor argument; lists of optional tensors lose their absent ones."""
    if not isinstance(value, list):
        return value
    return [v for v in cast("list[Any]", value) if v is not None]


def _attributes(schema: Schema, spec: OpSpec, values: dict[str, Any]) -> dict[str, Any]:
    """Attributes from the other arguments: by name when GE has all the names, else by position."""
    statics = [p for p in schema.parameters if p.role not in _TENSOR_ROLES]
    specs = list(spec.attrs.values())
    if all(p.name in spec.attrs for p in statics):
        specs = [spec.attrs[p.name] for p in statics]
    named: dict[str, Any] = {}
    for parameter, known in zip(statics, specs, strict=False):
        value = values[parameter.name]
        if value is None or value is REQUIRED_VALUE:
            continue
        named[known.name] = _attribute(schema, parameter, known, value)
    return named


def _attribute(schema: Schema, parameter: Parameter, known: AttrSpec, value: Any) -> Any:
    items = cast("list[Any]", value) if isinstance(value, list) else [value]
    if any(isinstance(v, SSAValue) for v in items):
        raise ConversionError(
            f"argument '{parameter.name}' of {schema.name} is symbolic, but an attribute in GE",
            hint="compile with dynamic=False, or write a converter",
        )
    if isinstance(value, Attribute) and known.type == "Int":
        return dtypes.BY_NAME[element_types.to_name(value)].ge
    if known.type == "Float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if known.type == "ListFloat" and isinstance(value, list):
        return [float(v) for v in items]
    return cast(Any, value)
