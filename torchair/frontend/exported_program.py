"""Import and compilation of ``torch.export.ExportedProgram``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node
from torch.utils import _pytree as pytree
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr
from xdsl.dialects.func import FuncOp

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.engines import get_engine
from torchair.config import CompilerConfig
from torchair.config.ge_keys import local_and_global
from torchair.errors import ConfigError
from torchair.frontend.compile import data_indices
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.fx_import import ImportedGraph, import_graph
from torchair.frontend.higher_order import expand_higher_order
from torchair.frontend.pass_control import max_autotune_passes
from torchair.ir.conversion import argument_attributes
from torchair.ir.garbage import quiet_gc
from torchair.ir.weights import WeightAttr, WeightHandle
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

_KINDS = {
    InputKind.PARAMETER: "parameter",
    InputKind.BUFFER: "buffer",
    InputKind.CONSTANT_TENSOR: "constant",
    InputKind.USER_INPUT: "input",
}
_MUTATIONS = (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION)


def import_exported_program(program: ExportedProgram, *, decompose: bool = True) -> ImportedGraph:
    """Import an exported program as an aten module.

    Parameters, buffers and constants are arguments with weight handles (``torchair.weight``);
    buffer
    and input mutations become ``aten.copy_`` before the return; the function returns user outputs.

    Args:
        program: from ``torch.export.export``.
        decompose: run the default decompositions first.

    Raises:
        UnsupportedOpError: naming every node that has no representation.
    """
    if decompose:
        program = program.run_decompositions(default_decompositions())
        expand_higher_order(program.graph_module, default_decompositions)
    nodes = {n.name: n for n in program.graph.nodes}
    kinds: dict[str, str] = {}
    targets: dict[str, str] = {}
    for spec in program.graph_signature.input_specs:
        name = getattr(spec.arg, "name", None)
        if name is not None:
            kinds[name] = _KINDS.get(spec.kind, "input")
            if spec.target is not None:
                targets[name] = spec.target
    places = {target: nodes[name] for name, target in targets.items()}
    outputs: list[Node | None] = []
    mutations: list[tuple[Node, Node]] = []
    returned: Any = program.graph.output_node().args[0]
    for spec, value in zip(program.graph_signature.output_specs, returned, strict=True):
        node = value if isinstance(value, Node) else None
        if spec.kind in _MUTATIONS and node is not None and spec.target is not None:
            mutations.append((places.get(spec.target) or nodes[spec.target], node))
        elif spec.kind is OutputKind.USER_OUTPUT:
            outputs.append(node)
    symbolic = {n: "size" for n, node in nodes.items() if _is_size(node)}
    imported = import_graph(
        program.graph_module, outputs, kinds={**kinds, **symbolic}, mutations=mutations
    )
    _attach_weights(imported, program, targets)
    return imported


def _is_size(node: Node) -> bool:
    return node.op == "placeholder" and isinstance(node.meta.get("val"), torch.SymInt)


def _attach_weights(
    imported: ImportedGraph, program: ExportedProgram, targets: dict[str, str]
) -> None:
    """Name each weight by its qualified name; its bytes are read only when somebody asks."""
    function = next(op for op in imported.module.ops if isinstance(op, FuncOp))
    entries = argument_attributes(function)
    for name, entry in zip(imported.names, entries, strict=True):
        tensor = _weight(program, targets.get(name))
        if tensor is not None:
            handle = WeightHandle(targets[name], tensor.nbytes, _reader(tensor))
            entry["torchair.weight"] = WeightAttr(handle)
    function.arg_attrs = ArrayAttr([DictionaryAttr(entry) for entry in entries])


def _weight(program: ExportedProgram, target: str | None) -> torch.Tensor | None:
    if target is None:
        return None
    return program.state_dict.get(target, program.constants.get(target))


def _reader(tensor: torch.Tensor) -> Callable[[], bytes]:
    def read() -> bytes:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().tobytes()

    return read


class CompiledProgram:
    """A compiled exported program, called like the module it was exported from."""

    def __init__(self, program: ExportedProgram, config: CompilerConfig) -> None:
        snapshot = config.snapshot()
        imported = import_exported_program(program)
        with quiet_gc():
            passes = max_autotune_passes(snapshot)
            run_passes(make_context(), imported.module, passes, verify=snapshot.debug.verify)
            data = serialize(emit(imported.module, "exported"))
        function = next(op for op in imported.module.ops if isinstance(op, FuncOp))
        indices = data_indices(function)
        self._names = [imported.names[i] for i in indices]
        self._bound = self._bind(program, imported)
        self._user_names = [
            spec.arg.name
            for spec in program.graph_signature.input_specs
            if spec.kind is InputKind.USER_INPUT
        ]
        self._in_spec = program.call_spec.in_spec
        self._out_spec = program.call_spec.out_spec
        options = {
            "ge.options": local_and_global(snapshot, snapshot.mode),
            "host.max_programs": snapshot.host.max_programs,
        }
        self._executable = get_engine(snapshot.engine).compile(data, options)

    @staticmethod
    def _bind(program: ExportedProgram, imported: ImportedGraph) -> dict[str, torch.Tensor]:
        bound: dict[str, torch.Tensor] = {}
        for spec in program.graph_signature.input_specs:
            tensor = _weight(program, spec.target)
            if tensor is not None:
                bound[spec.arg.name] = tensor
        lifted = imported.names[len(imported.names) - len(imported.constants) :]
        return {**bound, **dict(zip(lifted, imported.constants, strict=True))}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        flat, spec = pytree.tree_flatten((args, kwargs))
        if len(flat) != len(self._user_names):
            raise ConfigError(
                "the exported program is called with other inputs than it was exported for",
                expected=self._in_spec,
                found=spec,
            )
        given = {**self._bound, **dict(zip(self._user_names, flat, strict=True))}
        results = self._executable.run([given[name] for name in self._names])
        out_spec: Any = self._out_spec
        return pytree.tree_unflatten(_spread(results, out_spec), out_spec)


def _spread(results: Sequence[Any], spec: Any) -> list[Any]:
    missing = spec.num_leaves - len(results)
    return [*results, *[None] * missing]


def compile_exported_program(
    program: ExportedProgram, *, compiler_config: CompilerConfig | None = None
) -> CompiledProgram:
    """Compile an exported program for the configured engine.

    Args:
        program: from ``torch.export.export`` (dynamic shapes allowed).
        compiler_config: options; defaults when None.

    Raises:
        UnsupportedOpError, ConversionError, EngineError: as for ``torch.compile``.
    """
    return CompiledProgram(program, compiler_config or CompilerConfig())
