"""Graphs for tests of emission, and what is compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects.builtin import (
    DictionaryAttr,
    ModuleOp,
    StringAttr,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, SSAValue

from torchair.backend_ge import graph_attrs, proto
from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.location import serialize as location_text
from torchair.ir.text import print_module
from torchair.ir.verify import verify_module
from torchair.ir.weights import WeightAttr, WeightHandle

F32 = interned.f32
MATRIX = interned.tensor([4, 4], F32)


class Graph:
    """A ge module under construction."""

    def __init__(self, *types: Attribute, **more: Attribute) -> None:
        names = [f"arg{i}" for i in range(len(types))] + list(more)
        entries = [
            DictionaryAttr(
                {
                    "torchair.name": StringAttr(name),
                    "torchair.kind": StringAttr("input"),
                    "torchair.index": interned.integer(2 * index),
                }
            )
            for index, name in enumerate(names)
        ]
        self.function, self.block = build_function("forward", [*types, *more.values()], [], entries)
        for name, argument in zip(names, self.block.args, strict=True):
            argument.name_hint = name
        self.builder = ge.GraphBuilder(self.block)

    @property
    def args(self) -> Sequence[SSAValue]:
        return self.block.args

    def call(self, name: str, *inputs: Any, out: Any = None, **named: Any) -> Any:
        with ge.building(self.builder):
            return ge.call(name, *inputs, out=out, **named)

    def append(
        self, name: str, values: Sequence[Any], types: Sequence[Attribute], **more: Any
    ) -> Any:
        return self.builder.append(name, values, types, **more)

    def finish(self, *outputs: SSAValue, controls: Sequence[SSAValue] = ()) -> ModuleOp:
        self.append("NetOutput", [list(outputs)], [], controls=controls)
        self.function.function_type = self.function.function_type.from_lists(
            [a.type for a in self.block.args], [v.type for v in outputs]
        )
        module = ModuleOp([self.function])
        verify_module(module)
        return module


def nodes_of(module: ModuleOp, **options: Any) -> dict[str, proto.OpDef]:
    return {node.name: node for node in emit(module, **options).graph[0].op}


def round_trip(module: ModuleOp, **options: Any) -> ModuleOp:
    loaded = load(serialize(emit(module, **options)))
    verify_module(loaded)
    return loaded


def function_of(module: ModuleOp) -> FuncOp:
    (function,) = module.ops
    assert isinstance(function, FuncOp)
    return function


def assert_same(left: ModuleOp, right: ModuleOp) -> None:
    """The modules are equal in structure, in what xDSL compares and in what it does not."""
    assert left.is_structurally_equivalent(right), f"{left}\n{right}"
    pairs = list(zip(left.walk(), right.walk(), strict=True))
    for one, other in pairs:
        assert location_text(one.location) == location_text(other.location)
        assert [r.name_hint for r in one.results] == [r.name_hint for r in other.results]
    one, other = function_of(left), function_of(right)
    assert one.arg_attrs == other.arg_attrs
    assert [a.name_hint for a in one.body.block.args] == [
        a.name_hint for a in other.body.block.args
    ]
    assert print_module(left) == print_module(right)


def names(node: proto.OpDef, key: str) -> list[str]:
    return [name.decode() for name in node.attr[key].list.s]


def handle_of(module: ModuleOp) -> WeightHandle:
    op = function_of(module).body.block.first_op
    assert op is not None
    value = op.properties["value"]
    assert isinstance(value, WeightAttr)
    return value.data


def foreign(text_edit: Callable[[proto.GraphDef], None]) -> ModuleOp:
    """The module of an emitted graph after all traces of our own writer are removed."""
    graph = Graph(MATRIX, MATRIX)
    product = graph.call("MatMulV2", *graph.args, transpose_x2=True, out=MATRIX)
    model = emit(graph.finish(graph.call("Add", product, graph.args[0], out=MATRIX)))
    proto_graph = model.graph[0]
    del proto_graph.attr[graph_attrs.MODULE]
    for node in proto_graph.op:
        for key in list(node.attr):
            if key.startswith("_torchair"):
                del node.attr[key]
    text_edit(proto_graph)
    loaded = load(model)
    verify_module(loaded)
    return loaded


def ops_of(module: ModuleOp) -> list[str]:
    return [op.name for op in function_of(module).body.block.ops]


def node(model: proto.ModelDef, name: str) -> proto.OpDef:
    return next(op for op in model.graph[0].op if op.name == name)


def edit_module(model: proto.ModelDef, key: str, value: object) -> None:
    attr = model.graph[0].attr["_torchair_module"]
    attr.s = json.dumps({**json.loads(attr.s), key: value}).encode()
