"""Custom operators that write their arguments, as functionalisation leaves them.

``auto_functionalized_v2(op, x=..., _all_bases=[b])`` means: copy the bases, call ``op`` on views of
the copies, return its results and the copies. Here it becomes just that, in FX: clones, the call
in place, and scatters where a view was written; the pass ``reinplace`` removes the copies that it
proves needless.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch._higher_order_ops.auto_functionalize import (
    AsStridedViewInfo,
    SliceViewInfo,
    ViewInfo,
    get_mutable_args,
    read_view_information_from_args,
)
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_map

from torchair.errors import UnsupportedOpError

_TARGET = torch.ops.higher_order.auto_functionalized_v2
_COMPUTE = object()
aten = torch.ops.aten


def expand_auto_functionalized(graph_module: GraphModule) -> None:
    """Replace every ``auto_functionalized_v2`` of a graph, in place.

    Raises:
        UnsupportedOpError: an operator that writes lists of tensors, or one base twice.
    """
    nodes = [node for node in graph_module.graph.nodes if node.target is _TARGET]
    for node in nodes:
        with graph_module.graph.inserting_before(node):
            _Expansion(node).run()
    if nodes:
        graph_module.recompile()


class _Expansion:
    """One call: what it writes, and the nodes that replace it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.graph = node.graph
        self.op: Any = node.args[0]
        self.kwargs = dict(node.kwargs)
        self.bases: list[Any] = list(self.kwargs.pop("_all_bases", []))  # type: ignore[call-overload]
        self.values: Any = node.meta["val"]

    def run(self) -> None:
        views = self._written_views()
        for name, view in views.items():
            self.kwargs[name] = None if view is None else self._copy_of(view)
        call = self._create(self.op, (), self.kwargs, self._result_value())
        for name, view in views.items():
            if view is not None:
                self._put_back(view, self.kwargs[name])
        returned = self._returned(call)
        for user in list(self.node.users):
            index: Any = user.args[1]
            user.replace_all_uses_with(returned[index])
            self.graph.erase_node(user)
        self.graph.erase_node(self.node)

    def _written_views(self) -> dict[str, ViewInfo | None]:
        names, types = get_mutable_args(self.op)
        views: dict[str, Any] = read_view_information_from_args(
            names, types, self.kwargs, self.bases
        )
        written = [view.base_index for view in views.values() if isinstance(view, ViewInfo)]
        if any(isinstance(view, list) for view in views.values()):
            raise self._unsupported("it writes a list of tensors")
        if len(set(written)) != len(written):
            raise self._unsupported("two of its arguments are written in one storage")
        return views

    def _copy_of(self, view: ViewInfo) -> Node:
        base = self.bases[view.base_index]
        part = base
        if isinstance(view, SliceViewInfo):
            part = self._create(aten.slice.Tensor, (base, view.dim, view.start, view.end))
        elif isinstance(view, AsStridedViewInfo):
            place = (view.size, view.stride, view.storage_offset)
            part = self._create(aten.as_strided.default, (base, *place))
        return self._create(aten.clone.default, (part,))

    def _put_back(self, view: ViewInfo, written: Any) -> None:
        base = self.bases[view.base_index]
        if isinstance(view, SliceViewInfo):
            place = (view.dim, view.start, view.end)
            written = self._create(aten.slice_scatter.default, (base, written, *place))
        elif isinstance(view, AsStridedViewInfo):
            place = (view.size, view.stride, view.storage_offset)
            written = self._create(aten.as_strided_scatter.default, (base, written, *place))
        self.bases[view.base_index] = written

    def _returned(self, call: Node) -> list[Any]:
        """What ``getitem`` of the original gives: the operator's results, then the bases."""
        count = max(len(self.op._schema.returns), 1)
        if count == 1:
            return [call, *self.bases]
        results = [
            self._create(operator.getitem, (call, index), value=self.values[index])
            for index in range(count)
        ]
        return [*results, *self.bases]

    def _result_value(self) -> Any:
        returns = len(self.op._schema.returns)
        if returns == 0:
            return None
        return self.values[0] if returns == 1 else tuple(self.values[:returns])

    def _create(
        self, target: Any, args: tuple[Any, ...], kwargs: Any = None, value: Any = _COMPUTE
    ) -> Node:
        created = self.graph.call_function(target, args, kwargs or {})
        created.meta = {**self.node.meta, "val": value}
        if value is _COMPUTE:
            created.meta["val"] = target(*_fake_values(args))
        return created

    def _unsupported(self, why: str) -> UnsupportedOpError:
        return UnsupportedOpError(
            f"{self.op}: {why}",
            op=str(self.op),
            hint="give the operator one tensor argument per tensor that it writes, "
            "or a functional form",
        )


def _fake_values(args: Any) -> list[Any]:
    """Arguments of a call with nodes replaced by what they stand for."""
    return tree_map(lambda a: a.meta["val"] if isinstance(a, Node) else a, list(args))
