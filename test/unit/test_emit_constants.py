"""Constants and weights of emitted graphs, inline and in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from emit_graphs import F32, MATRIX, Graph, assert_same, handle_of, nodes_of, round_trip
from xdsl.dialects.builtin import (
    ModuleOp,
)
from xdsl.ir import Attribute

from torchair.backend_ge import proto
from torchair.backend_ge.constants import PROTOBUF_LIMIT
from torchair.backend_ge.emit import emit, serialize
from torchair.dialects.ge import builder as ge
from torchair.errors import ArtifactError, VerifyError
from torchair.ir import element_types, interned
from torchair.ir.weights import WeightAttr, WeightHandle

CONSTANTS = [
    ([1.5, -2.0], interned.f32, [2], b"\0\0\xc0\x3f\0\0\0\xc0", "[1.5, -2.0]"),
    ([1, 0, 1], interned.i1, [3], b"\1\0\1", "[True, False, True]"),
    ([3], interned.i64, [], b"\3\0\0\0\0\0\0\0", "3"),
    ([1.0], interned.bf16, [1, 1], b"\x80\x3f", "[1.0]"),
    ([], interned.f32, [0], b"", None),
    ([1, -2, 3], element_types.from_name("int4"), [3], b"\xe1\3", "[1, -2, 3]"),
    ([255], interned.ui8, [1], b"\xff", "[255]"),
]


@pytest.mark.parametrize(("values", "element", "shape", "data", "text"), CONSTANTS)
def test_constants(
    values: list[Any], element: Attribute, shape: list[int], data: bytes, text: str | None
) -> None:
    graph = Graph()
    module = graph.finish(graph.builder.constant_attribute(ge.dense(values, element, shape)))
    node = nodes_of(module)["Const"]
    assert node.attr["value"].t.data == data
    assert list(node.attr["value"].t.desc.shape.dim) == shape
    assert node.attr["value"].t.desc.layout == "ND"
    assert (node.attr["_readable_value"].s.decode() or None) == text
    assert_same(round_trip(module), module)


def weight_graph(read: Callable[[], bytes] | None, shape: Sequence[int] = (2, 2)) -> ModuleOp:
    graph = Graph()
    type_ = interned.tensor(shape, F32)
    handle = WeightAttr(WeightHandle("layer.w", 16, read))
    return graph.finish(graph.append("Const", [handle], [type_])[0])


def test_weights_inline() -> None:
    data = bytes(range(16))
    module = weight_graph(lambda: data)
    assert nodes_of(module)["Const"].attr["value"].t.data == data
    loaded = round_trip(module)
    assert_same(loaded, module)
    handle = handle_of(loaded)
    assert handle.nbytes == 16
    assert handle.read is not None and handle.read() == data


def test_weights_in_files(tmp_path: Path) -> None:
    data = bytes(range(16))
    module = weight_graph(lambda: data)
    node = nodes_of(module, weights="external", directory=tmp_path)["FileConstant"]
    assert list(node.attr["shape"].list.i) == [2, 2]
    assert node.attr["dtype"].dt == 0
    path = Path(node.attr["file_path"].s.decode())
    assert path.parent == tmp_path and path.read_bytes() == data
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    loaded = round_trip(module, weights="external", directory=tmp_path)
    assert_same(loaded, module)
    handle = handle_of(loaded)
    assert handle.read is not None and handle.read() == data
    path.write_bytes(data[:8])
    with pytest.raises(ArtifactError, match="is not the weight that the graph names"):
        handle.read()
    emit(module, weights="external", directory=tmp_path)
    assert handle.read() == data


def test_external_weights_need_a_directory(tmp_path: Path) -> None:
    module = weight_graph(lambda: bytes(16))
    with pytest.raises(VerifyError, match="need a directory"):
        emit(module, weights="external")
    with pytest.raises(ArtifactError, match="cannot write"):
        emit(module, weights="external", directory=tmp_path / "absent")


@pytest.mark.parametrize(
    ("read", "message"),
    [(None, "'layer.w' are not available"), (lambda: b"abc", "another size than its type")],
)
def test_weights_that_cannot_be_written(read: Callable[[], bytes] | None, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        emit(weight_graph(read))


def test_weights_over_the_protobuf_limit_are_refused_before_they_are_read() -> None:
    def read() -> bytes:
        raise AssertionError("a weight was read")

    module = weight_graph(read, shape=[1024, 1024, 513])
    with pytest.raises(ArtifactError) as caught:
        emit(module)
    text = str(caught.value)
    assert f"{1024 * 1024 * 513 * 4:,}" in text and "layer.w" in text
    assert f"{PROTOBUF_LIMIT:,}" in text and "FileConstant" in text


def test_serialize_measures_by_descriptors() -> None:
    model = proto.ModelDef(name="m")
    desc = model.graph.add().op.add(name="c", type="Const").attr["value"].t.desc
    desc.dtype = 1  # pyright: ignore[reportAttributeAccessIssue]
    desc.shape.dim.extend([1024, 1024, 512])
    with pytest.raises(ArtifactError, match="more than one protobuf message holds"):
        serialize(model)


def test_serialization_is_deterministic() -> None:
    graph = Graph(MATRIX)
    module = graph.finish(graph.call("Abs", graph.args[0], out=MATRIX))
    assert serialize(emit(module)) == serialize(emit(round_trip(module)))
