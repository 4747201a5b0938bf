"""Operation classes of GE operators, made lazily from the registry, and their verifier.

    %2 = ge.MatMulV2(%0, %1, transpose_x2 = true)
         : (tensor<4x8xf16>, tensor<16x8xf16>) -> tensor<4x16xf16>

Control edges are trailing operands of type ``!ge.control``, written ``after [%c]``; an operation
that others wait for has a trailing ``!ge.control`` result. ``ge.NetOutput`` ends a graph.
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from typing import Any, cast

from xdsl.dialects.builtin import TensorType, UnrankedTensorType
from xdsl.ir import Attribute, Dialect, Operation
from xdsl.traits import IsTerminator
from xdsl.utils.exceptions import VerifyException

from torchair.dialects.ge import registry
from torchair.ir import element_types
from torchair.ir.call_verify import ControlType, operand_counts
from torchair.ir.calls import CallOp, make_call_class
from torchair.ir.element_types import DataTypeType
from torchair.ir.lazy import LazyDialect
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema

_ROLES = {"required": Role.REQUIRED, "optional": Role.OPTIONAL, "dynamic": Role.VARIADIC}
_KINDS = {
    "Int": "int",
    "Float": "float",
    "Bool": "bool",
    "String": "str",
    "Type": "dtype",
    "ListInt": "ints",
    "ListFloat": "floats",
    "ListBool": "bools",
    "ListString": "strs",
    "ListType": "dtypes",
    "ListListInt": "int_lists",
    "ListListFloat": "float_lists",
    "Tensor": "tensor",
}
_EFFECTS = (
    "Hcom", "PrintV2", "StringFormat", "Assign", "Send", "Recv", "Assert", "Cmo", "Rand",
    "DropOutGenMask",
    "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal", "Stateful", "DropoutV2",
)  # fmt: skip
"""Prefixes of operators that do more than compute their results, or must not be merged."""


class GeOp(CallOp):
    """Base of every GE operation."""

    single_floats = True
    spec: registry.OpSpec

    def verify_(self) -> None:
        super().verify_()
        _verify_dtypes(self)


def ge_type(op: GeOp) -> str:
    """The GE type of an operation, e.g. ``MatMulV2``."""
    return op.name[3:]


def attr_specs(op: GeOp) -> dict[str, registry.AttrSpec]:
    """Registered attributes of an operation, by name."""
    return dict(op.spec.attrs)


_classes: dict[str, type[GeOp]] = {}


def lookup_op(name: str) -> type[GeOp] | None:
    """Operation class of a GE type (``MatMulV2``), or None when the registry lacks it."""
    found = _classes.get(name)
    if found is None:
        spec = registry.lookup(name)
        if spec is None:
            return None
        found = _classes[name] = _make_class(spec)
    return found


def define_op(text: str, *, replace: bool = False) -> type[GeOp]:
    """Operation class of an operator that is added to the registry (see ``registry.define``)."""
    return _current_class(registry.define(text, replace=replace))


def define_ops(text: str, *, replace: bool = False) -> list[type[GeOp]]:
    """Operation classes of a registry file's operators (see ``registry.define_all``)."""
    return [_current_class(spec) for spec in registry.define_all(text, replace=replace)]


def _current_class(spec: registry.OpSpec) -> type[GeOp]:
    known = _classes.get(spec.name)
    if known is None or known.spec is not spec:
        known = _classes[spec.name] = _make_class(spec)
    return known


def _make_class(spec: registry.OpSpec) -> type[GeOp]:
    written = {position for _, position in spec.refs}
    inputs = [
        Parameter(
            port.name,
            _ROLES[port.kind],
            "tensor",
            _input_default(port.kind),
            writes=position in written,
        )
        for position, port in enumerate(spec.inputs)
    ]
    names = {port.name for port in spec.inputs}
    attrs = [
        Parameter(_attr_name(a.name, names), Role.STATIC, _KINDS[a.type], _attr_default(a))
        for a in spec.attrs.values()
    ]
    outputs = ["Tensor*" if port.kind == "dynamic" else "Tensor" for port in spec.outputs]
    parts = [
        p.name + {"required": "", "optional": "?", "dynamic": "*"}[p.kind] for p in spec.inputs
    ]
    text = f"ge.{spec.name}({', '.join(parts)})"
    schema = Schema.make(
        f"ge.{spec.name}",
        [*inputs, *attrs],
        outputs,
        text,
        has_control=True,
        pure=not spec.refs and bool(outputs) and not spec.name.startswith(_EFFECTS),
    )
    traits = [IsTerminator()] if spec.name == "NetOutput" else []
    cls = make_call_class(GeOp, schema, traits)
    cls.spec = spec
    return cls


def _attr_name(name: str, inputs: set[str]) -> str:
    return f"{name}_attr" if name in inputs else name


def _input_default(kind: str) -> object:
    return {"required": REQUIRED_VALUE, "optional": None, "dynamic": []}[kind]


def _attr_default(spec: registry.AttrSpec) -> object:
    if spec.required:
        return REQUIRED_VALUE
    default = spec.default
    if isinstance(default, tuple) and spec.type == "ListType":
        return [element_types.from_name(str(v)) for v in cast("tuple[object, ...]", default)]
    if isinstance(default, tuple):
        return [_thaw(v) for v in cast("tuple[object, ...]", default)]
    if spec.type == "Type":
        return element_types.from_name(str(default))
    return default


def _thaw(value: object) -> object:
    if isinstance(value, tuple):
        return [_thaw(v) for v in cast("tuple[object, ...]", value)]
    return value


def _verify_dtypes(op: GeOp) -> None:
    counts = operand_counts(op)
    position = 0
    for port, count in zip(op.spec.inputs, counts, strict=False):
        for type_ in op.operand_types[position : position + count]:
            _check_port(op, port, type_, "input")
        position += count
    types = list(op.result_types)
    for index, port in enumerate(op.spec.outputs):
        if port.kind == "dynamic":
            break
        if index < len(types):
            _check_port(op, port, types[index], "output")


def _check_port(op: GeOp, port: registry.Port, type_: Attribute, what: str) -> None:
    if not port.dtypes or not isinstance(type_, TensorType | UnrankedTensorType):
        return
    element: Any = cast(Any, type_).element_type
    name = element_types.to_name(element)
    if name not in port.dtypes:
        allowed = ", ".join(sorted(port.dtypes))
        raise VerifyException(
            f"{what} '{port.name}' of {op.name} has dtype {name}, allowed are {allowed}"
        )


def _lookup_mnemonic(name: str) -> type[Operation] | None:
    return lookup_op(name[3:])


def get_ge_dialect() -> Dialect:
    """The ge dialect."""
    return LazyDialect(
        "ge",
        _lookup_mnemonic,
        lambda: [f"ge.{name}" for name in registry.op_names()],
        [ControlType, DataTypeType],
    )
