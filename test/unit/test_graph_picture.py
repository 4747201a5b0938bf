"""Pictures: well-formed SVG with every node, a layout without overlaps, readable words."""

from __future__ import annotations

import random
import time
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import SSAValue

from torchair.backend_ge.graph_layout import NODE_GAP, Layout, assign_layers, place
from torchair.backend_ge.graph_picture import graph_svg, type_text, write_picture
from torchair.dialects import aten
from torchair.dialects.ge import builder as ge
from torchair.errors import VerifyError
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.conversion import build_function
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import file_location, named_location
from torchair.ir.private import append_op

SVG = "{http://www.w3.org/2000/svg}"
TYPE = interned.tensor([64, 128], interned.f16)


def residual_module(layers: int, name: str = "x") -> ModuleOp:
    """Chains with skip connections, like a stack of transformer blocks."""
    entry = DictionaryAttr({"torchair.name": StringAttr(name)})
    function, block = build_function("forward", [TYPE, TYPE], [TYPE], [entry, entry])
    builder = ge.GraphBuilder(block)
    with ge.building(builder):
        value: SSAValue = block.args[0]
        for layer in range(layers):
            builder.location = named_location(f"mm_{layer}", file_location("a<b>.py", layer))
            y = ge.call("MatMulV2", value, block.args[1], transpose_x2=True, out=TYPE)
            z = ge.call("Mul", y, 0.5, out=TYPE)
            z = ge.call("Add", ge.call("Swish", z, out=TYPE), y, out=TYPE)
            value = ge.call("Add", z, value, out=TYPE)
        builder.append("NetOutput", [[value]], [])
    return ModuleOp([function])


def nodes_of(svg: str) -> list[ET.Element]:
    return [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "node"]


def texts(node: ET.Element) -> list[str]:
    return [t.text or "" for t in node.iter(f"{SVG}text")]


def test_every_operation_is_a_node_and_constants_are_rows() -> None:
    nodes = nodes_of(graph_svg(residual_module(2)))
    titles = [texts(node)[0] for node in nodes]
    assert titles == [
        "input",
        "input",
        *["MatMulV2", "Mul", "Swish", "Add", "Add"] * 2,
        "NetOutput",
    ]
    mul = next(node for node in nodes if node.get("data-name") == "Mul_1")
    assert texts(mul) == ["Mul", "Mul_1", "float16[64, 128]", "x2 = 0.5"]


def test_tooltips_have_attributes_and_the_source_line() -> None:
    node = nodes_of(graph_svg(residual_module(2)))[7]
    title = node.find(f"{SVG}title")
    assert title is not None and title.text is not None
    lines = title.text.splitlines()
    assert lines[:3] == ["MatMulV2_1 (ge.MatMulV2)", "from mm_1", "at a<b>.py:1"]
    assert "x1: float16[64, 128]" in lines
    assert "transpose_x2 = true" in lines


def test_families_have_colours_and_a_legend() -> None:
    root = ET.fromstring(graph_svg(residual_module(1)))
    shown = [t.text for t in root.findall(f"{SVG}text")]
    assert shown == ["input", "matrix product", "element-wise", "activation", "output"]
    fills = {
        texts(node)[0]: node.find(f"{SVG}rect") for node in nodes_of(graph_svg(residual_module(1)))
    }
    colours = {name: rect.get("fill") for name, rect in fills.items() if rect is not None}
    assert colours["MatMulV2"] != colours["Add"] != colours["input"]


def test_far_values_are_rows_not_lines() -> None:
    nodes = nodes_of(graph_svg(residual_module(40, name="weights")))
    last = next(node for node in nodes if node.get("data-name") == "MatMulV2_39")
    assert "from weights_1" in texts(last)
    first = next(node for node in nodes if node.get("data-name") == "MatMulV2")
    assert not any(text.startswith("from") for text in texts(first))


def test_control_edges_are_marked() -> None:
    function, block = build_function("f", [TYPE], [TYPE])
    builder = ge.GraphBuilder(block)
    _, control = builder.append("Abs", [block.args[0]], [TYPE, control_type])
    (right,) = builder.append("Neg", [block.args[0]], [TYPE], controls=[control])
    builder.append("NetOutput", [[right]], [])
    paths = ET.fromstring(graph_svg(ModuleOp([function]))).iter(f"{SVG}path")
    assert sorted(p.get("class") or "" for p in paths if p.get("class")) == [
        "control",
        "data",
        "data",
        "data",
    ]


