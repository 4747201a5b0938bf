"""Operation classes of the torch namespaces, made lazily, and the dialects that hold them."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Data, Dialect
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from torchair.dialects.aten import sym, table
from torchair.dialects.aten.torch_schema import parse_schema
from torchair.errors import VerifyError
from torchair.ir.calls import CallOp, make_call_class
from torchair.ir.lazy import LazyDialect
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema


class AtenOp(CallOp):
    """Base of every operation of a torch namespace."""


_classes: dict[str, type[AtenOp]] = {}
_custom: dict[str, type[AtenOp]] = {}

_CONSTANT = Schema.make(
    "aten.constant",
    [Parameter("value", Role.STATIC, "tensor", REQUIRED_VALUE)],
    ["Tensor"],
    "aten::constant(tensor value) -> Tensor",
)


def lookup(name: str) -> type[AtenOp] | None:
    """Operation class of a mnemonic such as ``aten.add.Tensor``, or None."""
    found = _classes.get(name)
    if found is None:
        if name in sym.SCHEMAS:
            schema = parse_schema(sym.SCHEMAS[name])
        elif name == _CONSTANT.name:
            schema = _CONSTANT
        else:
            schema = table.find(name)
        if schema is None:
            return _custom.get(name)
        found = _classes[name] = make_call_class(AtenOp, schema)
    return found


def lookup_custom(name: str) -> type[AtenOp] | None:
    """Operation class of a custom operator defined in this process, or None."""
    return _custom.get(name)


def define(schema_text: str) -> type[AtenOp]:
    """Define (or find) the operation class of an operator from its live schema.

    An operator of the table that has another signature here (torch_npu in another version) gets
    the class of its live schema, for all modules of this process.

    Raises:
        VerifyError: the same operator was defined with another schema.
    """
    schema = parse_schema(schema_text)
    known = lookup(schema.name)
    if known is None:
        known = _custom[schema.name] = make_call_class(AtenOp, schema)
    elif schema.name not in _custom and _signature(known.schema) != _signature(schema):
        known = _custom[schema.name] = make_call_class(AtenOp, schema)
        _classes[schema.name] = known
    elif known.schema.text != schema_text and schema.name in _custom:
        raise VerifyError(
            f"'{schema.name}' is already defined with another schema",
            expected=known.schema.text,
            found=schema_text,
            hint="give the operator another overload name, or start a new process",
        )
    return known


def _signature(schema: Schema) -> object:
    """What makes schemas the same, however they are written."""
    parameters = [(p.name, p.role, p.kind, repr(p.default), p.writes) for p in schema.parameters]
    return parameters, schema.results


@irdl_attr_definition
class SchemaAttr(Data[str]):
    """``#aten.schema<"ns::op(...) -> ...">``: carries a custom operator's schema in a dump.

    Parsing it defines the operator, so that a dump reads back in a process that never saw it.
    """

    name = "aten.schema"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> str:
        with parser.in_angle_brackets():
            position = parser.pos
            text = parser.parse_str_literal()
        try:
            define(text)
        except VerifyError as error:
            parser.raise_error(error.what, position, parser.pos)
        return text

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.data)


def _dialect(namespace: str) -> Dialect:
    names = table.names(namespace) if namespace != "sym" else list(sym.SCHEMAS)
    attributes = [SchemaAttr] if namespace == "aten" else []
    if namespace == "aten":
        names = [*names, _CONSTANT.name]
    return LazyDialect(namespace, lookup, lambda: names, attributes)


def get_aten_dialects() -> dict[str, Callable[[], Dialect]]:
    """Factories of the dialects of all namespaces in the table, by name."""
    return {name: (lambda n=name: _dialect(n)) for name in (*table.NAMESPACES, "sym")}
