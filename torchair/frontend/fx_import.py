"""FX graph -> aten module: one pass over the nodes, reading ``meta["val"]``, never recomputing
it."""

from __future__ import annotations

import contextlib
import inspect
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils._python_dispatch import _disable_current_modes
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, SSAValue

from torchair.dialects import aten
from torchair.errors import ConversionError, UnsupportedOpError
from torchair.frontend.fake_types import static_value, value_type
from torchair.frontend.torch_streams import (
    is_ordered_call,
    number_streams,
    read_ordered_call,
    torch_stream_attributes,
)
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.location import file_location, named_location, source_of
from torchair.ir.private import UNKNOWN_LOCATION, append_op, create_op, set_name
from torchair.ir.schema import REQUIRED_VALUE, Role
from torchair.ir.weights import WeightAttr, WeightHandle

CONSTANT_LIMIT = 1024
"""Graph constants of at most this many bytes are written into the IR; larger ones are handles."""

_SAME_NAMES = (
    "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift",
    "eq", "ne", "lt", "le", "gt", "ge", "neg", "abs",
)  # fmt: skip
_SYM_OPS: dict[Any, str] = {
    **{getattr(operator, n): f"sym.{n}" for n in _SAME_NAMES},
    operator.and_: "sym.and",
    operator.or_: "sym.or",
    math.floor: "sym.floor",
    math.ceil: "sym.ceil",
    math.trunc: "sym.trunc",
    round: "sym.round",
    min: "sym.min",
    max: "sym.max",
    torch.sym_min: "sym.min",
    torch.sym_max: "sym.max",
    torch.sym_not: "sym.not",
    torch.sym_float: "sym.float",
    torch.sym_int: "sym.int",
    torch.sym_ite: "sym.ite",
    torch.sym_sum: "sym.sum",
}
for _name, _target in (("_sym_sqrt", "sqrt"), ("sym_sqrt", "sqrt"), ("_sym_log2", "log2")):
    if hasattr(torch, _name):
        _SYM_OPS[getattr(torch, _name)] = f"sym.{_target}"

_ALIASES: dict[Any, Any] = {
    torch.ops.aten.true_divide.Tensor: torch.ops.aten.div.Tensor,
    torch.ops.aten.true_divide.Scalar: torch.ops.aten.div.Scalar,
}
"""Operators that appear after decomposition under a second name."""


@dataclass
class ImportedGraph:
    """Result of an import.

    Args:
        module: a module with one function, ``forward``.
        constants: tensors lifted to trailing function arguments, in order.
        names: FX name of each function argument.
    """

    module: ModuleOp
    constants: list[torch.Tensor] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


def import_graph(
    graph_module: GraphModule,
    outputs: Sequence[Node | None] | None = None,
    name: str = "forward",
    kinds: dict[str, str] | None = None,
    mutations: Sequence[tuple[Node, Node]] = (),
) -> ImportedGraph:
    """Import an AOT-functional FX graph.

    Args:
        graph_module: graph whose nodes carry ``meta["val"]``.
        outputs: nodes to return instead of all outputs of the graph (None entries are dropped).
        name: function name.
        kinds: argument kinds by placeholder name (``parameter``, ``buffer``, ``input``).
        mutations: (placeholder, value) pairs: the placeholder is overwritten with the value.

    Raises:
        UnsupportedOpError: naming every node that has no representation.
    """
    return _Importer(graph_module, kinds or {}).run(outputs, name, mutations)