def test_hostile_names_stay_text() -> None:
    svg = graph_svg(residual_module(1, name='<script>"&\0\x1b' + "n" * 500))
    root = ET.fromstring(svg)
    assert not list(root.iter(f"{SVG}script"))
    assert nodes_of(svg)[0].get("data-name", "").startswith('<script>"&\ufffd\ufffdnn')
    assert max(len(text) for text in texts(nodes_of(svg)[0])) <= 44


def test_aten_modules_have_pictures_too() -> None:
    function, block = build_function("f", [TYPE], [TYPE])
    cls = aten.lookup("aten.relu")
    assert cls is not None
    op = cls.build_call([block.args[0]], [TYPE])
    append_op(block, op)
    append_op(block, ReturnOp(op.results[0]))
    titles = [texts(node)[0] for node in nodes_of(graph_svg(ModuleOp([function])))]
    assert titles == ["input", "aten.relu", "func.return"]


def test_a_picture_needs_one_function() -> None:
    with pytest.raises(VerifyError, match="one function"):
        graph_svg(ModuleOp([]))


def test_write_picture(tmp_path: Path) -> None:
    path = tmp_path / "graph.svg"
    write_picture(residual_module(1), path)
    assert path.read_text("utf-8") == graph_svg(residual_module(1))
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (TYPE, "float16[64, 128]"),
        (interned.tensor([DYNAMIC, 4], interned.f32, ["s0", "4"]), "float32[s0, 4]"),
        (interned.tensor([DYNAMIC], interned.i64), "int64[?]"),
        (interned.tensor([], interned.i1), "bool[]"),
        (interned.unranked(interned.bf16), "bfloat16[...]"),
        (interned.i64, "int64"),
        (control_type, "control"),
    ],
)
def test_type_text(type_: object, text: str) -> None:
    assert type_text(type_) == text  # pyright: ignore[reportArgumentType]


def test_a_large_graph_is_drawn_in_seconds() -> None:
    start = time.monotonic()
    svg = graph_svg(residual_module(400))
    assert len(nodes_of(svg)) == 2003
    assert time.monotonic() - start < 20


# ---------------------------------------------------------------- layout


def random_graph(seed: int, count: int) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    edges = {
        (rng.randrange(max(0, target - 6), target), target)
        for target in range(1, count)
        for _ in range(rng.randrange(3))
    }
    return sorted(edges)


def drawn(seed: int, count: int) -> tuple[Layout, list[tuple[float, float]], list[int]]:
    rng = random.Random(seed)
    sizes = [(rng.uniform(20, 200), rng.uniform(20, 80)) for _ in range(count)]
    edges = random_graph(seed, count)
    layers = assign_layers(count, edges)
    return place(sizes, edges, layers), sizes, layers


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_nodes_do_not_overlap_and_edges_go_down(seed: int, count: int) -> None:
    layout, sizes, layers = drawn(seed, count)
    rows: dict[int, list[int]] = {}
    for node, layer in enumerate(layers):
        rows.setdefault(layer, []).append(node)
    for row in rows.values():
        row.sort(key=lambda node: layout.centers[node][0])
        for left, right in pairwise(row):
            gap = layout.centers[right][0] - layout.centers[left][0]
            assert gap >= (sizes[left][0] + sizes[right][0]) / 2 + NODE_GAP - 1e-6
    for route in layout.routes:
        assert all(a[1] <= b[1] + 1e-6 for a, b in pairwise(route))
    for (x, y), (width, height) in zip(layout.centers, sizes, strict=True):
        assert x - width / 2 >= -1e-6 and x + width / 2 <= layout.width + 1e-6
        assert y + height <= layout.height + 1e-6


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_edges_lead_to_later_layers(seed: int, count: int) -> None:
    edges = random_graph(seed, count)
    layers = assign_layers(count, edges)
    assert all(layers[source] < layers[target] for source, target in edges)
    assert min(layers) >= 0


def test_two_crossed_pairs_are_uncrossed() -> None:
    edges = [(0, 3), (1, 2)]
    layout = place([(50.0, 20.0)] * 4, edges, [0, 0, 1, 1])
    left, right = (
        layout.centers[0][0] < layout.centers[1][0],
        layout.centers[3][0] < layout.centers[2][0],
    )
    assert left == right


def test_a_chain_is_straight() -> None:
    edges = [(i, i + 1) for i in range(9)]
    layout = place([(10.0 * (i + 1), 20.0) for i in range(10)], edges, list(range(10)))
    assert len({round(x, 3) for x, _ in layout.centers}) == 1
