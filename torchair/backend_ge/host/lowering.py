"""GE graph -> flat ATen program for one set of input shapes; and the interpreter that needs
none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, SSAValue

from torchair.backend_ge.host.kernels.registry import Kernel, kernels
from torchair.backend_ge.host.narrow_types import host_dtype
from torchair.backend_ge.host.program import Program
from torchair.backend_ge.host.stream_plan import order_calls
from torchair.backend_ge.host.trace import Trace
from torchair.backend_ge.host.tracing import (
    KNOWN_LIMIT,
    DataDependentError,
    Tracer,
    active,
    real_execution,
)
from torchair.dialects.ge.dialect import GeOp
from torchair.dialects.stream import MAIN, label_of
from torchair.errors import EngineError, TorchairError
from torchair.ir import element_types
from torchair.ir.location import name_of, source_of
from torchair.ir.values import decode
from torchair.ir.weights import WeightAttr

Scalar = int | float | bool
STREAMS = 4
"""Most streams that a graph runs on."""


@dataclass(slots=True)
class Node:
    """One GE node, decoded once per graph.

    Args:
        op: the operation.
        kernel: its kernel; None for ``Const``.
        inputs: per registry input, a value, a list of values or None.
        attributes: all attributes, defaults filled in, element types as torch dtypes.
        defaults: default of each attribute.
        constant: value of a ``Const``.
    """

    op: GeOp
    kernel: Kernel | None
    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    defaults: dict[str, Any] = field(default_factory=dict[str, Any])
    constant: torch.Tensor | None = None

    def describe(self) -> tuple[str, str | None]:
        """Node name with the ATen operator it came from, and the user's source line."""
        name = node_name(self.op)
        origin = name_of(self.op.location)
        label = name if origin is None else f"{name} ({self.op.name}, from {origin})"
        return label, source_of(self.op.location)


@dataclass
class HostGraph:
    """A GE graph ready to be specialised.

    Args:
        arguments: the graph's inputs.
        nodes: in execution order.
        results: operands of NetOutput.
    """

    arguments: list[SSAValue]
    nodes: list[Node]
    results: list[SSAValue]


def node_name(op: GeOp) -> str:
    """Name of a node in the emitted graph when known, else its GE type."""
    found = op.attributes.get("ge.node_name")
    return str(decode(found)) if found is not None else op.name[3:]


def read_graph(module: ModuleOp) -> HostGraph:
    """Decode a ge module.

    Raises:
        EngineError: naming every operator without a host kernel.
    """
    function = next(op for op in module.ops if isinstance(op, FuncOp))
    block = function.body.block
    nodes: list[Node] = []
    results: list[SSAValue] = []
    missing: dict[str, str | None] = {}
    for op in block.ops:
        if not isinstance(op, GeOp):
            raise EngineError(f"'{op.name}' is not a GE operation", op=op.name)
        if op.name == "ge.NetOutput":
            results = list(op.arguments()[0])
            continue
        node = _read_node(op)
        if node.kernel is None and node.constant is None:
            missing.setdefault(op.name, source_of(op.location))
        nodes.append(node)
    if missing:
        listed = ", ".join(f"{n} ({s or 'unknown source'})" for n, s in missing.items())
        raise EngineError(
            f"{len(missing)} operators have no host kernel: {listed}",
            hint="run on an NPU (config.engine = 'cann'), or register kernels for them",
        )
    return HostGraph(list(block.args), nodes, results)


def _read_node(op: GeOp) -> Node:
    values = op.arguments()
    count = len(op.spec.inputs)
    if op.name in ("ge.Const", "ge.Constant"):
        return Node(op, None, [], constant=constant_tensor(op, values[0]))
    attributes: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for spec, parameter, value in zip(
        op.spec.attrs.values(), op.schema.parameters[count:], values[count:], strict=True
    ):
        attributes[spec.name] = _plain(value)
        defaults[spec.name] = _plain(parameter.default)
    return Node(op, kernels().get(op.name[3:]), values[:count], attributes, defaults)