class _Importer:
    def __init__(self, graph_module: GraphModule, kinds: dict[str, str]) -> None:
        self.graph_module = graph_module
        self.kinds = kinds
        self.values: dict[Node, Any] = {}
        self.problems: list[str] = []
        self.schemas: dict[str, None] = {}
        self.lifted: dict[Node, torch.Tensor] = {}
        self.graph_of_inner = torch.fx.Graph()

    def run(
        self,
        outputs: Sequence[Node | None] | None,
        name: str,
        mutations: Sequence[tuple[Node, Node]],
    ) -> ImportedGraph:
        nodes = list(self.graph_module.graph.nodes)
        placeholders = [n for n in nodes if n.op == "placeholder"]
        self._find_lifted(nodes)
        arguments = [*placeholders, *self.lifted]
        types = [value_type(_meta(n)) for n in placeholders]
        types += [value_type(t) for t in self.lifted.values()]
        attributes = [self._argument_attributes(n) for n in arguments]
        function, block = build_function(name, types, [], attributes)
        for node, argument in zip(arguments, block.args, strict=True):
            set_name(argument, node.name)
            self.values[node] = argument
        for node in nodes:
            if node.op == "call_function":
                self._call(node, block)
            elif node.op == "get_attr" and node not in self.values:
                self._attribute(node, block)
            elif node.op == "output" and outputs is None:
                outputs = _flat_outputs(node)
            elif node.op in ("call_module", "call_method"):
                self.problems.append(f"{node.op} {node.target} ({node.name})")
        self._raise_problems()
        for target, value in mutations:
            self._mutate(target, value, block)
        returned = [self.values[n] for n in outputs or () if n is not None]
        returned = [v for v in returned if isinstance(v, SSAValue)]
        append_op(block, create_op(ReturnOp, returned, [], {}))
        function.function_type = function.function_type.from_lists(
            types, [v.type for v in returned]
        )
        module = ModuleOp([function])
        if self.schemas:
            module.attributes["aten.schemas"] = ArrayAttr(
                [aten.SchemaAttr(text) for text in self.schemas]
            )
        return ImportedGraph(module, list(self.lifted.values()), [n.name for n in arguments])

    def _mutate(self, target: Node, value: Node, block: Block) -> None:
        cls = aten.lookup("aten.copy_")
        assert cls is not None
        place, source = self.values[target], self.values[value]
        values = [place, source, *[REQUIRED_VALUE] * (len(cls.schema.parameters) - 2)]
        append_op(block, cls.build_call(values, [place.type], _location(value)))

    def _find_lifted(self, nodes: list[Node]) -> None:
        """Large constants become arguments, so that their bytes are never copied."""
        for node in nodes:
            if node.op == "get_attr":
                value = _attribute_of(self.graph_module, str(node.target))
                if isinstance(value, torch.Tensor) and value.nbytes > CONSTANT_LIMIT:
                    self.lifted[node] = value

    def _argument_attributes(self, node: Node) -> DictionaryAttr:
        kind = self.kinds.get(node.name)
        if kind is None:
            kind = "constant" if node in self.lifted else _kind_of(_meta(node))
        entries: dict[str, Attribute] = {
            "torchair.name": StringAttr(node.name),
            "torchair.kind": interned.string(kind),
        }
        if kind == "size":
            entries["torchair.symbol"] = interned.string(str(_meta(node)))
        if "torchair.format" in node.meta:
            entries["torchair.format"] = interned.integer(node.meta["torchair.format"])
        if kind in ("parameter", "buffer", "constant"):
            entries["torchair.weight"] = WeightAttr(WeightHandle(str(node.target)))
        return DictionaryAttr(entries)

    def _attribute(self, node: Node, block: Block) -> None:
        value = _attribute_of(self.graph_module, str(node.target))
        if not isinstance(value, torch.Tensor):
            self.values[node] = value
            return
        cls = aten.lookup("aten.constant")
        assert cls is not None
        constant = _dense(value)
        op = cls.build_call([constant], [value_type(value)], _location(node))
        append_op(block, op)
        self.values[node] = op.results[0]

    def _call(self, node: Node, block: Block) -> None:
        target = node.target
        if isinstance(target, torch._ops.OpOverload):
            self._operator(node, _operator_of(target), block)
        elif target is torch.ops.higher_order.with_effects:
            self._call_with_effects(node, block)
        elif is_ordered_call(node):
            inner, passed = read_ordered_call(node, self.graph_module)
            self._call(inner, block)
            self.values[node] = [None, *[self.values[n] for n in passed]]
        elif target is operator.getitem:
            source = self._value(node.args[0])
            index: Any = node.args[1]
            self.values[node] = source[index] if isinstance(source, list | tuple) else None
        else:
            name = _SYM_OPS.get(target)
            cls = None if name is None else aten.lookup(name)
            if cls is None:
                self.problems.append(f"{_target_name(target)} ({node.name})")
                self.values[node] = None
                return
            self._operator(node, _Operator(cls), block)

    def _operator(self, node: Node, operator_: _Operator, block: Block) -> None:
        cls = operator_.cls
        if operator_.is_custom:
            self.schemas[cls.schema.text] = None
        meta = node.meta.get("val")
        result_types: list[Attribute] = []
        try:
            if cls.schema.results:
                _collect_types(meta, result_types)
            values = self._arguments(node, cls)
            if operator_.takes_streams:
                values = number_streams(cls.name, values)
            if operator_.reads_strides:
                _check_strides(node)
            location = named_location(f"{node.name}-{cls.name}", _location(node))
            op = cls.build_call(values, result_types, location)
        except (UnsupportedOpError, ConversionError, TypeError) as error:
            self.problems.append(f"{cls.name} ({node.name}): {error}")
            self.values[node] = None
            return
        if node.meta.get("custom"):
            op.attributes.update(torch_stream_attributes(node))
        append_op(block, op)
        if len(result_types) == 1:
            set_name(op.results[0], node.name)
        results = iter(op.results)
        self.values[node] = _structure(meta, results) if result_types else None

    def _call_with_effects(self, node: Node, block: Block) -> None:
        """``with_effects(token, op, ...)``: the operator; order is the order of the block."""
        operation: Any = node.args[1]
        inner = self.graph_of_inner.call_function(operation, node.args[2:], dict(node.kwargs))
        results = node.meta.get("val")
        inner.meta = {**node.meta, "val": _without_token(results)}
        inner.name = node.name
        self._call(inner, block)
        value = self.values.get(inner)
        values = value if isinstance(value, list) else [value]
        self.values[node] = [None, *values]

    def _arguments(self, node: Node, cls: type[aten.AtenOp]) -> list[Any]:
        parameters = cls.schema.parameters
        values: list[Any] = [REQUIRED_VALUE] * len(parameters)
        given: Sequence[Any] = node.args
        if cls.name.startswith("sym."):
            given = [a for a in given if a is not None]  # round(x, None)
        for index, argument in enumerate(given):
            values[index] = self._argument(argument, parameters[index].role)
        for name, argument in node.kwargs.items():
            index = cls.schema.positions[name]
            values[index] = self._argument(argument, parameters[index].role)
        return values

    def _argument(self, argument: Any, role: Role) -> Any:
        value = argument if type(argument) in _PLAIN else self._value(argument)
        if role is Role.LIST and value is not None and not isinstance(value, list):
            return [value]
        return value

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return self.values[argument]
        if isinstance(argument, list | tuple):
            return [item if type(item) in _PLAIN else self._value(item) for item in argument]
        return static_value(argument)

    def _raise_problems(self) -> None:
        if self.problems:
            raise UnsupportedOpError(
                f"{len(self.problems)} graph nodes cannot be represented",
                found="\n            ".join(self.problems),
                hint="rewrite these calls with PyTorch operators, or wrap them as a custom "
                "operator with torch.library",
            )


