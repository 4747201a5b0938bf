"""Traces the functions of a replacement to aten modules, as the graphs they are matched in are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._dispatch.python import enable_python_dispatcher
from torch._guards import tracing
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from torchair.errors import ConfigError
from torchair.frontend.decompositions import default_decompositions
from torchair.frontend.fx_import import import_graph
from torchair.frontend.whole_operators import whole_operators
from torchair.passes import pipelines
from torchair.passes.driver import run_passes
from torchair.tools.context import make_context

TraceFn = Callable[..., GraphModule]
Table = Mapping[Any, Callable[..., Any]]


def fwd_only(
    fn: Callable[..., Any],
    args: Sequence[Any],
    *,
    get_decomp_fn: Callable[[], Table] = default_decompositions,
) -> GraphModule:
    """Trace the forward computation of a function to ATen calls without mutations.

    Args:
        fn: function of tensors.
        args: its arguments, fake or real.
        get_decomp_fn: gives the decompositions; those of ``get_npu_backend`` by default.
    """
    functional = torch.func.functionalize(fn, remove="mutations")
    with torch.no_grad(), enable_python_dispatcher():
        return make_fx(functional, dict(get_decomp_fn()), tracing_mode="real")(*args)


@dataclass(frozen=True, slots=True)
class Clean:
    """How the graph was prepared in which replacements are looked for.

    Args:
        passes: what ran before, in order.
        decomposes: whether the default decompositions were applied.
        custom: the user's decompositions, which override them.
    """

    passes: tuple[ModulePass, ...] = tuple(pipelines.build((*pipelines.SHAPE, *pipelines.CLEAN)))
    decomposes: bool = True
    custom: tuple[tuple[Any, Callable[..., Any]], ...] = ()

    def table(self) -> Table:
        """Its decompositions."""
        return {**(default_decompositions() if self.decomposes else {}), **dict(self.custom)}


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function.

    Args:
        graph: the FX graph; nodes have ``meta["val"]``.
        module: the same as an aten module, cleaned.
    """

    graph: GraphModule
    module: ModuleOp

    @property
    def function(self) -> FuncOp:
        return next(op for op in self.module.ops if isinstance(op, FuncOp))

    @property
    def results(self) -> Sequence[SSAValue]:
        """What the function returns."""
        last = self.function.body.block.last_op
        assert isinstance(last, ReturnOp)
        return list(last.operands)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a search function, and what they are bound to while tracing.

    Args:
        names: of the function's parameters.
        values: a value per parameter: tensors, lists of them, or numbers.
    """

    names: tuple[str, ...]
    values: tuple[Any, ...]

    def tensors(self, of: Collection[str] | None = None) -> dict[str, torch.Tensor]:
        """Every tensor by name; those in a list are called ``<parameter>_<index>``.

        Args:
            of: parameters to look at, all of them by default.
        """
        found: dict[str, torch.Tensor] = {}
        for name, value in zip(self.names, self.values, strict=True):
            if of is not None and name not in of:
                continue
            leaves = pytree.tree_leaves(value)
            for index, leaf in enumerate(leaves):
                if isinstance(leaf, torch.Tensor):
                    found[name if len(leaves) == 1 else f"{name}_{index}"] = leaf
        return found

    def bound(self, tensors: Mapping[str, Any], scalars: Mapping[str, Any]) -> dict[str, Any]:
        """Values by parameter, with other tensors and numbers in their places."""
        rest = iter([tensors[name] for name in self.tensors()])
        found: dict[str, Any] = {}
        for name, value in zip(self.names, self.values, strict=True):
            leaves, spec = pytree.tree_flatten(scalars.get(name, value))
            filled = [next(rest) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
            found[name] = pytree.tree_unflatten(filled, spec)
        return found


def trace(
    trace_fn: TraceFn,
    fn: Callable[..., Any],
    parameters: Parameters,
    tensors: Mapping[str, torch.Tensor],
    scalars: Mapping[str, Any],
    clean: Clean,
    mode: Any,
) -> Traced:
    """Trace a function with fake tensors in the place of its tensors.

    Raises:
        ConfigError: the function returns something else than tensors, or uses large constants.
    """

    def of_tensors(*given: Any) -> list[Any]:
        by_name = dict(zip(tensors, given, strict=True))
        result = fn(*parameters.bound(by_name, scalars).values())
        return pytree.tree_leaves(result)

    options = {}
    if "get_decomp_fn" in inspect.signature(trace_fn).parameters:
        options["get_decomp_fn"] = clean.table
    fakes = list(tensors.values())
    outer = _disable_current_modes(), tracing(None), torch._C._DisableAutocast()
    with outer[0], outer[1], outer[2], whole_operators(), mode:
        graph = trace_fn(of_tensors, fakes, **options)
    graph.graph.eliminate_dead_code()
    _require_tensors(fn, graph)
    imported = import_graph(graph)
    if imported.constants:
        raise ConfigError(
            f"'{name_of(fn)}' uses a large tensor that is not an argument",
            found=", ".join(str(list(t.shape)) for t in imported.constants),
            hint="make it an argument of the function",
        )
    run_passes(make_context(), imported.module, clean.passes, verify=False)
    return Traced(graph, imported.module)


def _require_tensors(fn: Callable[..., Any], graph: GraphModule) -> None:
    output = next(node for node in graph.graph.nodes if node.op == "output")
    values: Any = output.args[0]
    values = values if isinstance(values, list | tuple) else [values]
    if not values or not all(
        isinstance(v, Node) and isinstance(v.meta.get("val"), torch.Tensor) for v in values
    ):
        raise ConfigError(
            f"'{name_of(fn)}' returns something else than tensors",
            found=str(values),
            hint="return a tensor, or a tuple of tensors",
        )


def name_of(fn: Callable[..., Any]) -> str:
    """What to call a function in messages."""
    return getattr(fn, "__name__", None) or type(fn).__name__