def _plain(value: Any) -> Any:
    """Element types become torch dtypes; everything else is plain already."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, Attribute) and not isinstance(
        value, DenseIntOrFPElementsAttr | WeightAttr
    ):
        return host_dtype(element_types.to_name(value))
    return value


def constant_tensor(op: GeOp, value: Any) -> torch.Tensor:
    """The tensor of a ``Const``; a weight handle is read once."""
    type_: Any = op.results[0].type
    dtype = getattr(torch, element_types.to_name(type_.element_type))
    shape = type_.get_shape()
    with real_execution():
        if isinstance(value, WeightAttr):
            if value.data.read is None:
                label = value.data.key
                raise EngineError(
                    f"the bytes of weight '{label}' are not available",
                    hint="dump the graph with its weights, or pass them as inputs",
                )
            raw = torch.frombuffer(bytearray(value.data.read()), dtype=torch.uint8)
            return raw.view(dtype).reshape(shape)
        values = list(value.get_values())
        if dtype.is_complex:
            values = [complex(*pair) for pair in values]
        if len(values) == 1:
            return torch.full(shape, values[0], dtype=dtype)
        return torch.tensor(values, dtype=dtype).reshape(shape)


def specialise(
    graph: HostGraph, inputs: Sequence[torch.Tensor | Scalar]
) -> tuple[Program, list[int]]:
    """Flatten a graph into a program for the shapes of these inputs.

    Returns:
        The program and the positions of the tensor inputs it takes.

    Raises:
        DataDependentError: some shape depends on tensor data.
        EngineError: a kernel refused its inputs.
    """
    trace, positions = trace_graph(graph, inputs)
    with real_execution():
        return Program(trace), positions


def trace_graph(
    graph: HostGraph, inputs: Sequence[torch.Tensor | Scalar]
) -> tuple[Trace, list[int]]:
    """The calls of a graph for the shapes of these inputs, streams and events included.

    Returns:
        The trace and the positions of the tensor inputs it takes.

    Raises:
        DataDependentError: some shape depends on tensor data.
        EngineError: a kernel refused its inputs.
    """
    tracer = Tracer()
    values: dict[SSAValue, Any] = {}
    positions: list[int] = []
    for index, (argument, given) in enumerate(zip(graph.arguments, inputs, strict=True)):
        if isinstance(given, torch.Tensor):
            values[argument] = tracer.add_input(given)
            positions.append(index)
        else:
            values[argument] = scalar_tensor(given)
    given = [values[argument] for argument in graph.arguments]
    writes = Writes(graph)
    for index, (node, stream) in enumerate(zip(graph.nodes, node_streams(graph), strict=True)):
        tracer.origin, tracer.stream = index, stream
        _trace_node(node, values, tracer)
        writes.after(node, values)
    tracer.stream = 0
    outputs = _finish(graph, values, tracer, given, writes)
    trace = tracer.trace(outputs)
    if any(call.stream for call in trace.calls):
        order_calls(trace.calls, tracer.storages().get)
    return trace, positions


def node_streams(graph: HostGraph) -> list[int]:
    """The stream of each node: 0 without a label, and labels take turns on a few others."""
    numbers: dict[str, int] = {MAIN: 0}
    for node in graph.nodes:
        label = label_of(node.op)
        numbers.setdefault(label, 1 + (len(numbers) - 1) % (STREAMS - 1))
    return [numbers[label_of(node.op)] for node in graph.nodes]


class Writes:
    """In-place operators, done functionally: a write makes a new value of the memory it hits.

    Later nodes read the new value, whichever of its names they use; views made earlier keep the old
    one, and the caller's tensors are written once, after everything is computed.

    Attributes:
        written: the graph inputs whose contents change.
    """

    def __init__(self, graph: HostGraph) -> None:
        self._inputs = set(graph.arguments)
        self._names: dict[SSAValue, list[SSAValue]] = {}
        self.written: dict[SSAValue, None] = {}

    def after(self, node: Node, values: dict[SSAValue, Any]) -> None:
        """Note what a node has written."""
        for output, position in node.op.spec.refs if node.kernel is not None else ():
            reference = node.inputs[position]
            if not isinstance(reference, SSAValue):
                continue
            result = node.op.results[output]
            names = self._names.setdefault(reference, [reference])
            names.append(result)
            self._names[result] = names
            for name in names:
                values[name] = values[result]
            if names[0] in self._inputs:
                self.written[names[0]] = None


def scalar_tensor(value: Scalar) -> torch.Tensor:
    """A Python number given for a graph input: int64, float32 or bool, as GE's host Data."""
    kind = torch.bool if isinstance(value, bool) else None
    if kind is None:
        kind = torch.int64 if isinstance(value, int) else torch.float64
    with real_execution():
        return torch.tensor(value, dtype=kind)


def _trace_node(node: Node, values: dict[SSAValue, Any], tracer: Tracer) -> None:
    if node.constant is not None:
        values[node.op.results[0]] = node.constant
        return
    kernel = node.kernel
    assert kernel is not None, "read_graph refuses nodes without a kernel"
    inputs = [_lookup(v, values) for v in node.inputs]
    try:
        if kernel.metadata or (not kernel.random and _all_known(inputs, tracer)):
            with real_execution():
                results = kernel(inputs, node.attributes, node.defaults)
        else:
            fakes = [_to_fake(v, tracer) for v in inputs]
            with active(tracer):
                results = kernel(fakes, node.attributes, node.defaults)
    except (DataDependentError, TorchairError):
        raise
    except Exception as error:
        raise node_error(node, error) from error
    bind_results(node, results, values)


