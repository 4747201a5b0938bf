"""Pictures of graphs: an SVG of a module, layered from inputs to outputs, that any browser shows.

Boxes carry type, name and result types, coloured by operator family. Constants, and values that
come from far above, are rows of the box that uses them. Tooltips have attributes and source lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from xml.sax.saxutils import escape, quoteattr

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from torchair.backend_ge.constants import readable, write_file
from torchair.backend_ge.emit import NodeNames
from torchair.backend_ge.graph_layout import Layout, assign_layers, place
from torchair.dialects.ge.dialect import GeOp
from torchair.errors import ConversionError, VerifyError
from torchair.ir import element_types, interned
from torchair.ir.call_verify import control_type
from torchair.ir.calls import CallOp
from torchair.ir.conversion import argument_attributes
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import name_of, source_of
from torchair.ir.private import iter_ops, operands_of
from torchair.ir.weights import WeightAttr

_CHARACTER: Final = 7.0
_LINE: Final = 15.0
_PADDING: Final = 8.0
_MARGIN: Final = 20.0
_LEGEND: Final = 34.0
_MOST_LAYERS: Final = 12
"""An edge over more layers is a row with the name of its source, not a line."""
_MOST_CHARACTERS: Final = 44
_MOST_ROWS: Final = 12

_FAMILIES: Final = (
    # Part of the registry's family name, what the legend says, colour.
    ("matrix", "matrix product", "#b9d4f7"),
    ("nn_calculation", "convolution", "#a9dcea"),
    ("fusion", "fused", "#f6c3c3"),
    ("norm", "normalisation", "#dccaf2"),
    ("reduc", "reduction", "#fbdcae"),
    ("nonlinear", "activation", "#c4ecc9"),
    ("elewise", "element-wise", "#d9f0cf"),
    ("math", "element-wise", "#d9f0cf"),
    ("selection", "selection", "#f3e7b0"),
    ("transformation", "data movement", "#e4e0d6"),
    ("split", "data movement", "#e4e0d6"),
    ("pad", "data movement", "#e4e0d6"),
    ("array", "data movement", "#e4e0d6"),
    ("quant", "quantisation", "#f5cfe6"),
    ("hcom", "communication", "#ffe08a"),
    ("random", "random", "#cfd6f5"),
    ("stateless", "random", "#cfd6f5"),
    ("state", "state", "#f1c7a4"),
)
_INPUT: Final = ("input", "#cfe8ff")
_OUTPUT: Final = ("output", "#c9c9d6")
_OTHER: Final = ("other", "#ececec")
_UNPRINTABLE: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True)
class _Box:
    """One drawn node.

    Args:
        title: type of the node.
        name: its name.
        group: what the legend calls its family, and the colour.
        types: text of the result types.
        rows: inputs that are not drawn as lines.
        tooltip: everything else.
    """

    title: str
    name: str
    group: tuple[str, str]
    types: str
    tooltip: str
    rows: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        named = [] if self.name in ("", self.title) else [self.name]
        rows = self.rows[:_MOST_ROWS]
        if len(self.rows) > _MOST_ROWS:
            rows.append(f"and {len(self.rows) - _MOST_ROWS} more")
        return [_cut(text) for text in (self.title, *named, self.types, *rows) if text]

    def size(self) -> tuple[float, float]:
        lines = self.lines()
        width = max(len(line) for line in lines) * _CHARACTER + 2 * _PADDING
        return width, len(lines) * _LINE + _PADDING


def graph_svg(module: ModuleOp) -> str:
    """SVG of a module's function.

    Args:
        module: one function of ge or aten operations.

    Raises:
        VerifyError: the module does not have one function.
    """
    functions = [op for op in module.ops if isinstance(op, FuncOp) and not op.is_declaration]
    if len(functions) != 1:
        raise VerifyError("a picture shows a module of one function", found=len(functions))
    return _Picture(functions[0]).draw()


def write_picture(module: ModuleOp, path: Path | str) -> None:
    """Write the SVG of a module; the file is complete or absent.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    write_file(Path(path), [graph_svg(module).encode("utf-8")])


def type_text(type_: Attribute) -> str:
    """Short text of a type: ``float16[64, s0, ?]``, ``float32[...]`` when the rank is unknown."""
    if type_ == control_type:
        return "control"
    try:
        element = element_types.to_name(interned.element_type(type_))
    except ConversionError:
        return str(type_)
    sizes = interned.shape_of(type_)
    if sizes is None:
        return element if type_ == interned.element_type(type_) else f"{element}[...]"
    symbols = _symbols(type_)
    shown = [
        (symbols[i] if symbols else "?") if size == DYNAMIC else str(size)
        for i, size in enumerate(sizes)
    ]
    return f"{element}[{', '.join(shown)}]"


