"""An aten module decoded once: a flat list of calls of torch operators and of host arithmetic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from torchair.backend_ge.host.lowering import constant_tensor
from torchair.dialects.aten.sym import FUNCTIONS
from torchair.dialects.stream import RecordOp, WaitOp, attributes, label_of
from torchair.errors import EngineError, UnsupportedOpError
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.conversion import argument_attributes
from torchair.ir.location import name_of, source_of
from torchair.ir.schema import Parameter, Role
from torchair.ir.values import decode

_ONE_VALUE = (Role.REQUIRED, Role.OPTIONAL, Role.SCALAR)
"""Roles of one value: a list there is the two parts of a complex number."""
_SCALARS = (interned.i64, interned.f64, interned.i1)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph, in the place of an argument."""

    index: int


@dataclass(slots=True)
class Call:
    """One operation.

    Args:
        name: mnemonic, e.g. ``aten.add.Tensor``.
        function: the torch operator, or the Python function of host arithmetic.
        args, kwargs: nested lists in which ``Value`` stands for what is computed at run time.
        results: value of each result.
        on_host: whether it computes a Python number from Python numbers and tensor sizes.
        sizes_from_data: whether a size of a result depends on tensor data.
        stream: physical stream; 0 is the main stream.
        origin: ``<fx node>-<aten operator>`` of the import.
        source: the user's ``file:line``.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[int]
    on_host: bool = False
    stream: int = 0
    origin: str | None = None
    source: str | None = None
    sizes_from_data: bool = False

    @property
    def is_mutable(self) -> bool:
        """Whether it writes an argument."""
        schema = getattr(self.function, "_schema", None)
        return schema is not None and schema.is_mutable

    def values(self) -> Iterator[Value]:
        """Every value it reads."""
        return values_in((self.args, self.kwargs))


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of the function that the graph uses.

    Args:
        position: its place among the arguments of the imported function.
        name: FX name.
        kind: ``parameter``, ``buffer``, ``constant``, ``input`` or ``size``.
        symbols: what each dimension is, for a tensor with symbolic sizes; the symbol of a size.
        user_name: what the user calls it, if that is known.
    """

    position: int
    name: str
    kind: str
    symbols: tuple[str, ...] = ()
    user_name: str = ""

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.user_name or self.name

    @property
    def is_weight(self) -> bool:
        """Whether its memory belongs to the model."""
        return self.kind != "input" and self.kind != "size"


@dataclass(frozen=True, slots=True)
class Mark:
    """A record or wait of a schedule; events are numbered."""

    is_wait: bool
    stream: int
    event: int


@dataclass(slots=True)
class AtenGraph:
    """A graph ready to be specialised or interpreted. Values are numbered, arguments first."""

    arguments: list[Argument]
    calls: list[Call] = field(default_factory=list[Call])
    constants: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    results: list[int] = field(default_factory=list[int])
    scalars: set[int] = field(default_factory=set[int])
    """Values that are numbers, not tensors."""
    marks: dict[int, list[Mark]] = field(default_factory=dict[int, list[Mark]])
    """Records and waits in front of a call, by the index of the call."""

    def name_arguments(self, names: Mapping[str, str]) -> None:
        """Note what the user calls the arguments, by FX name."""
        self.arguments = [replace(a, user_name=names.get(a.name, "")) for a in self.arguments]

    @property
    def is_on_one_stream(self) -> bool:
        """Whether every call is on the main stream."""
        return all(call.stream == 0 for call in self.calls)


def values_in(item: Any) -> Iterator[Value]:
    """Every ``Value`` in a nested argument."""
    if isinstance(item, Value):
        yield item
    elif isinstance(item, list | tuple):
        for part in item:
            yield from values_in(part)
    elif isinstance(item, dict):
        for part in item.values():
            yield from values_in(part)


def fill(item: Any, values: dict[int, Any]) -> Any:
    """A nested argument with each ``Value`` replaced by what it stands for."""
    if isinstance(item, Value):
        return values[item.index]
    if isinstance(item, list):
        return [fill(part, values) for part in item]
    return item


def read_graph(module: ModuleOp) -> AtenGraph:
    """Decode an aten module.

    Raises:
        UnsupportedOpError: an operator has no implementation in this process.
    """
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    return _Reader(function).graph


