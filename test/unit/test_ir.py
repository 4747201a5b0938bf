"""IR foundations: interning, values, verifier, sweep, text, locations."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import (
    ArrayAttr,
    FloatAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, SSAValue
from xdsl.parser import Parser

from torchair.dialects import aten
from torchair.errors import ArtifactError, VerifyError
from torchair.ir import interned, location
from torchair.ir.calls import CallOp
from torchair.ir.conversion import build_function
from torchair.ir.garbage import quiet_gc
from torchair.ir.graph_pattern import call as call_of
from torchair.ir.graph_pattern import one_of, rewrites, value
from torchair.ir.private import UNKNOWN_LOCATION, append_op, iter_ops
from torchair.ir.rewrite import MAX_FIRINGS, Pattern, Rewriter, defining_op, pattern, sweep
from torchair.ir.text import parse_module, print_module
from torchair.ir.values import decode, encode_list, encode_scalar
from torchair.ir.verify import verify_module
from torchair.passes.dce import DcePass
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

TENSOR = interned.tensor([4], interned.f32)

MODULE = """
!a = tensor<?x4xf32, ["s0", "4"]>
!b = tensor<?xf32, ["4*s0"]>
func.func @f(%x: !a, %s: i64) -> !b {
  %0 = aten.relu(%x) : (!a) -> !a loc("a"("m.py":3:0))
  %1 = aten.add.Tensor(%0, 2, alpha = -0.5) : (!a) -> !a
  %2 = aten.view(%1, size = [%s]) : (!a, i64) -> !b
  %3 = aten.index.Tensor(%2, indices = [none]) : (!b) -> !b
  func.return %3 : !b
}
"""


def call(name: str, values: list[Any], *types: Any) -> CallOp:
    cls = aten.lookup(name)
    assert cls is not None, name
    return cls.build_call(values, types or [TENSOR])


def module_of(*names: str) -> tuple[ModuleOp, Block]:
    """A function that applies unary operators one after the other and returns the last value."""
    function, block = build_function("f", [TENSOR], [TENSOR])
    value: SSAValue = block.args[0]
    for name in names:
        op = call(name, [value])
        append_op(block, op)
        value = op.results[0]
    append_op(block, ReturnOp(value))
    return ModuleOp([function]), block


# ---------------------------------------------------------------- interning


def test_equal_types_are_one_object() -> None:
    a = interned.tensor([2, interned.DYNAMIC], interned.f16, ["2", "s0"])
    assert a is interned.tensor((2, interned.DYNAMIC), interned.f16, ("2", "s0"))
    assert a is not interned.tensor([2, interned.DYNAMIC], interned.f16)
    assert a is not interned.tensor([2, interned.DYNAMIC], interned.f16, ["2", "s1"])
    assert interned.unranked(interned.f16) is interned.unranked(interned.f16)


def test_a_parsed_type_is_the_interned_one() -> None:
    text = 'func.func private @f(tensor<2x?xf16, ["2", "s0"]>) -> ()'
    function = parse_module(make_context(), text).body.block.first_op
    assert isinstance(function, FuncOp)
    built = interned.tensor([2, interned.DYNAMIC], interned.f16, ["2", "s0"])
    assert next(iter(function.function_type.inputs)) is built


def test_equal_attributes_are_one_object() -> None:
    assert interned.integer(7) is interned.integer(7)
    assert interned.integer(7) == IntegerAttr(7, interned.i64)
    assert interned.string("a") is interned.string("a")
    assert interned.int_list([1, 2]) is interned.int_list((1, 2))
    assert interned.floating(0.5) is interned.floating(0.5)
    assert interned.floating(0.5) == FloatAttr(0.5, interned.f64)
    assert interned.segments([1, 2]) is not interned.int_list([1, 2])


def test_floats_are_told_apart_by_their_bits() -> None:
    assert interned.floating(0.0) is not interned.floating(-0.0)
    assert math.copysign(1, interned.floating(-0.0).value.data) == -1
    assert interned.floating(math.nan) is interned.floating(math.nan)
    assert interned.floating(0.1, single=True).value.data == interned.round_to_single(0.1) != 0.1
    assert interned.round_to_single(1e39) == math.inf
    assert interned.round_to_single(-1e39) == -math.inf


def test_canonical_of_a_foreign_attribute() -> None:
    foreign = TensorType(interned.f32, [9, 9, 9])
    assert interned.canonical(foreign) is interned.canonical(TensorType(interned.f32, [9, 9, 9]))


# ---------------------------------------------------------------- static values

scalars = (
    st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text()
    | st.none()
)


@given(scalars)
def test_scalars_survive_encoding(value: object) -> None:
    decoded = decode(encode_scalar(value))
    assert decoded == value
    assert type(decoded) is type(value)


@given(
    st.lists(st.integers(-(2**63) + 1, 2**63 - 1)) | st.lists(st.lists(st.floats(allow_nan=False)))
)
def test_lists_survive_encoding(value: list[Any]) -> None:
    assert decode(encode_list(value)) == value


def test_a_value_without_attribute_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="has no attribute form"):
        encode_scalar(object())


# ---------------------------------------------------------------- verifier


def test_a_well_formed_module_passes() -> None:
    verify_module(module_of("aten.relu", "aten.neg")[0])
    verify_module(parse_module(make_context(), MODULE))


def test_use_before_definition_is_found() -> None:
    module, block = module_of("aten.relu", "aten.neg")
    first, second, _ = iter_ops(block)
    block.detach_op(first)
    block.insert_op_after(first, second)
    with pytest.raises(VerifyError, match=r"result of aten\.relu\) is used before its definition"):
        verify_module(module)


def test_use_of_a_value_of_another_function_is_found() -> None:
    module, block = module_of("aten.relu")
    _, other = module_of("aten.neg")
    neg = other.first_op
    assert neg is not None
    neg.operands[0] = block.args[0]
    with pytest.raises(VerifyError, match="argument of a block that does not enclose"):
        verify_module(ModuleOp([_function_of(other)]))
    verify_module(module)


def _function_of(block: Block) -> FuncOp:
    function = block.parent_op()
    assert isinstance(function, FuncOp)
    function.detach()
    return function


def test_a_change_is_seen_in_spite_of_the_memo() -> None:
    module, block = module_of("aten.relu")
    verify_module(module)
    relu = block.first_op
    assert isinstance(relu, CallOp)
    relu.properties["nonsense"] = interned.integer(1)
    with pytest.raises(VerifyError, match="unknown argument 'nonsense'"):
        verify_module(module)


def test_returned_types_are_those_of_the_signature() -> None:
    module, block = module_of("aten.relu")
    function = block.parent_op()
    assert isinstance(function, FuncOp)
    function.function_type = function.function_type.from_lists([TENSOR], [interned.i64])
    with pytest.raises(
        VerifyError, match=r"returned types differ|same types as the function output"
    ):
        verify_module(module)


def test_the_message_names_the_source_line() -> None:
    module, block = module_of("aten.relu")
    relu = block.first_op
    assert relu is not None
    relu.location = location.named_location("r-aten.relu", location.file_location("m.py", 9))
    relu.properties["nonsense"] = interned.integer(1)
    with pytest.raises(VerifyError) as caught:
        verify_module(module)
    assert caught.value.loc == "m.py:9"
    assert caught.value.op == "aten.relu (from r-aten.relu)"
    assert str(caught.value).splitlines()[-1].startswith("Try: ")


def test_the_driver_names_the_pass_that_broke_the_module() -> None:
    module, block = module_of("aten.relu")
    relu = block.first_op
    assert relu is not None
    relu.properties["nonsense"] = interned.integer(1)
    with pytest.raises(VerifyError, match="pass 'dce' left the module malformed"):
        run_passes(make_context(), module, [DcePass()])


def test_the_driver_reports_each_pass() -> None:
    import gc

    seen: list[str] = []
    with quiet_gc():
        assert not gc.isenabled()
        times = run_passes(
            make_context(),
            module_of("aten.relu")[0],
            [DcePass(), DcePass()],
            observer=lambda name, module: seen.append(name),
        )
    assert gc.isenabled()
    assert seen == [item.name for item in times] == ["dce", "dce"]


# ---------------------------------------------------------------- sweep


def names_in(block: Block) -> list[str]:
    return [op.name for op in iter_ops(block)][:-1]


def rename(source: str, target: str) -> Any:
    @pattern(source)
    def change(op: CallOp, rewriter: Rewriter) -> None:
        cls = aten.lookup(target)
        assert cls is not None
        rewriter.replace(op, [rewriter.create(cls, [op.operands[0]], [TENSOR], op).results[0]])

    return change


def test_sweep_rewrites_to_a_fixpoint() -> None:
    module, block = module_of("aten.sin", "aten.relu", "aten.cos")
    assert sweep(module, [rename("aten.exp", "aten.neg"), rename("aten.sin", "aten.exp")])
    assert names_in(block) == ["aten.neg", "aten.relu", "aten.cos"]
    verify_module(module)


def test_sweep_goes_on_when_the_next_operation_is_erased() -> None:
    @pattern("aten.sin")
    def drop_user(op: CallOp, rewriter: Rewriter) -> None:
        user = next(use.operation for use in op.results[0].uses)
        if user.name == "aten.relu":
            rewriter.replace(user, [op.results[0]])

    module, block = module_of("aten.sin", "aten.relu", "aten.neg", "aten.sin", "aten.relu")
    sweep(module, [drop_user])
    assert names_in(block) == ["aten.sin", "aten.neg", "aten.sin"]


def test_sweep_tries_what_requires_an_operation_once_that_is_there() -> None:
    tried: list[str] = []

    def cancel(op: CallOp, rewriter: Rewriter) -> None:
        tried.append(op.name)

    waits = Pattern(("aten.neg",), cancel, frozenset((frozenset(("aten.exp", "aten.exp2")),)))
    module, _ = module_of("aten.cos", "aten.sin", "aten.neg")
    assert not sweep(module, [waits])
    assert tried == []
    assert sweep(module, [waits, rename("aten.sin", "aten.exp")])
    assert tried == ["aten.neg"]


def test_graph_patterns_say_what_they_require() -> None:
    x = value("x")
    curve = one_of(call_of("aten.exp", x), call_of("aten.exp2", call_of("aten.exp", x)))
    joined = call_of("aten.cat", [curve])
    rewrite = rewrites(call_of(("aten.add.Tensor", "aten.mul.Tensor"), joined, 2.0))
    found = rewrite(lambda match, rewriter: None)
    assert found.roots == ("aten.add.Tensor", "aten.mul.Tensor")
    assert found.requires == {
        frozenset(found.roots),
        frozenset(("aten.cat",)),
        frozenset(("aten.exp",)),
        frozenset(("aten.exp", "aten.exp2")),
    }


def test_sweep_says_when_nothing_changed() -> None:
    module, _ = module_of("aten.sin")
    assert not sweep(module, [rename("aten.exp", "aten.neg")])


def test_sweep_stops_patterns_that_loop() -> None:
    module, block = module_of("aten.sin")

    @pattern("aten.sin")
    def touch(op: CallOp, rewriter: Rewriter) -> None:
        rewriter.modified(op)

    with pytest.raises(VerifyError, match=f"do not come to rest on 'aten.sin' after {MAX_FIRINGS}"):
        sweep(module, [touch])
    assert names_in(block) == ["aten.sin"]


def test_sweep_stops_patterns_that_undo_each_other() -> None:
    module, _ = module_of("aten.sin", "aten.relu")
    with pytest.raises(VerifyError, match="do not come to rest"):
        sweep(module, [rename("aten.sin", "aten.cos"), rename("aten.cos", "aten.sin")])


def test_sweep_passes_locations_on() -> None:
    module, block = module_of("aten.sin")
    sin = block.first_op
    assert sin is not None
    sin.location = location.named_location("s", location.file_location("m.py", 5))
    sweep(module, [rename("aten.sin", "aten.cos")])
    assert block.first_op is not None
    assert location.source_of(block.first_op.location) == "m.py:5"


def test_sweep_visits_an_operation_whose_input_changed() -> None:
    @pattern("aten.neg")
    def cancel(op: CallOp, rewriter: Rewriter) -> None:
        inner = defining_op(op.operands[0], "aten.neg")
        if inner is not None:
            rewriter.replace(op, [inner.operands[0]])

    module, block = module_of("aten.neg", "aten.exp", "aten.neg")
    drop = pattern("aten.exp")(lambda op, rewriter: rewriter.replace(op, [op.operands[0]]))
    sweep(module, [cancel, drop])
    terminator = block.last_op
    assert terminator is not None
    assert terminator.operands[0] is block.args[0]


# ---------------------------------------------------------------- text


def test_text_round_trips_with_locations() -> None:
    module = parse_module(make_context(), MODULE)
    text = print_module(module)
    again = parse_module(make_context(), text)
    assert again.is_structurally_equivalent(module)
    assert print_module(again) == text
    assert text.count('loc("a"("m.py":3:0))') == 1


def test_cached_text_is_the_text_of_xdsl() -> None:
    from io import StringIO

    from xdsl.printer import Printer

    module = parse_module(make_context(), MODULE)
    buffer = StringIO()
    Printer(buffer).print_op(module)
    assert print_module(module, locations=False) == buffer.getvalue() + "\n"
    plain = Parser(make_context(), MODULE).parse_module()
    assert plain.is_structurally_equivalent(module)


@pytest.mark.parametrize(
    "text",
    [
        "tensor<4xf32>",
        "tensor<*xf32>",
        "tensor<f32>",
        'tensor<?x2xf32, ["a>b", "<"]>',
        'tensor<1xf32, ["\\22>"]>',
        "tensor<2xf32, affine_map<(d0) -> (d0)>>",
        "tensor<2xcomplex<f32>>",
    ],
)
def test_the_type_cache_finds_the_end_of_a_type(text: str) -> None:
    """The same type twice, then the same text in front of something else."""
    module = f"""
