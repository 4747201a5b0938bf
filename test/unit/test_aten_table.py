"""The operator table: current, and each overload can be built, verified, printed and parsed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, DenseIntOrFPElementsAttr, ModuleOp
from xdsl.dialects.func import Func, ReturnOp
from xdsl.ir import Attribute, SSAValue

from torchair.dialects import aten
from torchair.dialects.aten import sym, table
from torchair.dialects.aten.torch_schema import parse_schema
from torchair.errors import VerifyError
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.conversion import build_function
from torchair.ir.private import append_op
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role
from torchair.ir.text import parse_module, print_module
from torchair.ir.verify import verify_module
from torchair.tools.context import get_dialects, make_context

ROOT = Path(__file__).resolve().parents[2]
TENSOR = interned.tensor([2, 3], interned.f32)
NAMESPACES = (*table.NAMESPACES, "sym")
STATICS: dict[str, Any] = {
    "int": 3,
    "float": 0.5,
    "bool": True,
    "number": -2,
    "str": 'a "b" \\ é',
    "dtype": interned.bf16,
    "layout": "strided",
    "device": "cpu",
    "memory_format": "contiguous_format",
    "any": "x",
    "tensor": DenseIntOrFPElementsAttr.from_list(interned.tensor([2], interned.i64), [1, 2]),
}
RESULTS: dict[str, list[Attribute]] = {
    "Tensor": [TENSOR],
    "Tensor[]": [TENSOR, TENSOR],
    "int": [interned.i64],
    "SymInt": [interned.i64],
    "float": [interned.f64],
    "bool": [interned.i1],
}


def mnemonics(namespace: str) -> list[str]:
    return list(sym.SCHEMAS) if namespace == "sym" else table.names(namespace)


def value_of(parameter: Parameter, tensor: SSAValue, scalar: SSAValue, full: bool) -> Any:
    """A legal value of a parameter: as few as possible, or something in every place."""
    if not full and parameter.default is not REQUIRED_VALUE:
        return REQUIRED_VALUE
    match parameter.role:
        case Role.REQUIRED | Role.OPTIONAL:
            return tensor
        case Role.VARIADIC:
            return [tensor, tensor]
        case Role.MASKED:
            return [None, tensor, None]
        case Role.SCALAR:
            return scalar if full else STATICS[parameter.kind]
        case Role.LIST:
            return [STATICS[parameter.kind], *([scalar] if full else [])]
        case Role.STATIC:
            return STATICS[parameter.kind]


def module_of_calls(namespace: str, full: bool) -> ModuleOp:
    """One function that calls every overload of a namespace once."""
    function, block = build_function("f", [TENSOR, interned.i64], [])
    tensor, scalar = block.args
    for name in mnemonics(namespace):
        cls = aten.lookup(name)
        assert cls is not None, name
        values = [value_of(p, tensor, scalar, full) for p in cls.schema.parameters]
        types = [t for r in cls.schema.results for t in RESULTS.get(r, [TENSOR])]
        append_op(block, cls.build_call(values, types))
    append_op(block, ReturnOp())
    return ModuleOp([function])


@pytest.mark.parametrize("namespace", NAMESPACES)
@pytest.mark.parametrize("full", [False, True], ids=["required", "full"])
def test_every_overload_round_trips(namespace: str, full: bool) -> None:
    module = module_of_calls(namespace, full)
    verify_module(module)
    text = print_module(module)
    read = parse_module(make_context(), text)
    verify_module(read)
    assert read.is_structurally_equivalent(module)
    assert print_module(read) == text


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_overload_round_trips_in_the_generic_form(namespace: str) -> None:
    from io import StringIO

    from xdsl.printer import Printer

    module = module_of_calls(namespace, True)
    buffer = StringIO()
    Printer(buffer, print_generic_format=True).print_op(module)
    read = parse_module(make_context(), buffer.getvalue())
    assert read.is_structurally_equivalent(module)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_arguments_are_what_was_built(namespace: str) -> None:
    module = module_of_calls(namespace, True)
    function = module.body.block.first_op
    assert function is not None
    tensor, scalar = function.regions[0].block.args
    for op in function.regions[0].block.ops:
        if isinstance(op, CallOp):
            built = [value_of(p, tensor, scalar, True) for p in op.schema.parameters]
            assert op.arguments() == built, op.name


def test_table_is_that_of_the_installed_torch() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate_aten_table.py"), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_tags_come_from_the_table() -> None:
    assert {"core", "pointwise"} <= table.tags("aten.add.Tensor")
    assert "view" in table.tags("aten.view")
    assert table.tags("mylib.unknown") == frozenset()


@pytest.mark.parametrize(
    ("name", "pure"),
    [
        ("aten.relu", True),
        ("aten.add_.Tensor", False),
        ("aten.add.out", False),
        ("aten.bernoulli", False),
        ("aten._assert_async", False),
    ],
)
def test_purity_follows_the_schema(name: str, pure: bool) -> None:
    cls = aten.lookup(name)
    assert cls is not None
    assert cls.schema.pure is pure


def test_a_plain_context_loads_everything_eagerly() -> None:
    context = Context()
    context.register_dialect("builtin", lambda: Builtin)
    context.register_dialect("func", lambda: Func)
    for name, factory in get_dialects().items():
        context.register_dialect(name, factory)
    assert context.get_optional_op("aten.relu") is aten.lookup("aten.relu")
    assert context.get_optional_op("ge.Relu") is not None
    assert context.get_optional_op("aten.constant") is not None


def test_custom_operators_are_found_in_this_process() -> None:
    cls = aten.define("testlib::half(Tensor x) -> Tensor")
    assert make_context().get_optional_op("testlib.half") is cls
    assert make_context().clone().get_optional_op("testlib.half") is cls
    assert make_context().get_optional_op("testlib.third") is None


def test_a_custom_operator_has_one_schema() -> None:
    aten.define("testlib::once(Tensor x) -> Tensor")
    with pytest.raises(VerifyError, match="already defined with another schema"):
        aten.define("testlib::once(Tensor x, Tensor y) -> Tensor")


@pytest.mark.parametrize(
    "text", ["", "aten::f", "aten::f(Tensor x", "aten::f(Tensor x)) -> (", "f("]
)
def test_text_that_is_no_schema(text: str) -> None:
    with pytest.raises(VerifyError, match="schema"):
        parse_schema(text)


def test_schema_details() -> None:
    schema = parse_schema(
        'ns::op.over(Tensor(a!) self, Tensor?[] i, SymInt[2] s=[1, 2], *, str m="x, (y", '
        "Scalar? v=None, ScalarType? d=None) -> (Tensor(a!), Tensor[])"
    )
    assert schema.name == "ns.op.over"
    assert schema.results == ("Tensor", "Tensor[]")
    assert [p.name for p in schema.parameters] == ["self", "i", "s", "m", "v", "d"]
    roles = [p.role for p in schema.parameters]
    assert roles[:3] == [Role.REQUIRED, Role.MASKED, Role.LIST]
    assert roles[3:] == [Role.STATIC, Role.SCALAR, Role.STATIC]
    assert schema.parameters[0].writes
    assert not schema.pure
    assert schema.parameters[2].default == [1, 2]
    assert [p.keyword_only for p in schema.parameters] == [False] * 3 + [True] * 3