def node_error(node: Node, error: Exception) -> EngineError:
    """An EngineError that names the GE node, the ATen operator and the source line."""
    label, source = node.describe()
    return EngineError(
        f"the host device failed in node {label}: {error}",
        op=name_of(node.op.location) or node.op.name,
        loc=source,
        hint="compare the shapes and dtypes above with the eager call at this line",
    )


def bind_results(node: Node, results: Any, values: dict[SSAValue, Any]) -> None:
    """Bind a kernel's outputs to the node's results (dynamic outputs flattened)."""
    flat = list(results) if isinstance(results, list | tuple) else [results]
    for result, value in zip(node.op.results, flat, strict=False):
        values[result] = value


def _lookup(value: Any, values: dict[SSAValue, Any]) -> Any:
    if isinstance(value, list):
        return [values[v] for v in value]
    return None if value is None else values[value]


def _all_known(inputs: list[Any], tracer: Tracer) -> bool:
    """Whether every input is a small real tensor."""
    flat = [t for v in inputs for t in (v if isinstance(v, list) else [v]) if t is not None]
    return all(not isinstance(t, FakeTensor) and t.numel() <= KNOWN_LIMIT for t in flat)


def _to_fake(value: Any, tracer: Tracer) -> Any:
    if isinstance(value, list):
        return [_to_fake(v, tracer) for v in value]
    if value is None or isinstance(value, FakeTensor):
        return value
    return tracer.fake_of(value)


def _finish(
    graph: HostGraph,
    values: dict[SSAValue, Any],
    tracer: Tracer,
    given: list[Any],
    writes: Writes,
) -> list[torch.Tensor]:
    """Outputs get storage of their own, as GE gives them; then written inputs are copied back."""
    borrowed = {_storage(t) for t in given if _is_fake(t)}
    taken = set(borrowed)
    outputs: list[torch.Tensor] = []
    for value in graph.results:
        output = _to_fake(values[value], tracer)
        if _storage(output) in taken or id(output) in tracer.reals:
            output = tracer.record(torch.clone, output)
        taken.add(_storage(output))
        outputs.append(output)
    targets = dict(zip(graph.arguments, given, strict=True))
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for argument in writes.written:
        source = _to_fake(values[argument], tracer)
        if _storage(source) in borrowed:
            source = tracer.record(torch.clone, source)
        pairs.append((targets[argument], source))
    for target, source in pairs:
        tracer.record(torch.ops.aten.copy_.default, target, source)
    return outputs


def _is_fake(value: Any) -> bool:
    return isinstance(value, FakeTensor)


def _storage(value: torch.Tensor) -> int:
    return value.untyped_storage()._cdata


def interpret(graph: HostGraph, inputs: Sequence[torch.Tensor | Scalar]) -> list[torch.Tensor]:
    """Run a graph node by node on real tensors (graphs with data-dependent shapes).

    Raises:
        EngineError: a kernel failed.
    """
    values: dict[SSAValue, Any] = {}
    for argument, given in zip(graph.arguments, inputs, strict=True):
        values[argument] = given if isinstance(given, torch.Tensor) else scalar_tensor(given)
    given = {argument: values[argument] for argument in graph.arguments}
    writes = Writes(graph)
    for node in graph.nodes:
        if node.constant is not None:
            values[node.op.results[0]] = node.constant
        else:
            _interpret_node(node, values)
            writes.after(node, values)
    taken = {_storage(tensor) for tensor in given.values()}
    outputs: list[torch.Tensor] = []
    for value in graph.results:
        output = values[value]
        outputs.append(output.clone() if _storage(output) in taken else output)
        taken.add(_storage(outputs[-1]))
    sources = [values[argument].clone() for argument in writes.written]
    for argument, source in zip(writes.written, sources, strict=True):
        given[argument].copy_(source)
    return outputs


def _interpret_node(node: Node, values: dict[SSAValue, Any]) -> None:
    assert node.kernel is not None, "read_graph refuses nodes without a kernel"
    inputs = [_lookup(v, values) for v in node.inputs]
    try:
        with real_execution():
            results = node.kernel(inputs, node.attributes, node.defaults)
    except TorchairError:
        raise
    except Exception as error:
        raise node_error(node, error) from error
    bind_results(node, results, values)
