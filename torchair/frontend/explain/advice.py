"""What to do about an operator without a converter: a decomposition that PyTorch has, similar
operators that are supported, a converter to fill in."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import global_decomposition_table
from torch._ops import OpOverload
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map

from torchair.dialects import aten
from torchair.errors import TorchairError
from torchair.frontend.fx_import import aten_name
from torchair.frontend.operator_uses import outcome_of
from torchair.passes.convert_aten_to_ge.registry import converters
from torchair.passes.convert_aten_to_ge.report import converter_stub

_TABLES = ("post_autograd", "pre_autograd", "meta")


def find_decomposition(target: Any) -> Callable[..., Any] | None:
    """PyTorch's decomposition of an operator that torchair does not use, or None."""
    if not isinstance(target, OpOverload):
        return None
    for name in _TABLES:
        function = global_decomposition_table[name].get(target)
        if function is not None:
            return function
    implicit = torch._C.DispatchKey.CompositeImplicitAutograd
    return target.decompose if target.has_kernel_for_dispatch_key(implicit) else None


def decomposition_advice(node: Node, table: dict[Any, Callable[..., Any]]) -> str:
    """The nearest decomposition of a call that has no converter, one line; empty when none.

    Args:
        node: the call.
        table: the decompositions in use, applied to what the decomposition calls.
    """
    function = find_decomposition(node.target)
    if function is None:
        return ""
    label = f"{function.__module__}.{function.__qualname__}"
    try:
        made, missing = _operators_of(function, node, table)
    except Exception as error:  # many are not written for symbolic sizes: say so
        return f"{label} (not usable for this call: {type(error).__name__})"
    state = f"but {', '.join(missing)} has no converter" if missing else "all supported"
    return f"{label} -> {', '.join(made)} ({state})"


def _operators_of(
    function: Callable[..., Any], node: Node, table: dict[Any, Callable[..., Any]]
) -> tuple[list[str], list[str]]:
    """Operators that a decomposition of this call is made of, and those without a converter."""
    values = torch.fx.map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    def call(*given: torch.Tensor) -> Any:
        rest = iter(given)
        args, kwargs = tree_map(lambda v: next(rest) if isinstance(v, torch.Tensor) else v, values)
        return function(*args, **kwargs)

    usable = {key: made for key, made in table.items() if key is not node.target}
    traced = make_fx(call, usable)(*tensors)
    calls = [n for n in traced.graph.nodes if n.op == "call_function"]
    missing = {str(n.target) for n in calls if outcome_of(n, traced).status != "converted"}
    return list(dict.fromkeys(str(n.target) for n in calls)), sorted(missing)


def similar_operators(target: Any) -> list[str]:
    """Up to three operators with a converter and a similar name."""
    name = aten_name(target) if isinstance(target, OpOverload) else str(target)
    return difflib.get_close_matches(name, converters(), n=3, cutoff=0.75)


def stub_of(target: Any) -> str:
    """A converter to fill in; empty for what is no operator."""
    if not isinstance(target, OpOverload):
        return ""
    name = aten_name(target)
    try:
        cls = aten.lookup(name) or aten.define(str(target._schema))
    except TorchairError:
        return ""
    return converter_stub(cls.schema)