def _symbols(type_: Attribute) -> list[str]:
    encoding: Any = getattr(type_, "encoding", None)
    items = getattr(encoding, "data", ())
    return [item.data for item in items if isinstance(item, StringAttr)]


class _Picture:
    def __init__(self, function: FuncOp) -> None:
        self.function = function
        self.boxes: list[_Box] = []
        self.makers: dict[SSAValue, int] = {}
        self.constants: dict[SSAValue, str] = {}
        self.edges: dict[tuple[int, int], bool] = {}
        """(source, target) -> whether it carries data."""
        self.names = NodeNames()

    def draw(self) -> str:
        block = self.function.body.block
        entries = argument_attributes(self.function)
        for index, argument in enumerate(block.args):
            name = entries[index].get("torchair.name")
            label = name.data if isinstance(name, StringAttr) else f"arg{index}"
            self._add_input(argument, self.names.reserve(label), entries[index])
        for op in iter_ops(block):
            constant = _constant_text(op)
            if constant is not None:
                self.constants[op.results[0]] = constant
            else:
                self._add_op(op)
        layers = assign_layers(len(self.boxes), list(self.edges))
        lines = {
            edge: is_data
            for edge, is_data in self.edges.items()
            if layers[edge[1]] - layers[edge[0]] <= _MOST_LAYERS
        }
        for source, target in self.edges:
            if (source, target) not in lines:
                self.boxes[target].rows.append(f"from {self.boxes[source].name}")
        layout = place([box.size() for box in self.boxes], list(lines), layers)
        return self._render(layout, lines)

    def _add_input(self, value: SSAValue, name: str, entry: dict[str, Attribute]) -> None:
        kind = entry.get("torchair.kind")
        title = kind.data if isinstance(kind, StringAttr) else "input"
        tooltip = "\n".join([name, *_attribute_lines(entry)])
        self.makers[value] = len(self.boxes)
        self.boxes.append(_Box(title, name, _INPUT, type_text(value.type), tooltip))

    def _add_op(self, op: Operation) -> None:
        title = op.name.removeprefix("ge.")
        explicit = op.attributes.get("ge.node_name")
        name = explicit.data if isinstance(explicit, StringAttr) else self.names.numbered(title)
        types = ", ".join(type_text(r.type) for r in op.results if r.type != control_type)
        target = len(self.boxes)
        box = _Box(title, name, _group(op), types, _tooltip(op, name))
        self.boxes.append(box)
        for result in op.results:
            self.makers[result] = target
        names = _operand_names(op)
        for index, value in enumerate(operands_of(op)):
            if value in self.constants:
                label = f"{names[index]} = " if index < len(names) else ""
                box.rows.append(label + self.constants[value])
            elif value in self.makers:
                edge = (self.makers[value], target)
                self.edges[edge] = self.edges.get(edge, False) or value.type != control_type

    # ------------------------------------------------------------ SVG

    def _render(self, layout: Layout, lines: dict[tuple[int, int], bool]) -> str:
        groups = list(dict.fromkeys(box.group for box in self.boxes))
        legend_width = sum(len(name) * _CHARACTER + 34 for name, _ in groups)
        width = max(layout.width, legend_width) + 2 * _MARGIN
        height = layout.height + _LEGEND + 2 * _MARGIN
        title = escape(_printable(self.function.sym_name.data))
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<title>{title}</title>",
            _STYLE,
            *_legend(groups),
            f'<g transform="translate({_MARGIN},{_MARGIN + _LEGEND})">',
        ]
        for route, is_data in zip(layout.routes, lines.values(), strict=True):
            parts.append(f'<path class="{"data" if is_data else "control"}" d="{_curve(route)}"/>')
        for box, (center, top) in zip(self.boxes, layout.centers, strict=True):
            parts += _box_parts(box, center, top)
        parts += ["</g>", "</svg>"]
        return "\n".join(parts) + "\n"