_PLAIN = frozenset((int, float, bool, str, type(None)))
"""Types of arguments that mean the same in a graph and in the IR."""


@dataclass(frozen=True, slots=True)
class _Operator:
    """What an import asks about the target of a call.

    Args:
        cls: class of its operations.
        is_custom: whether its schema must travel with the module.
        reads_strides: whether its result depends on strides of operands.
        takes_streams: whether arguments may be numbers of streams.
    """

    cls: type[aten.AtenOp]
    is_custom: bool = False
    reads_strides: bool = False
    takes_streams: bool = False


_operators: dict[int, tuple[Any, _Operator]] = {}


def _operator_of(overload: Any) -> _Operator:
    """What is known of an overload."""
    found = _operators.get(id(overload))
    if found is None:
        target = _ALIASES.get(overload, overload)
        text = str(target._schema)
        cls = aten.lookup(aten_name(target))
        if cls is None or cls.schema.text != text:
            cls = aten.define(text)
        known = _Operator(
            cls,
            is_custom=aten.lookup_custom(cls.name) is not None,
            reads_strides=cls.name.startswith("aten.as_strided"),
            takes_streams=cls.name.startswith("streams."),
        )
        found = _operators[id(overload)] = (overload, known)
    return found[1]


def aten_name(op: Any) -> str:
    """Mnemonic of an OpOverload."""
    return op.name().replace("::", ".", 1).removesuffix(".default")


def _without_token(results: Any) -> Any:
    """Results of ``with_effects`` without the token: one value, several, or none."""
    rest = list(results[1:]) if isinstance(results, list | tuple) else []
    return rest[0] if len(rest) == 1 else (tuple(rest) if rest else None)


