"""Damaged graphs and files are refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emit_graphs import MATRIX, Graph, edit_module, foreign, node

from torchair.backend_ge import proto
from torchair.backend_ge.emit import emit
from torchair.backend_ge.graph_text import graph_text, read_graph_file, write_graph_file
from torchair.backend_ge.load import load
from torchair.errors import ArtifactError
from torchair.ir import interned
from torchair.ir.location import file_location, named_location


def damage(edit: Callable[[proto.ModelDef], object]) -> str:
    """Message of the error that loading an edited graph raises."""
    graph = Graph(MATRIX, MATRIX)
    total = graph.call("Add", *graph.args, out=MATRIX)
    scaled = graph.call("Mul", total, 2.0, out=MATRIX)
    graph.call("Assign", graph.args[0], scaled, out=MATRIX)
    model = emit(graph.finish(total))
    edit(model)
    with pytest.raises(ArtifactError) as caught:
        load(model.SerializeToString(), "model.pb")
    assert str(caught.value).startswith("model.pb is not a GE graph: ")
    return str(caught.value)


def value_of(model: proto.ModelDef) -> proto.TensorDef:
    return node(model, "Const").attr["value"].t


def input_list(model: proto.ModelDef, which: str) -> proto.AttrDef.ListValue:
    return node(model, "Add").attr[f"_input_name_{which}"].list


def set_item(items: Any, value: object) -> None:
    items[0] = value


def set_json(model: proto.ModelDef, text: bytes) -> None:
    node(model, "Add").attr["_torchair_attributes"].s = text


DAMAGE: list[tuple[str, Callable[[proto.ModelDef], object]]] = [
    ("no graph", lambda m: m.graph.pop()),
    ("subgraphs", lambda m: m.graph.add(name="branch")),
    ("control flow", lambda m: node(m, "Add").subgraph_name.append("branch")),
    ("same name", lambda m: setattr(node(m, "Mul"), "name", "Add")),
    ("does not exist", lambda m: node(m, "Add").input.append("nobody:0")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:1")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:99999999999")),
    ("does not have", lambda m: set_item(node(m, "Mul").input, "Add:-2")),
    ("does not say which output", lambda m: set_item(node(m, "Mul").input, "Add")),
    ("not connected", lambda m: set_item(node(m, "Mul").input, "")),
    ("more inputs than input descriptors", lambda m: node(m, "Mul").input.append("Add:0")),
    ("has a cycle", lambda m: node(m, "Add").input.append("Mul:-1")),
    ("neither a NetOutput", lambda m: setattr(node(m, "NetOutput"), "type", "Identity")),
    ("input from NetOutput", lambda m: node(m, "Add").input.append("NetOutput:-1")),
    ("no integer 'index'", lambda m: node(m, "arg0").attr.pop("index")),
    ("negative index", lambda m: setattr(node(m, "arg0").attr["index"], "i", -1)),
    ("same index", lambda m: setattr(node(m, "arg0").attr["index"], "i", 1)),
    ("no descriptor", lambda m: (node(m, "arg0").ClearField("input_desc"),
                                 node(m, "Add").ClearField("input"),
                                 node(m, "arg0").ClearField("output_desc"))),
    ("has no value", lambda m: node(m, "Const").attr.pop("value")),
    ("other bytes than its type", lambda m: setattr(value_of(m), "data", b"1")),
    ("other bytes", lambda m: value_of(m).desc.shape.dim.extend([2**62, 2**62])),
    ("dimension of size -3", lambda m: node(m, "arg0").output_desc[0].shape.dim.append(-3)),
    ("33 dimensions", lambda m: node(m, "Add").output_desc[0].shape.dim.extend([1] * 31)),
    ("unknown data type", lambda m: setattr(node(m, "Add").output_desc[0], "dtype", 99)),
    ("more control edges", lambda m: setattr(node(m, "Add").attr["_torchair_order_edges"], "i", 4)),
    ("another number of outputs", lambda m: node(m, "Add").output_desc.add()),
    ("does not have", lambda m: node(m, "Add").output_desc.pop()),
    ("lists an input without", lambda m: set_item(input_list(m, "value").i, 7)),
    ("have one name", lambda m: set_item(input_list(m, "key").s, b"x2")),
    ("does not have", lambda m: set_item(input_list(m, "key").s, b"zz")),
    ("not UTF-8", lambda m: setattr(node(m, "Add").attr["_scope"], "s", b"\xff")),
    ("holds a Graph", lambda m: node(m, "Add").attr["_sub"].g.SetInParent()),
    ("is not JSON", lambda m: set_json(m, b"{")),
    ("is not JSON", lambda m: set_json(m, b"[" * 100_000)),
    ("describe an attribute", lambda m: set_json(m, b'{"a":{"int":["int8",300]}}')),
    ("another version", lambda m: edit_module(m, "version", 9)),
    ("distinct pairs", lambda m: m.graph[0].attr["_torchair_ref_outputs"].list.i.append(0)),
    ("does not exist", lambda m: set_item(m.graph[0].attr["_torchair_ref_outputs"].list.i, 9)),
    ("outputs than there are", lambda m: edit_module(m, "outputs", 7)),
]  # fmt: skip


@pytest.mark.parametrize(("message", "edit"), DAMAGE)
def test_damage_is_named(message: str, edit: Callable[[proto.ModelDef], object]) -> None:
    assert message in damage(edit)


def test_wrong_attribute_types_are_named() -> None:
    def edit(graph: proto.GraphDef) -> None:
        graph.op[2].attr["transpose_x2"].i = 1

    with pytest.raises(ArtifactError, match="'transpose_x2' has the wrong type") as caught:
        foreign(edit)
    assert "expected: Bool" in str(caught.value) and "found:    Int" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\0" * 100, bytes(range(256))])
def test_other_bytes_are_not_a_graph(data: bytes) -> None:
    with pytest.raises(ArtifactError):
        load(data)


def sample_model() -> proto.ModelDef:
    graph = Graph(MATRIX)
    graph.builder.location = named_location("h\u00e9-aten.mul", file_location("m.py", 1))
    value = graph.call("Mul", graph.args[0], float("inf"), out=MATRIX)
    value.owner.attributes["_scale"] = interned.floating(0.1, single=True)
    return emit(graph.finish(value))


@pytest.mark.parametrize("suffix", ["pb", "air", "pbtxt", "txt", "PBTXT"])
def test_graph_files_read_back(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"graph.{suffix}"
    write_graph_file(sample_model(), path)
    assert read_graph_file(path) == sample_model()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o600 == 0o600


@pytest.mark.parametrize("suffix", ["pb", "txt"])
def test_bare_graphs_are_models_of_their_name(suffix: str, tmp_path: Path) -> None:
    graph = sample_model().graph[0]
    path = tmp_path / f"graph.{suffix}"
    data = graph_text(graph).encode() if suffix == "txt" else graph.SerializeToString()
    path.write_bytes(data)
    assert read_graph_file(path) == sample_model()


def test_text_is_deterministic() -> None:
    assert graph_text(sample_model()) == graph_text(sample_model())


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("g.pbtxt", b'node {\n name: "a"\n op: "Add"\n}\n', "TensorFlow-like dump"),
        ("g.txt", b"\xff\xfe", "is not text"),
        ("g.txt", b'name: "m"', "holds no graph"),
        ("g.txt", b"graph { op { nmae: 1 } }", "not the protobuf text"),
        ("g.pb", b"", "neither a GE ModelDef nor a GraphDef"),
        ("g.pb", b"graph {}", "neither a GE ModelDef nor a GraphDef"),
        ("g.onnx", b"", "no suffix of a graph file"),
    ],
)
def test_files_that_are_no_graphs(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        read_graph_file(path)


def test_missing_and_irregular_files(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_graph_file(tmp_path / "absent.pb")
    (tmp_path / "folder.pb").mkdir()
    with pytest.raises(ArtifactError, match=r"cannot be read|not a regular file"):
        read_graph_file(tmp_path / "folder.pb")
    os.mkfifo(tmp_path / "pipe.pb")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_graph_file(tmp_path / "pipe.pb")
    with pytest.raises(ArtifactError, match="cannot write"):
        write_graph_file(sample_model(), tmp_path / "absent" / "graph.pb")
