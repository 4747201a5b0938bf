"""``torchair-run``: execute a dumped graph on the host device.

    torchair-run graph.mlir --inputs inputs.npz [--outputs results.npz]

Reads aten or ge modules (.mlir) and GE graphs (.air, .pb, .pbtxt). Inputs are taken from the
archive
by argument name, else in order. torch is imported only when the graph is run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from torchair.errors import ArtifactError, TorchairError
from torchair.ir.conversion import argument_attributes
from torchair.ir.text import parse_module
from torchair.ir.verify import verify_module
from torchair.passes import pipelines
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context


def read_module(path: Path) -> ModuleOp:
    """Read a module from any of the formats torchair writes.

    Raises:
        ArtifactError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is not a file", hint="give the path of a dumped graph")
    if path.suffix == ".mlir":
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ArtifactError(
                f"{path} is not text", hint="use the .air or .pb suffix for binary graphs"
            ) from error
        module = parse_module(make_context(), text, str(path))
        verify_module(module)
        return module
    from torchair.backend_ge.graph_text import read_graph_file
    from torchair.backend_ge.load import load

    return load(read_graph_file(path))


def graph_function(module: ModuleOp) -> FuncOp:
    """The one function of a dumped graph.

    Raises:
        ArtifactError: there is none, or more than one.
    """
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    if len(functions) != 1:
        raise ArtifactError(
            "a graph to run has exactly one function", expected=1, found=len(functions)
        )
    return functions[0]


def lower_to_ge(module: ModuleOp) -> None:
    """Lower an aten module; a ge module stays as it is."""
    function = graph_function(module)
    last = function.body.block.last_op
    if last is not None and last.name != "ge.NetOutput":
        run_passes(make_context(), module, pipelines.build(pipelines.MAX_AUTOTUNE))


def input_names(module: ModuleOp) -> list[str]:
    """Name of each argument of the graph."""
    function = graph_function(module)
    names: list[str] = []
    for index, entry in enumerate(argument_attributes(function)):
        name = entry.get("torchair.name")
        hint = function.body.block.args[index].name_hint
        names.append(name.data if isinstance(name, StringAttr) else hint or f"arg{index}")
    return names


def run_graph(path: Path, inputs: Path | None) -> list[Any]:
    """Run a dumped graph; returns numpy arrays (bfloat16 as float32).

    Raises:
        ArtifactError: the graph or the inputs are not usable.
        EngineError: the host device failed, with the node and its source line.
    """
    module = read_module(path)
    all_names = input_names(module)
    lower_to_ge(module)
    names = input_names(module)

    from torchair.backend_ge.host.arrays import load_arrays, run_module

    return run_module(module, names, load_arrays(inputs, all_names))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(
        prog="torchair-run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("graph", type=Path, help="dumped graph: .mlir, .air, .pb or .pbtxt")
    parser.add_argument("--inputs", type=Path, help="numpy archive (.npz) of the graph's inputs")
    parser.add_argument("--outputs", type=Path, help="write the results to this .npz")
    options = parser.parse_args(arguments)
    try:
        results = run_graph(options.graph, options.inputs)
    except TorchairError as error:
        print(f"torchair-run: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for index, result in enumerate(results):
        print(f"output {index}: {result.dtype} {list(result.shape)}")
        print(result)
    if options.outputs is not None:
        import numpy as np

        np.savez(options.outputs, **{f"output_{i}": r for i, r in enumerate(results)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