class _Reader:
    """Numbers values and resolves operators."""

    def __init__(self, function: FuncOp) -> None:
        self.numbers: dict[SSAValue, int] = {}
        block = function.body.block
        entries = argument_attributes(function)
        used = [(v, e) for v, e in zip(block.args, entries, strict=True) if v.first_use is not None]
        self.graph = AtenGraph([_argument(value, entry) for value, entry in used])
        self.streams = _streams_by_label(function)
        self.events: dict[SSAValue, int] = {}
        for value, _ in used:
            self._number(value)
        for op in block.ops:
            if isinstance(op, ReturnOp):
                self.graph.results = [self.numbers[operand] for operand in op.operands]
            elif isinstance(op, CallOp):
                self._read(op)
            elif isinstance(op, RecordOp | WaitOp):
                self._mark(op)
            else:
                raise EngineError(f"'{op.name}' is not an operation of an aten graph", op=op.name)

    def _number(self, value: SSAValue) -> int:
        index = self.numbers[value] = len(self.numbers)
        if value.type in _SCALARS:
            self.graph.scalars.add(index)
        return index

    def _read(self, op: CallOp) -> None:
        if op.name == "aten.constant":
            tensor = constant_tensor(op, op.arguments()[0])  # pyright: ignore
            self.graph.constants[self._number(op.results[0])] = tensor
            return
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter, value in zip(op.schema.parameters, op.arguments(), strict=True):
            value = self._torch_value(value, parameter)
            if not parameter.keyword_only:
                positional.append(value)
            elif value is not None:
                named[parameter.name] = value
        function, on_host = _function_of(op)
        results = [self._number(result) for result in op.results]
        origin, source = name_of(op.location), source_of(op.location)
        stream = _stream_of(op)
        call = Call(
            op.name, function, tuple(positional), named, results, on_host, stream, origin, source
        )
        call.sizes_from_data = not _data_symbols(op.results) <= _data_symbols(op.operands)
        self.graph.calls.append(call)

    def _mark(self, op: RecordOp | WaitOp) -> None:
        stream = self.streams.get(label_of(op), 0)
        marks = self.graph.marks.setdefault(len(self.graph.calls), [])
        if isinstance(op, RecordOp):
            self.events[op.token] = len(self.events)
            marks.append(Mark(False, stream, self.events[op.token]))
        else:
            marks.extend(Mark(True, stream, self.events[token]) for token in op.tokens)

    def _torch_value(self, value: Any, parameter: Parameter) -> Any:
        if isinstance(value, SSAValue):
            return Value(self.numbers[value])
        if isinstance(value, list):
            if parameter.role in _ONE_VALUE and len(value) == 2:
                return complex(*value)
            return [self._torch_value(item, parameter) for item in value]
        match parameter.kind:
            case "dtype" if isinstance(value, Attribute):
                return getattr(torch, element_types.to_name(value))
            case "layout" | "memory_format" if isinstance(value, str):
                return getattr(torch, value)
            case "device" if isinstance(value, str):
                return torch.device(value)
            case _:
                return value


_DATA_SYMBOL = re.compile(r"\bz?uf?\d+\b")
"""Name of a size that tensor data decides, e.g. ``u0``."""


def _data_symbols(values: Sequence[SSAValue]) -> set[str]:
    """The sizes of tensors that tensor data decides."""
    return {
        symbol
        for value in values
        for size in _sizes(value.type)
        for symbol in _DATA_SYMBOL.findall(size)
    }


def _stream_of(op: Operation) -> int:
    index = op.attributes.get(attributes.INDEX)
    return index.value.data if isinstance(index, IntegerAttr) else 0


def _streams_by_label(function: FuncOp) -> dict[str, int]:
    """The physical stream of each label."""
    return {label_of(op): _stream_of(op) for op in function.body.block.ops if _stream_of(op)}


def _argument(value: SSAValue, entry: dict[str, Attribute]) -> Argument:
    index = entry.get("torchair.index")
    position = index.value.data if isinstance(index, IntegerAttr) else value.index  # pyright: ignore
    name, kind = (decode(entry[f"torchair.{key}"]) for key in ("name", "kind"))
    symbol = entry.get("torchair.symbol")
    if isinstance(symbol, StringAttr):
        return Argument(position, name, kind, (symbol.data,))
    return Argument(position, name, kind, _sizes(value.type))


def _sizes(type_: Attribute) -> tuple[str, ...]:
    """What each dimension is, for a tensor type with symbolic sizes."""
    encoding: Any = getattr(type_, "encoding", None)
    return tuple(size.data for size in encoding) if isinstance(encoding, ArrayAttr) else ()


def _function_of(op: CallOp) -> tuple[Callable[..., Any], bool]:
    host = HOST_FUNCTIONS.get(op.name)
    if host is not None:
        return host, True
    namespace, name, *overload = op.name.split(".")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    found = getattr(packet, overload[0] if overload else "default", None)
    if found is None:
        raise UnsupportedOpError(
            f"the operator {op.name} has no implementation in this process",
            op=name_of(op.location) or op.name,
            loc=source_of(op.location),
            hint="import the package that defines it, or give it a CPU kernel with torch.library",
        )
    return found, False


def _size(tensor: torch.Tensor, dim: int) -> int:
    return tensor.shape[dim]


HOST_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "aten.sym_size.int": _size,
    "aten.sym_stride.int": lambda tensor, dim: tensor.stride(dim),
    "aten.sym_numel": lambda tensor: tensor.numel(),
    "aten.sym_storage_offset": lambda tensor: tensor.storage_offset(),
}
"""What the host computes itself, while a graph is specialised or interpreted."""
