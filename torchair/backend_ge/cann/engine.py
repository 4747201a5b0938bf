"""The cann engine: compiles GE graphs with CANN and runs them on an NPU.

Without torch_npu tensors are on the host: they are copied to the device, and results back. With
torch_npu the graph runs on torch's current stream, on torch's tensors, in torch's memory.
"""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchair import _native
from torchair.backend_ge import proto
from torchair.backend_ge.cann import process, tensors
from torchair.backend_ge.cann.options import (
    GeOptions,
    gear_options,
    graph_options,
    process_options,
)
from torchair.backend_ge.cann.signature import Signature, read_signature
from torchair.errors import EngineError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("torchair")
_MOST_QUEUED_RUNS = 1024
"""Host scalars of that many runs stay alive: GE reads them when it reaches the run."""


class CannExecutable:
    """A graph that GE has compiled.

    Attributes:
        signature: how it is called.
        is_static: whether GE compiled it for fixed shapes; None when it does so at the first run.
        route: the interface of GE that is used, ``wrapper`` or ``session``.

    Args:
        frozen: inputs that GE binds at the first run, where it can.
        tasks_file: where GE's list of the tasks of a static graph goes after the first run.
    """

    def __init__(
        self,
        engine: _native.CannEngine,
        graph: _native.CannGraph,
        signature: Signature,
        npu: Any | None,
        frozen: Sequence[int] = (),
        tasks_file: str | None = None,
    ) -> None:
        self._engine = engine
        self._graph = graph
        self._npu = npu
        self._tasks_file = tasks_file
        self._may_freeze = frozen
        self._frozen: dict[int, int] | None = None  # address of each at the first run
        self._held: deque[list[torch.Tensor]] = deque(maxlen=_MOST_QUEUED_RUNS)
        self.signature = signature
        self.is_static = graph.is_static
        self.route = engine.route

    def run(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        """Execute the graph.

        Args:
            inputs: one tensor (or Python number, for a host scalar) per Data, in index order.

        Returns:
            One tensor per output, with memory of its own. Assigned inputs are written. On an NPU
            the work is queued on the current stream, as torch's own operators are.

        Raises:
            EngineError: wrong inputs, or CANN failed; has CANN's text.
        """
        if len(inputs) != len(self.signature.inputs):
            raise EngineError(
                "wrong number of graph inputs",
                expected=len(self.signature.inputs),
                found=len(inputs),
            )
        try:
            with process.running():
                npu = self._npu
                results = (
                    self._run_on_host(inputs) if npu is None else self._run_on_npu(inputs, npu)
                )
                self._list_tasks()
                return results
        except (RuntimeError, ValueError) as error:
            text = process.error_text(error)
            raise EngineError(f"the graph failed on the NPU: {text}") from error

    def _list_tasks(self) -> None:
        """Write the tasks of the graph, once."""
        path, self._tasks_file = self._tasks_file, None
        if path is None:
            return
        try:
            text = self._graph.tasks_json()
        except _native.runtime.DeviceError as error:
            warnings.warn(f"{path} is not written: {process.error_text(error)}", stacklevel=3)
            return
        Path(path).write_text(text, encoding="utf-8")
        _log.info("tasks of the graph: %s", Path(path).resolve())

    # ------------------------------------------------------------ tensors on the host

    def _run_on_host(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        ports = self.signature.inputs
        given = [tensors.as_tensor(v, p, "cpu") for v, p in zip(inputs, ports, strict=True)]
        views = [tensors.view(t, p) for t, p in zip(given, ports, strict=True)]
        outputs = [tensors.empty_view(p) for p in self.signature.outputs] if self._gives() else []
        aliases = list(self.signature.aliases) if outputs else []
        made = self._engine.run_on_host(self._graph, views, outputs, aliases)
        self._check_count(made)
        for output, index in self.signature.aliases:
            tensors.write_back(inputs[index], self._fetch(made[output], output))
        return [self._fetch(made[i], i) for i in range(self.signature.returned)]

    def _fetch(self, made: _native.CannOutput, index: int) -> torch.Tensor:
        import torch

        dtype = tensors.torch_type(self.signature.outputs[index])
        result = torch.empty(made.shape, dtype=dtype)
        made.copy_to_host(result.data_ptr(), result.nbytes)
        return result

    # ------------------------------------------------------------ tensors on the NPU

    def _run_on_npu(self, inputs: Sequence[Any], npu: Any) -> list[torch.Tensor]:
        given = [
            tensors.as_tensor(v, p, "cpu" if p.on_host else "npu")
            for v, p in zip(inputs, self.signature.inputs, strict=True)
        ]
        views = [tensors.view(t, p) for t, p in zip(given, self.signature.inputs, strict=True)]
        stream = int(npu.npu.current_stream().npu_stream)
        self._held.append(
            [t for t, p in zip(given, self.signature.inputs, strict=True) if p.on_host]
        )
        results = self._outputs_on_npu(given) if self._gives() else []
        places = [tensors.view(t, p) for t, p in zip(results, self.signature.outputs, strict=False)]
        allocate, free = npu.npu.caching_allocator_alloc, npu.npu.caching_allocator_delete
        made = self._engine.run(
            self._graph,
            stream,
            lambda size, s: allocate(size, stream=s),
            free,
            views,
            places,
            self._freeze(inputs, given),
        )
        self._check_count(made)
        if not results:
            results = [self._take(output, i, stream) for i, output in enumerate(made)]
        return self._finish_on_npu(inputs, given, results)

    def _freeze(self, inputs: Sequence[Any], given: Sequence[torch.Tensor]) -> list[int]:
        """The frozen inputs: those that GE is given as they are. It uses them where they lay at the
        first run, whatever it is given later."""
        if self._frozen is None:
            dense = (i for i in self._may_freeze if given[i].data_ptr() == inputs[i].data_ptr())
            self._frozen = {index: given[index].data_ptr() for index in dense}
        for index, address in self._frozen.items():
            if given[index].data_ptr() != address:
                raise EngineError(
                    f"the frozen parameter '{self.signature.inputs[index].name}' has moved since "
                    "the first run",
                    expected=f"address {address:#x}",
                    found=f"address {given[index].data_ptr():#x}",
                    hint="change parameters in place, or set "
                    "config.experimental_config.frozen_parameter = False",
                )
        return list(self._frozen)

    def _outputs_on_npu(self, given: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Memory for every output; that of an alias is the input's."""
        import torch

        alias = dict(self.signature.aliases)
        return [
            given[alias[i]]
            if i in alias
            else torch.empty(port.shape or (), dtype=tensors.torch_type(port), device="npu")
            for i, port in enumerate(self.signature.outputs)
        ]

    def _take(self, made: _native.CannOutput, index: int, stream: int) -> torch.Tensor:
        """A tensor of torch's own with the values of an output that GE allocated."""
        import torch

        dtype = tensors.torch_type(self.signature.outputs[index])
        result = torch.empty(made.shape, dtype=dtype, device="npu")
        self._engine.copy_output(made, result.data_ptr(), made.nbytes, stream)
        return result

    def _finish_on_npu(
        self,
        inputs: Sequence[Any],
        given: Sequence[torch.Tensor],
        results: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        returned = results[: self.signature.returned]
        for output, index in self.signature.aliases:
            if results[output].data_ptr() != inputs[index].data_ptr():
                tensors.write_back(inputs[index], results[output])
            if output < len(returned) and results[output] is given[index]:
                returned[output] = results[output].clone()
        return returned

    # ------------------------------------------------------------

    def _gives(self) -> bool:
        """Whether runs pass memory for the outputs: GE must have compiled for fixed shapes."""
        return bool(self.is_static) and self.signature.is_static

    def _check_count(self, made: Sequence[object]) -> None:
        if len(made) != len(self.signature.outputs):
            raise EngineError(
                "GE gave another number of outputs than the graph has",
                expected=len(self.signature.outputs),
                found=len(made),
            )


class CannEngine:
    """Engine that compiles GE graphs with CANN.

    Raises:
        EngineError: CANN is not here, or lacks functions; says what was looked for and where.
    """

    name = "cann"

    def __init__(self) -> None:
        process.check_libraries()

    def compile(self, graph_def: Any, options: Mapping[str, Any] | None = None) -> CannExecutable:
        """Compile a GE graph.

        Args:
            graph_def: GE graph, as ``ModelDef`` or its bytes.
            options: ``ge.options``: the pair that ``CompilerConfig.as_dict`` returns;
                ``ge.frozen``: inputs, by index of their Data, that never move; ``ge.gears``: the
                shapes that inputs may have, see ``gear_options``.

        Raises:
            EngineError: CANN is not here, lacks a function, or refused the graph.
            ConfigError: the process was started with other GE options.
        """
        if isinstance(graph_def, proto.ModelDef):
            model, data = graph_def, graph_def.SerializeToString()
        else:
            model, data = _parse(graph_def), graph_def
        signature = read_signature(model)
        local, process_wide = (options or {}).get("ge.options", ({}, {}))
        chosen = GeOptions(local, process_wide)
        chosen.refuse_tuning()
        npu = tensors.torch_npu()
        settings = tensors.torch_settings(npu)
        device = 0 if npu is None else int(npu.npu.current_device())
        started = process_options(chosen, device, settings)
        engine = process.engine(started, device, owned=npu is None, dump_config=chosen.dump_file())
        if any(node.type == "PrintV2" for graph in model.graph for node in graph.op):
            _show_prints(engine)
        gives_outputs = engine.route == "session" and signature.is_static

        is_loaded = gives_outputs and engine.loads

        def compile_graph(gives_outputs: bool) -> _native.CannGraph:
            made = graph_options(
                chosen,
                signature,
                settings,
                gives_outputs=gives_outputs,
                is_loaded=gives_outputs and is_loaded,
            )
            made.update(gear_options((options or {}).get("ge.gears", ()), signature))
            return engine.compile(data, list(made.items()))

        try:
            graph = compile_graph(gives_outputs)
            if gives_outputs and not graph.is_static:
                # GE decided for dynamic shapes after all: then it makes the outputs itself.
                graph, is_loaded = compile_graph(gives_outputs=False), False
        except RuntimeError as error:
            text = process.error_text(error)
            raise EngineError(f"GE did not compile the graph: {text}") from error
        frozen = (options or {}).get("ge.frozen", ()) if is_loaded else ()
        tasks_file = f"{model.name or 'graph'}_tasks.json" if chosen.lists_tasks() else None
        return CannExecutable(engine, graph, signature, npu, frozen, tasks_file)


def _show_prints(engine: _native.CannEngine) -> None:
    try:
        is_shown = engine.show_prints()
    except RuntimeError as error:
        text = process.error_text(error)
        raise EngineError(f"what the graph prints cannot be shown: {text}") from error
    if not is_shown:
        warnings.warn(
            "what the graph prints is not shown: this CANN has no libacl_tdt_channel.so",
            stacklevel=3,
        )


def _parse(data: bytes) -> proto.ModelDef:
    from google.protobuf.message import DecodeError

    try:
        return proto.ModelDef.FromString(data)
    except DecodeError as error:
        raise EngineError("the graph is not a serialized GE model") from error
