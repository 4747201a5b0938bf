"""Compiles a function through AOT autograd, the GE conversion and the host lowering, without the
frontend or the protobuf, and compares it with eager: for tests of converter families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._functorch.aot_autograd import aot_module_simplified, make_boxed_func
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from torchair.backend_ge.host.lowering import HostGraph, interpret, read_graph, specialise
from torchair.backend_ge.host.tracing import DataDependentError, real_execution
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.fx_import import import_graph
from torchair.frontend.outputs import plan_outputs
from torchair.ir.conversion import argument_attributes
from torchair.ir.verify import verify_module
from torchair.passes import ALL_PASSES
from torchair.passes.pipelines import MAX_AUTOTUNE


class Compiled:
    """One compiled graph, with what tests want to look at.

    Attributes:
        module: the ge module.
        interpreted: whether the last run needed the interpreter (shapes that depend on data).
    """

    def __init__(self, gm: torch.fx.GraphModule, example: Sequence[Any]) -> None:
        with real_execution():
            self.plan = plan_outputs(gm)
            imported = import_graph(gm, self.plan.computed)
            self.module: ModuleOp = imported.module
            self.constants = imported.constants
            for name in MAX_AUTOTUNE:
                ALL_PASSES[name]()().apply(Context(), self.module)
                verify_module(self.module)
        function = next(op for op in self.module.ops if isinstance(op, FuncOp))
        entries: list[Any] = [e["torchair.index"] for e in argument_attributes(function)]
        self.kept = [e.value.data for e in entries]
        self.graph: HostGraph = read_graph(self.module)
        self.interpreted = False

    @property
    def node_types(self) -> list[str]:
        """GE types of all nodes, in order."""
        return [node.op.name[3:] for node in self.graph.nodes]

    def __call__(self, *args: Any) -> list[Any]:
        given = [a.detach() if torch.is_tensor(a) else a for a in (*args, *self.constants)]
        inputs = [given[i] for i in self.kept]
        try:
            with real_execution():
                program, positions = specialise(self.graph, inputs)
            results = program.run([inputs[i] for i in positions])
        except DataDependentError:
            self.interpreted = True
            results = interpret(self.graph, inputs)
        return self.plan.assemble(args, results)


def build(
    function: Callable[..., Any], *, dynamic: bool = False
) -> tuple[Callable[..., Any], list[Compiled]]:
    """The compiled function and the graphs it was compiled to (filled when it runs)."""
    graphs: list[Compiled] = []

    def compiler(gm: torch.fx.GraphModule, example: Sequence[Any]) -> Callable[..., Any]:
        graphs.append(Compiled(gm, example))
        return make_boxed_func(graphs[-1])

    def boxed(gm: torch.fx.GraphModule, example: Sequence[Any]) -> Any:
        return aot_module_simplified(
            gm,
            example,
            fw_compiler=compiler,
            decompositions=default_decompositions(),
            keep_inference_input_mutations=True,
        )

    torch._dynamo.reset()
    return torch.compile(function, backend=boxed, dynamic=dynamic, fullgraph=True), graphs


def check(
    function: Callable[..., Any], *args: Any, dynamic: bool = False, exact: bool = True
) -> list[Compiled]:
    """Compile, run and compare with eager: values, dtypes, shapes and written inputs.

    Returns:
        The graphs that were compiled.
    """
    given = [a.clone() if torch.is_tensor(a) else a for a in args]
    wanted = function(*given)
    compiled, graphs = build(function, dynamic=dynamic)
    passed = [a.clone() if torch.is_tensor(a) else a for a in args]
    found = compiled(*passed)
    assert graphs, "nothing was compiled"
    compare(found, wanted, exact)
    compare(passed, given, exact)
    return graphs


def check_gradients(
    function: Callable[..., Any], *args: torch.Tensor, dynamic: bool = False, exact: bool = True
) -> list[Compiled]:
    """Compile forward and backward; compare results and gradients of the floating inputs."""

    def run(call: Callable[..., Any]) -> list[Any]:
        leaves = [a.clone().requires_grad_(a.is_floating_point()) for a in args]
        result = call(*leaves)
        weight = torch.linspace(0.5, 2.0, max(1, result.numel())).to(result.dtype)
        (result * weight[: result.numel()].reshape(result.shape)).sum().backward()
        return [result.detach(), *[leaf.grad for leaf in leaves]]

    compiled, graphs = build(function, dynamic=dynamic)
    compare(run(compiled), run(function), exact)
    return graphs


def compare(found: Any, wanted: Any, exact: bool = True) -> None:
    """Equal structure, dtypes, shapes and values (bitwise unless ``exact`` is off)."""
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, exact)
    elif torch.is_tensor(wanted):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        close = {"rtol": 0, "atol": 0} if exact else {}
        torch.testing.assert_close(found, wanted, equal_nan=True, **close)
    else:
        assert found == wanted
