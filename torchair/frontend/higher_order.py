"""Takes higher-order operators apart before import: the graph gets what they compute instead.

GE graphs here have no subgraphs, so a call of ``cond``, ``scan``, ``map``, ``associative_scan``,
``invoke_subgraph`` or ``flex_attention`` becomes plain operators. Both branches of ``cond`` run,
and its predicate selects between their results; loops of a known length are written out.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._guards import detect_fake_mode
from torch._higher_order_ops.associative_scan import generic_associative_scan
from torch._higher_order_ops.flex_attention import sdpa_dense, sdpa_dense_backward
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_aggregate, map_arg
from torch.utils import _pytree as pytree

from torchair.errors import TorchairError, UnsupportedOpError
from torchair.frontend.fx_import import source_line

Results = Any
"""Tensors, numbers and None, in the tuples and lists that the operator returns."""


def _select(pred: Any, on_true: Any, on_false: Any, operands: Sequence[Any]) -> list[Any]:
    """``cond``: both branches run."""
    if not isinstance(pred, Tensor):  # of sizes: a guard decides, as for an ``if``
        return list((on_true if pred else on_false)(*operands))
    pairs = zip(on_true(*operands), on_false(*operands), strict=True)
    return [_selected(pred, one, other) for one, other in pairs]


def _selected(pred: Tensor, one: Any, other: Any) -> Any:
    if not isinstance(one, Tensor) and not isinstance(other, Tensor):
        if one is other or one == other:
            return one
        raise UnsupportedOpError("the branches of cond return different numbers")
    if one.dtype != other.dtype or str(one.shape) != str(other.shape):
        raise UnsupportedOpError(
            "the branches of cond return tensors of different types",
            expected=f"{one.dtype} of {list(one.shape)}",
            found=f"{other.dtype} of {list(other.shape)}",
        )
    return torch.where(pred, one, other)


def _written_out(
    function: Any, init: Sequence[Any], rows: Sequence[Any], more: Sequence[Any]
) -> list[Any]:
    """``scan``: one step per row; the last state and the stacked outputs."""
    state, outputs = list(init), []
    for index in range(_length(rows)):
        found = list(function(*state, *[row[index] for row in rows], *more))
        state = found[: len(init)]
        outputs.append(found[len(init) :])
    return [*state, *_stacked(outputs)]


def _mapped(function: Any, rows: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    """``map``: one call per row; the stacked results."""
    steps = range(_length(rows))
    return _stacked([list(function(*[row[index] for row in rows], *more)) for index in steps])


def _stacked(outputs: list[list[Any]]) -> list[Any]:
    columns = zip(*outputs, strict=True)
    return [None if column[0] is None else torch.stack(list(column)) for column in columns]


def _length(rows: Sequence[Tensor]) -> int:
    """Number of steps; a symbolic size is fixed by a guard, so that another one compiles anew."""
    return int(rows[0].shape[0])


def _associative(function: Any, rows: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    _length(rows)
    return list(generic_associative_scan(function, rows, additional_inputs=tuple(more)))


def _inlined(function: Any, identifier: str, *operands: Any) -> Results:
    return function(*operands)


_DENSE: dict[str, Callable[..., Results]] = {
    "cond": _select,
    "scan": _written_out,
    "map_impl": _mapped,
    "associative_scan": _associative,
    "invoke_subgraph": _inlined,
    "flex_attention": sdpa_dense,
    "flex_attention_backward": sdpa_dense_backward,
}
"""What a higher-order operator computes, by its name."""

_LOOPS = ("while_loop", "while_loop_stack_output")


def expand_higher_order(
    graph_module: GraphModule, decompositions: Callable[[], dict[Any, Callable[..., Any]]]
) -> None:
    """Replace the calls of higher-order operators in a graph, in place, those inside them too.

    Args:
        graph_module: an AOT graph; nodes carry ``meta["val"]``.
        decompositions: gives the table that the operators inside are decomposed with.

    Raises:
        UnsupportedOpError: a call that plain operators cannot express, with its source line.
    """
    calls = [node for node in graph_module.graph.nodes if _dense(node) is not None]
    for node in calls:
        _replace(node, _inline(graph_module, node, decompositions))
    if calls:
        graph_module.graph.eliminate_dead_code()
        graph_module.recompile()
    for error in filter(None, map(loop_refusal, graph_module.graph.nodes)):
        raise error


def loop_refusal(node: Node) -> UnsupportedOpError | None:
    """The error of a call that repeats until its data says stop; None for other calls."""
    target = node.target
    if not isinstance(target, torch._ops.HigherOrderOperator) or target.name() not in _LOOPS:
        return None
    return UnsupportedOpError(
        f"{target.name()} repeats until its data says stop",
        expected="a number of steps that is known when the graph is compiled",
        op=target.name(),
        loc=source_line(node),
        hint="write a Python loop or torch._higher_order_ops.scan with a fixed number of "
        "steps, or keep the loop outside the compiled region",
    )


def _dense(node: Node) -> Callable[..., Results] | None:
    if not isinstance(node.target, torch._ops.HigherOrderOperator):
        return None
    return _DENSE.get(node.target.name())


def _inline(
    graph_module: GraphModule, node: Node, decompositions: Callable[[], dict[Any, Any]]
) -> Results:
    """Put what a call computes in front of it; its results as nodes."""
    traced, operands = _trace(graph_module, node, decompositions)
    expand_higher_order(traced, decompositions)
    values: dict[Node, Any] = {}
    places = iter(operands)
    returned: Results = None
    with graph_module.graph.inserting_before(node):
        for inner in traced.graph.nodes:
            if inner.op == "placeholder":
                values[inner] = next(places)
            elif inner.op == "output":
                returned = map_arg(inner.args[0], values.__getitem__)
            elif inner.op == "get_attr":
                values[inner] = _moved_attribute(graph_module, traced, inner)
            else:
                copy = graph_module.graph.node_copy(inner, values.__getitem__)
                copy.meta = {**node.meta, "val": inner.meta.get("val")}
                values[inner] = copy
    return returned


def _trace(
    graph_module: GraphModule, node: Node, decompositions: Callable[[], dict[Any, Any]]
) -> tuple[GraphModule, list[Node]]:
    """The graph of a call, and the nodes that are its arguments."""
    leaves, structure = pytree.tree_flatten((node.args, dict(node.kwargs)))
    is_operand = [isinstance(leaf, Node) and leaf.op != "get_attr" for leaf in leaves]
    operands = [leaf for leaf, chosen in zip(leaves, is_operand, strict=True) if chosen]
    dense = _dense(node)
    assert dense is not None

    def run(*values: Any) -> Results:
        given = iter(values)
        whole = [
            next(given) if chosen else _constant(graph_module, leaf)
            for leaf, chosen in zip(leaves, is_operand, strict=True)
        ]
        args, kwargs = pytree.tree_unflatten(whole, structure)
        return dense(*args, **kwargs)

    values = [operand.meta["val"] for operand in operands]
    functional = torch.func.functionalize(run, remove="mutations")
    make = make_fx(functional, decompositions(), "real", _allow_non_fake_inputs=True)
    try:
        with detect_fake_mode(values) or nullcontext():
            return make(*values), operands
    except TorchairError as error:
        raise _refused(node, str(error)) from error
    except (RuntimeError, ValueError, TypeError) as error:
        raise _refused(node, str(error).splitlines()[0]) from error


def _constant(graph_module: GraphModule, leaf: Any) -> Any:
    return operator.attrgetter(str(leaf.target))(graph_module) if isinstance(leaf, Node) else leaf


def _refused(node: Node, reason: str) -> UnsupportedOpError:
    name = node.target.name()  # type: ignore[union-attr]
    return UnsupportedOpError(
        f"{name} cannot be expressed by plain operators",
        found=reason,
        op=name,
        loc=source_line(node),
        hint="write the computation with tensors of fixed shapes, or keep it outside the "
        "compiled region",
    )


def _moved_attribute(graph_module: GraphModule, traced: GraphModule, inner: Node) -> Node:
    """A constant of the traced graph as an attribute of the whole."""
    number = 0
    while hasattr(graph_module, f"_inlined_{number}"):
        number += 1
    name = f"_inlined_{number}"
    value = operator.attrgetter(str(inner.target))(traced)
    if isinstance(value, Tensor):
        graph_module.register_buffer(name, value, persistent=False)
    else:
        setattr(graph_module, name, value)
    moved = graph_module.graph.get_attr(name)
    moved.meta = dict(inner.meta)
    return moved


def _replace(node: Node, value: Results) -> None:
    """Give the users of a call, or of a tuple in its results, what they asked for."""
    for user in list(node.users):
        if isinstance(value, list | tuple) and user.target is operator.getitem:
            index: Any = user.args[1]
            _replace(user, value[index])
        else:
            user.args = map_aggregate(user.args, lambda a: value if a is node else a)
            user.kwargs = map_aggregate(user.kwargs, lambda a: value if a is node else a)
    node.graph.erase_node(node)
