"""The conversion driver: rebuilds each function in the ge dialect and reports all failures at
once."""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import (
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    NoneType,
    StringAttr,
    TensorType,
    UnrankedTensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge.builder import GraphBuilder
from torchair.dialects.stream import RecordOp, WaitOp
from torchair.dialects.stream.attributes import SYNC, ge_attributes
from torchair.errors import ConversionError, TorchairError, VerifyError
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.conversion import argument_attributes, build_function
from torchair.ir.interned import element_type
from torchair.ir.location import describe
from torchair.ir.private import (
    VALUE_CLASSES,
    append_op,
    iter_ops,
    next_op,
    set_type,
)
from torchair.ir.verify import verify_op
from torchair.passes.convert_aten_to_ge import registry
from torchair.passes.convert_aten_to_ge.report import Failures
from torchair.passes.convert_aten_to_ge.stream_order import StreamOrder

_SCALARS = (interned.i64, interned.f64, interned.i1)


@dataclass(frozen=True)
class ConvertAtenToGePass(ModulePass):
    """Rebuilds every function of aten operations as a GE graph.

        %2 = aten.add.Tensor(%0, %1)      ->   %2 = ge.Add(%0, %1)
        func.return %2                         ge.NetOutput([%2])

    Scalars (SymInt) become 0-d tensors. Arguments without users are dropped; each remaining
    argument
    keeps its position in the aten function as ``torchair.index``.
    Numeric class: exact. Shown by: test/lit/passes/convert-aten-to-ge.mlir
    """

    name = "convert-aten-to-ge"
    numeric_class: ClassVar[str] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        failures = Failures()
        for function in list(op.ops):
            if isinstance(function, FuncOp) and not function.is_declaration:
                converted = _Conversion(function, failures).run()
                Rewriter.replace_op(function, converted, [])
        failures.raise_if_any()
        op.attributes.pop(SYNC, None)  # a GE graph always orders uses after their producers


class _Conversion:
    """Conversion of one function."""

    def __init__(self, function: FuncOp, failures: Failures) -> None:
        self.function = function
        self.failures = failures
        source = function.body.block
        kept = [i for i, a in enumerate(source.args) if a.first_use is not None]
        entries = argument_attributes(function)
        self.target, self.block = build_function(
            function.sym_name.data,
            [_tensor_form(source.args[i].type) for i in kept],
            [],
            [_data_attributes(entries[i], i, source.args[i].type) for i in kept],
        )
        self.kept = kept
        self.builder = GraphBuilder(self.block)
        self.order = StreamOrder(self.block)

    def run(self) -> FuncOp:
        source = self.function.body.block
        arguments = iter(self.block.args)
        values: dict[SSAValue, Any] = {source.args[i]: next(arguments) for i in self.kept}
        for i in self.kept:
            values[source.args[i]].name_hint = source.args[i].name_hint
        self.builder.written = {values[v] for v in _written_arguments(source) if v in values}
        with ge.building(self.builder):
            for op in iter_ops(source):
                self._convert(op, values)
        return self.target

    def _convert(self, op: Operation, values: dict[SSAValue, Any]) -> None:
        self.builder.location = op.location
        if isinstance(op, RecordOp | WaitOp):
            self.order.note(op)
            return
        if isinstance(op, ReturnOp):
            self._finish(op, values)
            return
        self.builder.attributes = ge_attributes(op)
        if not isinstance(op, CallOp):
            self._fail(op, values, ConversionError(f"'{op.name}' is not an aten operation"))
            return
        converter = registry.find(op.name)
        if converter is None:
            self.failures.add_unsupported(op)
            self._poison(op, values)
            return
        arguments = [_map(v, values) for v in op.arguments()]
        types = [_tensor_form(r.type) for r in op.results]
        last = self.block.last_op
        try:
            results = converter(op.schema, arguments, types)
            self._bind(op, results, types, values)
            self._check_new(last)
            self.order.converted(op, last)
        except VerifyError as error:
            self._fail(op, values, _refused(error))
        except TorchairError as error:
            self._fail(op, values, error)
        except (TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
            self._fail(op, values, _unexpected(op, error))

    def _check_new(self, last: Operation | None) -> None:
        """Check what a converter appended: GE's lists of dtypes are a law.

        Raises:
            VerifyError: an operation is malformed.
        """
        op = self.block.first_op if last is None else next_op(last)
        while op is not None:
            if isinstance(op, CallOp):
                verify_op(op)
            op = next_op(op)

    def _bind(
        self, op: CallOp, results: Any, types: Sequence[Attribute], values: dict[SSAValue, Any]
    ) -> None:
        """Map the aten results to what the converter returned, refining unknown shapes."""
        flat = _flatten(results)
        if len(flat) < len(types):
            raise ConversionError(
                f"the converter of {op.name} returned {len(flat)} values for {len(types)} results"
            )
        for old, new, type_ in zip(op.results, flat, types, strict=False):
            if new.__class__ in (int, float, bool):
                new = self.builder.constant(new, element_type(type_))
            if new is None or isinstance(type_, NoneType):
                values[old] = new
                continue
            if element_type(new.type) != element_type(type_):
                raise ConversionError(
                    f"the converter of {op.name} returned another dtype than the operator",
                    expected=element_type(type_),
                    found=element_type(new.type),
                    hint="add ge.cast_to(value, dtype) to the converter",
                )
            if isinstance(new.type, UnrankedTensorType):
                set_type(new, type_)
            if new.name_hint is None:
                new.name_hint = old.name_hint
            values[old] = new

    def _fail(self, op: Operation, values: dict[SSAValue, Any], error: TorchairError) -> None:
        self.failures.add_error(op, error)
        self._poison(op, values)

    def _poison(self, op: Operation, values: dict[SSAValue, Any]) -> None:
        """Stand-ins for the results of a failed operation, so that the rest is checked as well."""
        for result in op.results:
            type_ = _tensor_form(result.type)
            if isinstance(type_, NoneType):
                values[result] = None
            else:
                values[result] = self.builder.append("Data", [None, 0], [type_])[0]

    def _finish(self, op: ReturnOp, values: dict[SSAValue, Any]) -> None:
        returned = [values[v] for v in op.operands]
        if any(v is None for v in returned):
            label, source = describe(op)
            raise ConversionError(
                "an undefined tensor is returned from the graph", op=label, loc=source
            )
        cls = ge.op_class("NetOutput")
        end = cls.build_call([returned], [], op.location)
        append_op(self.block, end)
        self.order.finish(end)
        inputs = [a.type for a in self.block.args]
        types = [v.type for v in returned]
        self.target.function_type = self.target.function_type.from_lists(inputs, types)


def _refused(error: VerifyError) -> ConversionError:
    """GE does not take what a converter made of this call, mostly because of a dtype."""
    what = error.what.partition(" is malformed: ")[2] or error.what
    found = ConversionError(
        what,
        hint="cast the operands (x.to(torch.float32) or x.to(torch.int32)) before this call",
    )
    found.__cause__ = error
    return found


def _unexpected(op: CallOp, error: Exception) -> ConversionError:
    """A converter that raised something else met a call it was not written for."""
    found = ConversionError(
        f"the converter of {op.name} cannot take this call ({type(error).__name__}: {error})",
        hint="make its numbers static (torch._dynamo.mark_static, dynamic=False), or report the "
        "call above",
    )
    found.__cause__ = error
    return found


def _written_arguments(block: Block) -> set[SSAValue]:
    """Arguments that some operation of the block writes in place."""
    written: set[SSAValue] = set()
    for op in iter_ops(block):
        if isinstance(op, CallOp) and not op.schema.pure:
            arguments = zip(op.schema.parameters, op.arguments(), strict=True)
            held = [value for parameter, value in arguments if parameter.writes]
            written.update(v for v in held if isinstance(v, SSAValue) and v.owner is block)
    return written


def _tensor_form(type_: Attribute) -> Attribute:
    """Scalars travel as 0-d tensors in GE."""
    if isinstance(type_, TensorType) or type_ not in _SCALARS:
        return type_  # pyright: ignore[reportUnknownVariableType]
    return interned.tensor([], type_)


def _data_attributes(entry: dict[str, Attribute], index: int, type_: Attribute) -> DictionaryAttr:
    kept = {k: v for k, v in entry.items() if k != "torchair.symbol"}
    kept["torchair.index"] = entry.get("torchair.index", IntegerAttr(index, interned.i64))
    if type_ in _SCALARS:
        kept["torchair.placement"] = StringAttr("CPU")
    return DictionaryAttr(kept)


def _map(value: Any, values: dict[SSAValue, Any]) -> Any:
    if value.__class__ in VALUE_CLASSES:
        return values[value]
    if isinstance(value, list):
        return [_map(item, values) for item in cast("list[Any]", value)]
    return value


def _flatten(results: Any) -> list[Any]:
    if results.__class__ in VALUE_CLASSES:
        return [results]
    if isinstance(results, list | tuple):
        return [leaf for item in cast("list[Any]", results) for leaf in _flatten(item)]
    return [results]