def _check_strides(node: Node) -> None:
    """Refuse an operator that reads strides when the eager value is not stored contiguously.

    Raises:
        UnsupportedOpError: the IR has no strides, so the result would be another one.
    """
    source = node.args[0].meta.get("val") if isinstance(node.args[0], Node) else None
    if isinstance(source, torch.Tensor) and not source.is_contiguous():
        raise UnsupportedOpError(
            "as_strided of a tensor that is not contiguous", hint="call .contiguous() before it"
        )


def _structure(meta: Any, results: Any) -> Any:
    if isinstance(meta, list | tuple) and not isinstance(meta, torch.Size):
        return [_structure(item, results) for item in meta]
    value = next(results)
    return None if meta is None else value


def _collect_types(meta: Any, into: list[Attribute]) -> None:
    if isinstance(meta, list | tuple):
        for item in meta:
            _collect_types(item, into)
    else:
        into.append(value_type(meta))


def _meta(node: Node) -> Any:
    return node.meta.get("val")


def _kind_of(value: Any) -> str:
    if isinstance(value, torch.nn.Parameter):
        return "parameter"
    return "input" if isinstance(value, torch.Tensor) else "size"


def _flat_outputs(node: Node) -> list[Node | None]:
    outputs = node.args[0]
    items = outputs if isinstance(outputs, list | tuple) else (outputs,)
    return [item if isinstance(item, Node) else None for item in items]


def _attribute_of(root: torch.nn.Module, path: str) -> Any:
    value: Any = root
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _dense(value: torch.Tensor) -> Attribute:
    """The bytes of a small constant."""
    type_: Any = value_type(value)
    with _disable_current_modes():  # a compiler's fake mode would hide the bytes
        plain = value.detach().cpu().contiguous().reshape(-1)
        if value.is_complex():
            key = f"constant_{value.data_ptr():x}"
            data = plain.view(torch.uint8).numpy().tobytes()
            return WeightAttr(WeightHandle(key, len(data), lambda: data))
        numbers = plain.to(torch.int8).tolist() if value.dtype is torch.bool else plain.tolist()
    return DenseIntOrFPElementsAttr.from_list(type_, numbers)


_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_traces: dict[str, Attribute] = {}
_NOT_THE_USERS = (
    str(torch.__file__).rsplit("/", 1)[0] + "/",
    *[str(Path(__file__).parents[1] / name) + "/" for name in ("ops", "scope")],
)
"""Where the frames of PyTorch and of our own operators are."""


def _location(node: Node) -> Attribute:
    """The innermost frame of the node's stack trace that is not inside torch itself."""
    return _trace_location(node.meta.get("stack_trace"))


def _trace_location(trace: str | None) -> Attribute:
    if not trace:
        return UNKNOWN_LOCATION
    found = _traces.get(trace)
    if found is None:
        frames = _FRAME.findall(trace)
        own = [frame for frame in frames if not frame[0].startswith(_NOT_THE_USERS)]
        if frames and not own:
            return _running_line() or file_location(frames[-1][0], int(frames[-1][1]))
        found = file_location(own[-1][0], int(own[-1][1])) if own else UNKNOWN_LOCATION
        if len(_traces) > 100_000:
            _traces.clear()
        _traces[trace] = found
    return found


def _running_line() -> Attribute | None:
    """The line of the user's that is running now. A scope that a graph break cuts in two is
    compiled while that line runs, as a graph without any line of the user's."""
    frame = inspect.currentframe()
    skipped = (_NOT_THE_USERS[0], str(Path(__file__).parents[1]) + "/", contextlib.__file__, "<")
    while frame is not None and frame.f_code.co_filename.startswith(skipped):
        frame = frame.f_back
    if frame is None:
        return None
    return file_location(frame.f_code.co_filename, frame.f_lineno)


def source_line(node: Node) -> str | None:
    """The ``file:line`` a node comes from, or None."""
    return source_of(_location(node))


def source_of_trace(trace: str | None) -> str | None:
    """The user's ``file:line`` in a stack trace as text, or None."""
    return source_of(_trace_location(trace))


def _target_name(target: Any) -> str:
    return getattr(target, "__name__", None) or str(target)
