"""What the capture modes write when asked: graphs as Python, tensors of every call."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule
from xdsl.dialects.builtin import ModuleOp

from torchair.backend_ge.runtime.aten_graph import Call, read_graph
from torchair.backend_ge.runtime.interpret import Observer
from torchair.backend_ge.runtime.python_text import python_text
from torchair.config import Snapshot
from torchair.errors import ConfigError
from torchair.frontend.artifacts import write_text


def world() -> tuple[int, int]:
    """World size and rank of this process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


def dump_graph(config: Snapshot, stage: str, name: str, module: ModuleOp) -> list[Path]:
    """Write a graph as Python (``debug.graph_dump.type = "py"``); returns the files.

    Args:
        config: frozen options.
        stage: ``original`` or ``optimized``.
        name: name of the graph, e.g. ``graph_0_inference``.
        module: the graph, an aten module.

    Raises:
        ConfigError: another type is configured; a captured graph has no GE graph.
    """
    kind = config.debug.graph_dump.type
    if kind is None:
        return []
    if kind != "py":
        raise ConfigError(
            f"mode '{config.mode}' makes no GE graph that could be written as '{kind}'",
            expected="py",
            found=kind,
            hint="config.debug.graph_dump.type = 'py', or config.debug.ir_dump.path",
        )
    stamp = f"rank_{world()[1]}_pid_{os.getpid()}_ts_{time.time_ns() // 1000}"
    folder = Path(config.debug.graph_dump.path or ".")
    file = folder / f"dynamo_{stage}_{name}_{stamp}.py"
    return [write_text(file, python_text(read_graph(module)))]


def observer_of(config: Snapshot, gm: GraphModule, name: str) -> Callable[[], Observer] | None:
    """What makes the observer of a call of the graph, when its tensors are to be dumped."""
    if config.dump_config.enable_dump:
        return _TorchDump(_rank_folder(config.dump_config.dump_path)).start
    if config.debug.data_dump.type is not None:
        folder = _rank_folder(config.debug.data_dump.path) / name
        wanted = config.debug.data_dump.filter
        nodes = {n.name for n in gm.graph.nodes if wanted is None or wanted(n) is not None}
        return _NumpyDump(folder, nodes).start
    return None


def _rank_folder(path: str | None) -> Path:
    size, rank = world()
    return Path(path or ".") / f"worldsize{size}_global_rank{rank}"


class _TorchDump:
    """``<node>_device_<device>_<count>.pt`` for every tensor that a call gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = itertools.count()

    def start(self) -> Observer:
        self.folder.mkdir(parents=True, exist_ok=True)
        count = next(self.counts)

        def observe(call: Call, inputs: Sequence[Any], results: Sequence[Any]) -> None:
            tensors = [(i, t) for i, t in enumerate(results) if isinstance(t, torch.Tensor)]
            for index, tensor in tensors:
                label = _node(call) if len(results) == 1 else f"{_node(call)}_{index}"
                file = self.folder / f"{label}_device_{tensor.device.type}_{count}.pt"
                torch.save(tensor.detach().clone(), file)

        return observe


class _NumpyDump:
    """``<step>/<node>-<operator>.INPUT.<i>[.<j>].<time>.npy``, and OUTPUT; bfloat16 as float32."""

    def __init__(self, folder: Path, nodes: set[str]) -> None:
        self.folder, self.nodes = folder, nodes
        self.steps = itertools.count()

    def start(self) -> Observer:
        folder = self.folder / str(next(self.steps))
        folder.mkdir(parents=True, exist_ok=True)

        def observe(call: Call, inputs: Sequence[Any], results: Sequence[Any]) -> None:
            if call.on_host or _node(call) not in self.nodes:
                return
            stamp = time.time_ns() // 1000
            for kind, values in (("INPUT", inputs), ("OUTPUT", results)):
                for place, value in _numbered(values):
                    file = f"{_node(call)}-{call.name}.{kind}.{place}.{stamp}.npy"
                    np.save(folder / file, _array(value))

        return observe


def _numbered(values: Sequence[Any]) -> list[tuple[str, Any]]:
    """Values with their places; lists of tensors are taken apart."""
    found: list[tuple[str, Any]] = []
    for index, value in enumerate(values):
        if isinstance(value, list) and any(isinstance(v, torch.Tensor) for v in value):
            found += [(f"{index}.{j}", v) for j, v in enumerate(value)]
        elif value is not None:
            found.append((str(index), value))
    return found


def _array(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return np.array(value if isinstance(value, int | float | list) else str(value))
    plain = value.detach().resolve_conj().resolve_neg().cpu()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()


def _node(call: Call) -> str:
    """The FX node that a call came from."""
    return (call.origin or call.name).rpartition("-")[0] or call.name
