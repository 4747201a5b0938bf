"""The private fields of xDSL that ``torchair.ir.private`` uses exist and mean what it thinks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin
from xdsl.ir import Block, Operation, SSAValue

from torchair.dialects import aten
from torchair.ir import interned, private
from torchair.ir.lazy import LazyContext
from torchair.ir.text import CachedParser
from torchair.tools.context import make_context

TENSOR = interned.tensor([4], interned.f32)


def relu(value: SSAValue, block: Block | None = None) -> Operation:
    cls = aten.lookup("aten.relu")
    assert cls is not None
    op = private.create_op(cls, [value], [TENSOR], {})
    if block is not None:
        private.append_op(block, op)
    return op


def names_of(cls: type) -> set[str]:
    """Fields of a class and of its bases, declared, slotted or annotated."""
    names: set[str] = set()
    for base in cls.__mro__:
        slots: Any = base.__dict__.get("__slots__", ())
        names |= {*base.__dict__, *inspect.get_annotations(base), *slots}
    return names


@pytest.mark.parametrize("cls", private.FIELDS, ids=lambda cls: cls.__name__)
def test_fields_exist(cls: type) -> None:
    missing = set(private.FIELDS[cls]) - names_of(cls)
    assert not missing, f"{cls.__name__} of the installed xDSL lacks {missing}"


def test_context_tables_exist() -> None:
    context = Context()
    for name in ("_loaded_dialects", "_loaded_ops", "_loaded_attrs", "_loaded_types"):
        assert isinstance(getattr(context, name), dict)
    assert isinstance(context._registered_dialects, dict)


def test_created_operation_equals_one_that_xdsl_creates() -> None:
    fast_block, slow_block = Block(arg_types=[TENSOR]), Block(arg_types=[TENSOR])
    fast = relu(fast_block.args[0], fast_block)
    slow = type(fast).create(operands=[slow_block.args[0]], result_types=[TENSOR])
    slow_block.add_op(slow)
    assert fast_block.is_structurally_equivalent(slow_block)
    assert fast.location == slow.location
    defaults = {"regions", "_successors", "_successor_uses", "parent", "_prev_op", "_next_op"}
    assert set(vars(fast)) | defaults == set(vars(slow)) | defaults
    assert list(fast.regions) == list(slow.regions) == []
    assert list(fast.successors) == list(slow.successors) == []
    assert [use.operation for use in fast_block.args[0].uses] == [fast]
    assert fast.results[0].name_hint is None
    fast.verify()


def test_appended_operations_are_linked_both_ways() -> None:
    block = Block(arg_types=[TENSOR])
    ops = [relu(block.args[0], block) for _ in range(3)]
    assert list(block.ops) == list(private.iter_ops(block)) == ops
    assert block.first_op is ops[0]
    assert block.last_op is ops[2]
    assert ops[2].prev_op is ops[1]
    assert private.next_op(ops[0]) is ops[1]
    block.erase_op(ops[1])
    assert list(block.ops) == [ops[0], ops[2]]
    assert block.args[0].uses.get_length() == 2


def test_iteration_survives_erasing_the_current_operation() -> None:
    block = Block(arg_types=[TENSOR])
    ops = [relu(block.args[0], block) for _ in range(3)]
    seen: list[Operation] = []
    for op in private.iter_ops(block):
        seen.append(op)
        block.erase_op(op)
    assert seen == ops
    assert block.is_empty


def test_erased_operations_leave_no_trace() -> None:
    block = Block(arg_types=[TENSOR])
    ops = [relu(block.args[0], block) for _ in range(4)]
    user = relu(ops[1].results[0], block)
    for op in (ops[0], ops[2], user):
        private.erase_op(block, op)
        assert op.parent is None
        assert op.next_op is op.prev_op is None
    assert list(block.ops) == [ops[1], ops[3]]
    assert list(reversed(block.ops)) == list(private.iter_ops_backwards(block)) == [ops[3], ops[1]]
    assert block.args[0].uses.get_length() == 2
    assert ops[1].results[0].first_use is None
    private.erase_op(block, ops[3])
    private.erase_op(block, ops[1])
    assert block.is_empty
    assert block.last_op is block.args[0].first_use is None


def test_used_operations_are_not_erased() -> None:
    block = Block(arg_types=[TENSOR])
    producer = relu(block.args[0], block)
    relu(producer.results[0], block)
    with pytest.raises(ValueError, match=r"'aten\.relu' is erased, but its result is used"):
        private.erase_op(block, producer)
    assert block.first_op is producer


def subclasses_of(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses_of, cls.__subclasses__()))


def test_classes_of_values_are_all_that_xdsl_has() -> None:
    assert subclasses_of(SSAValue) - {SSAValue} == private.VALUE_CLASSES


def test_types_of_values() -> None:
    block = Block(arg_types=[TENSOR, interned.i64])
    assert [*private.types_of(block.args)] == [TENSOR, interned.i64]


def test_redirected_uses() -> None:
    block = Block(arg_types=[TENSOR, TENSOR])
    first, second = block.args
    cls = aten.lookup("aten.add.Tensor")
    assert cls is not None
    user = private.create_op(cls, [first, first], [TENSOR], {})
    wide = private.create_op(cls, [first, second], [TENSOR], {})
    pending: dict[Operation, list[SSAValue]] = {wide: [first, second]}
    private.redirect_uses(first, second, pending)
    assert list(user.operands) == [second, second]
    assert pending[wide] == [second, second]
    private.assign_wide(wide, pending[wide])
    assert list(wide.operands) == [second, second]
    assert first.first_use is None
    assert second.uses.get_length() == 4
    for op in (user, wide):
        op.drop_all_references()
    assert second.first_use is None


def test_redirected_uses_keep_a_name() -> None:
    block = Block(arg_types=[TENSOR, TENSOR])
    private.set_name(block.args[0], "mul_12")
    private.redirect_uses(block.args[0], block.args[1], {})
    assert block.args[1].name_hint == "mul_12"


def test_set_type() -> None:
    block = Block(arg_types=[TENSOR])
    private.set_type(block.args[0], interned.i64)
    assert block.args[0].type == interned.i64


def test_tokens_of_the_parser() -> None:
    parser = CachedParser(make_context(), "tensor<4xf32> i64")
    assert private.token_at(parser)[1:] == (0, "tensor")
    assert private.source_text(parser) == "tensor<4xf32> i64"
    private.resume_at(parser, 13)
    assert parser.parse_type() == interned.i64


@pytest.mark.parametrize("make", [make_context, LazyContext], ids=["full", "empty"])
def test_context_clone_is_independent(make: Callable[[], LazyContext]) -> None:
    context = make()
    copy = context.clone()
    assert isinstance(copy, LazyContext)
    assert set(copy.registered_dialect_names) == set(context.registered_dialect_names)
    copy.register_dialect("only_in_the_copy", lambda: Builtin)
    assert "only_in_the_copy" not in set(context.registered_dialect_names)


def test_remembered_operation() -> None:
    context = make_context()
    cls = context.get_optional_op("aten.relu")
    assert cls is aten.lookup("aten.relu")
    assert cls in set(context.loaded_ops)
    assert "aten" in private.context_dialects(context)


@pytest.mark.parametrize(
    ("element", "bits"),
    [
        ("f16", "0x7c00"),
        ("bf16", "0xff80"),
        ("f32", "0xff800000"),
        ("f32", "0x7fc00000"),
        ("f64", "0x7ff0000000000000"),
    ],
)
def test_infinities_of_dense_constants_are_read_as_they_are_printed(
    element: str, bits: str
) -> None:
    text = f'"test.op"() {{value = dense<[{bits}, 1.000000e+00]> : tensor<2x{element}>}} : () -> ()'
    context = Context(allow_unregistered=True)
    context.load_dialect(Builtin)
    assert bits in str(CachedParser(context, text).parse_module())