"builtin.module"() ({{
  %0 = "test.op"() : () -> {text}
  %1 = "test.op"(%0, %0) : ({text}, {text}) -> tuple<{text}, i64>
}}) : () -> ()
"""
    context = make_context()
    context.allow_unregistered = True
    cached = parse_module(context, module)
    plain = Parser(context, module).parse_module()
    assert cached.is_structurally_equivalent(plain)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_of_any_text_round_trip(value: str) -> None:
    module, block = module_of("aten.relu")
    op = block.first_op
    assert op is not None
    op.attributes["note"] = ArrayAttr([StringAttr(value)])
    op.location = location.named_location(value, location.file_location(f"{value}.py", 1))
    read = parse_module(make_context(), print_module(module))
    assert read.is_structurally_equivalent(module)
    function = read.body.block.first_op
    assert function is not None
    again = function.regions[0].block.first_op
    assert again is not None
    assert again.location == op.location


@pytest.mark.parametrize("seed", range(4))
def test_damaged_text_is_an_artifact_error(seed: int) -> None:
    """Cut, doubled, exchanged and inserted pieces: an error that says where, or a module."""
    draw = random.Random(seed)
    text = print_module(parse_module(make_context(), MODULE))
    pieces = [
        *'%@!#^"<>()[]{},:=-',
        "tensor<",
        "aten.",
        "loc(",
        "dense<",
        "4x",
        "\0",
        "é",
        "9" * 30,
    ]
    errors = 0
    for _ in range(250):
        damaged = text
        for _ in range(draw.randint(1, 3)):
            start, stop = sorted(draw.sample(range(len(damaged)), 2))
            stop = min(stop, start + 12)
            piece = draw.choice(["", draw.choice(pieces), damaged[start:stop] * 2])
            damaged = damaged[:start] + piece + damaged[stop:]
        try:
            parse_module(make_context(), damaged)
        except ArtifactError as error:
            errors += 1
            assert "is not a module" in error.what
    assert errors > 200


def test_deeply_nested_text_is_an_artifact_error() -> None:
    for text in ('"builtin.module"() ({' * 5000, "func.func @f() { aten.cat(" + "[" * 20000):
        with pytest.raises(ArtifactError):
            parse_module(make_context(), text)


# ---------------------------------------------------------------- locations


def test_locations_survive_one_line_of_text() -> None:
    named = location.named_location("add_1-aten.add.Tensor", location.file_location("a/b.py", 12))
    for item in (
        named,
        location.file_location("C:/x.py", 1),
        location.named_location("n|with:marks"),
        UNKNOWN_LOCATION,
    ):
        assert location.deserialize(location.serialize(item)) == item
    assert location.source_of(named) == "a/b.py:12"
    assert location.name_of(named) == "add_1-aten.add.Tensor"
    assert not location.is_known(UNKNOWN_LOCATION)
    assert location.is_known(named)


@given(st.text())
def test_any_text_reads_as_a_location(text: str) -> None:
    location.is_known(location.deserialize(text))