_STYLE: Final = """<style>
text { font: 11.5px monospace; fill: #222 }
.title { font-weight: bold }
.type { fill: #555 }
.node rect { stroke: #777 }
.node:hover rect { stroke: #000; stroke-width: 2 }
path { fill: none; stroke: #888; stroke-width: 1.2; marker-end: url(#arrow) }
.control { stroke-dasharray: 4 3; stroke: #b55 }
</style>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#888;stroke:none;marker-end:none"/></marker>\
</defs>
<rect width="100%" height="100%" fill="white"/>"""


def _legend(groups: list[tuple[str, str]]) -> list[str]:
    parts: list[str] = []
    x = _MARGIN
    for name, colour in groups:
        parts.append(
            f'<rect x="{x:.0f}" y="{_MARGIN}" width="12" height="12" fill="{colour}" '
            f'stroke="#777"/><text x="{x + 17:.0f}" y="{_MARGIN + 10}">{escape(name)}</text>'
        )
        x += len(name) * _CHARACTER + 34
    return parts


def _box_parts(box: _Box, center: float, top: float) -> list[str]:
    width, height = box.size()
    left = center - width / 2
    parts = [
        f'<g class="node" data-name={quoteattr(_printable(box.name))}>',
        f"<title>{escape(_printable(box.tooltip))}</title>",
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4" '
        f'fill="{box.group[1]}"/>',
    ]
    for index, line in enumerate(box.lines()):
        style = "title" if index == 0 else "type"
        y = top + _LINE * (index + 1)
        parts.append(
            f'<text class="{style}" x="{left + _PADDING:.1f}" y="{y:.1f}">{escape(line)}</text>'
        )
    return [*parts, "</g>"]


def _curve(points: list[tuple[float, float]]) -> str:
    """Vertical tangents at every point, so that lines leave and enter boxes straight."""
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for next_x, next_y in points[1:]:
        if next_x == x:
            parts.append(f"L{next_x:.1f} {next_y:.1f}")
        else:
            middle = (y + next_y) / 2
            parts.append(
                f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
            )
        x, y = next_x, next_y
    return "".join(parts)


# ---------------------------------------------------------------- words


def _group(op: Operation) -> tuple[str, str]:
    if op.name in ("ge.NetOutput", "func.return"):
        return _OUTPUT
    if op.name.startswith("ge.Hcom"):
        return "communication", "#ffe08a"
    family = op.spec.family if isinstance(op, GeOp) else ""
    for part, name, colour in _FAMILIES:
        if part in family:
            return name, colour
    return _OTHER


def _operand_names(op: Operation) -> list[str]:
    """Parameter name of each data operand."""
    if not isinstance(op, CallOp):
        return []
    try:
        counts = op.operand_counts()
    except VerifyException:
        return []
    return [p.name for p, n in zip(op.schema.parameters, counts, strict=True) for _ in range(n)]


def _constant_text(op: Operation) -> str | None:
    """Text of a constant that is drawn inside its users, None for every other operation."""
    if op.name not in ("ge.Const", "aten.constant") or not op.results:
        return None
    value = next(iter(op.properties.values()), None)
    if isinstance(value, WeightAttr):
        return f"{value.data.key}: {type_text(op.results[0].type)}"
    if isinstance(value, DenseIntOrFPElementsAttr):
        dense = cast("DenseIntOrFPElementsAttr[Any]", value)
        text = readable(dense) if dense.shape_is_complete or not dense.get_shape() else None
        return text or type_text(op.results[0].type)
    return type_text(op.results[0].type)


def _tooltip(op: Operation, name: str) -> str:
    lines = [f"{name} ({op.name})"]
    source = source_of(op.location)
    origin = name_of(op.location)
    if origin:
        lines.append(f"from {origin}")
    if source:
        lines.append(f"at {source}")
    names = _operand_names(op)
    for index, value in enumerate(operands_of(op)):
        label = names[index] if index < len(names) else "after"
        lines.append(f"{label}: {type_text(value.type)}")
    lines += [f"-> {type_text(result.type)}" for result in op.results]
    properties = {k: v for k, v in op.properties.items() if k != "operandSegmentSizes"}
    return "\n".join([*lines, *_attribute_lines(properties), *_attribute_lines(op.attributes)])


def _attribute_lines(attributes: dict[str, Attribute]) -> Iterable[str]:
    for key, value in attributes.items():
        if isinstance(value, DenseIntOrFPElementsAttr):
            continue
        yield f"{key} = {_cut(str(value), 120)}"


def _cut(text: str, longest: int = _MOST_CHARACTERS) -> str:
    text = _printable(text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _printable(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _UNPRINTABLE.sub("\ufffd", text)
