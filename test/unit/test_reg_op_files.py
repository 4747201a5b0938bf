"""Header files to registry files, builders and compiled models."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from reg_op_text import one

import torchair
from torchair import ge
from torchair.dialects.ge import dtypes, registry
from torchair.dialects.ge.dialect import lookup_op
from torchair.errors import ArtifactError, ConfigError
from torchair.tools.reg_op import operator_line, parse_header
from torchair.tools.reg_op.__main__ import main
from torchair.tools.reg_op.defaults import ElementType

LIBRARY = torch.library.Library("unit_reg_op", "DEF")


HEADER = r"""
namespace ge {
/**
* @brief Scales a tensor and shifts it. \n
* @par Inputs:
* x: The tensor.
* @par Attributes:
* scale: The factor.
*/
REG_OP(RegOpScale)
    .INPUT(x, "T")
    .OPTIONAL_INPUT(shift, "T")
    .OUTPUT(y, "T")
    .DATATYPE(T, TensorType({DT_FLOAT, DT_FLOAT16}))
    .REQUIRED_ATTR(scale, Float)
    .ATTR(lambda, Int, 2)
    .OP_END_FACTORY_REG(RegOpScale)

REG_OP(RegOpNames).INPUT(x, DT_INT8).INPUT(ge, DT_INT8).OUTPUT(y, DT_INT8).ATTR(x, ListInt, {1})
    .OP_END_FACTORY_REG(RegOpNames)

REG_OP(RegOpParts)
    .DYNAMIC_INPUT(parts, TensorType::FLOAT())
    .DYNAMIC_OUTPUT(y, TensorType::FLOAT())
    .OUTPUT(total, TensorType({DT_FLOAT}))
    .OP_END_FACTORY_REG(RegOpParts)

REG_OP(RegOpLoop).DYNAMIC_INPUT(input, TensorType::ALL()).GRAPH(body).OP_END_FACTORY_REG(RegOpLoop)
}
"""


def write_header(folder: Path, text: str = HEADER) -> Path:
    path = folder / "reg_op_demo_ops.h"
    path.write_text(text, encoding="utf-8")
    return path


def load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_header_to_compiled_model(tmp_path: Path) -> None:
    header = write_header(tmp_path)
    made, table = tmp_path / "made.py", tmp_path / "made.txt"
    assert main([str(header), "-o", str(table), "--builders", str(made)]) == 0
    builders = load_module(made)
    assert "RegOpLoop has subgraphs" in made.read_text()
    assert "The factor." in builders.RegOpScale.__doc__
    parameters = inspect.signature(builders.RegOpNames).parameters
    assert [*parameters] == ["x", "ge_", "x_changed_as_duplicate_with_input", "node_name"]
    assert parameters["x_changed_as_duplicate_with_input"].default == (1,)

    @ge.register_host_kernel("RegOpScale")
    def kernel(x: Any, shift: Any = None, scale: float = 1.0, **rest: Any) -> Any:
        return x * scale if shift is None else x * scale + shift

    @ge.register_host_kernel("RegOpParts")
    def parts_kernel(parts: list[Any]) -> Any:
        return *(p + 1 for p in parts), sum(p.sum() for p in parts)

    LIBRARY.define("scale_parts(Tensor a, Tensor b) -> (Tensor, Tensor)")
    eager = lambda a, b: (a * 3.0 + 1 + b, a.sum() + b.sum())  # noqa: E731
    LIBRARY.impl("scale_parts", eager, "CPU")
    torch.library.register_fake("unit_reg_op::scale_parts", eager, lib=LIBRARY)

    @torchair.register_fx_node_ge_converter(torch.ops.unit_reg_op.scale_parts.default)
    def convert(a: Any, b: Any) -> Any:
        (_, second), total = builders.RegOpParts([a, b], size_of_y=2)
        scaled = builders.RegOpScale(a, second, scale=3.0, node_name="scaled")
        return [scaled, total]

    def model(a: torch.Tensor, b: torch.Tensor) -> Any:
        return torch.ops.unit_reg_op.scale_parts(a, b)

    compiled = torch.compile(model, backend=torchair.get_npu_backend(), fullgraph=True)
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    for found, wanted in zip(compiled(a, b), model(a, b), strict=True):
        torch.testing.assert_close(found, wanted)


def test_only_new_operators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "REG_OP(Relu).OP_END() REG_OP(RegOpNew).OP_END()"
    assert main([str(write_header(tmp_path, text)), "--new"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] != "#"] == ["reg_op_demo_ops | RegOpNew() -> ()"]


def test_command_reports_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.h")]) == 1
    assert "none.h cannot be read" in capsys.readouterr().err
    header = write_header(tmp_path, "REG_OP(A)\n  .INPUT(x, DT_NONE)")
    assert main([str(header)]) == 1
    shown = capsys.readouterr().err
    assert f"{header}:2:13" in shown and "INPUT of REG_OP(A)" in shown
    header.write_bytes(b"\xef\xbb\xbf// \xb2\xe2\xca\xd4\r\nREG_OP(A)\r\n.OP_END()\r\n")
    assert main([str(header)]) == 0


def test_loading_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ops.txt"
    path.write_text("a | RegOpOne() -> (y: int8)\na | Relu(z: int8) -> (y: int8)\n")
    with pytest.raises(ConfigError, match="'Relu' has another signature"):
        ge.load_operators(path)
    assert registry.lookup("RegOpOne") is None
    path.write_text("set T = int8 bool\na | RegOpOne(x: T) -> (y: T)\n")
    assert ge.load_operators(path) == ["RegOpOne"]
    assert ge.load_operators(path) == ["RegOpOne"]
    path.write_text("a | RegOpOne(x: int8) -> (y: int8)\n")
    with pytest.raises(ConfigError, match="replace=True"):
        ge.load_operators(path)
    assert ge.load_operators(path, replace=True) == ["RegOpOne"]
    cls = lookup_op("RegOpOne")
    assert cls is not None and cls.spec.inputs[0].dtypes == {"int8"}


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "a | X(x: floot) -> ()",
        "a | X() -> () {a: Int = }",
        "a | X() -> () {a: Type = float99}",
        'a | X() -> () {a: Int = "x"}',
        "a | X() -> () {a: ListInt = [1, [2]]}",
        "a | X() -> () {a: Float = true}",
        "a | X() -> (y: any promotes a b)",
        "a | X() -> ()\na | X() -> ()",
        "\udce4",
    ],
)
def test_what_is_no_registry_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ops.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match=r"ops\.txt"):
        ge.load_operators(path)


def test_every_known_operator_survives_the_way_through_a_header() -> None:
    """The registry written as prototypes and read back is the registry."""
    names = [name for name in registry.op_names() if registry.lookup(name) is not None]
    text = "\n".join(as_header(registry.lookup(name)) for name in names)
    found = parse_header(text, "all.h")
    assert [p.name for p in found] == names
    for prototype in found:
        known, read = registry.lookup(prototype.name), operator_line(prototype)
        spec = registry.parse_line(read, {})
        assert known is not None
        assert (spec.inputs, spec.outputs, spec.subgraphs) == (
            known.inputs,
            known.outputs,
            known.subgraphs,
        )
        assert dict(spec.attrs) == dict(known.attrs), read


def as_header(spec: Any) -> str:
    """One operator in CANN's notation."""
    prefix = {"required": "", "optional": "OPTIONAL_", "dynamic": "DYNAMIC_"}
    lines = [f"REG_OP({spec.name})"]
    for word, ports in (("INPUT", spec.inputs), ("OUTPUT", spec.outputs)):
        for port in ports:
            symbols = ", ".join(dtypes.BY_NAME[name].symbol for name in sorted(port.dtypes))
            types = f"TensorType({{{symbols}}})" if symbols else "TensorType::ALL()"
            lines.append(f"    .{prefix[port.kind]}{word}({port.name}, {types})")
    for attr in spec.attrs.values():
        if attr.required:
            lines.append(f"    .REQUIRED_ATTR({attr.name}, {attr.type})")
        else:
            lines.append(f"    .ATTR({attr.name}, {attr.type}, {as_cpp(attr.type, attr.default)})")
    for graph in spec.subgraphs:
        lines.append(f"    .{prefix[graph.kind]}GRAPH({graph.name})")
    return "\n".join([*lines, f"    .OP_END_FACTORY_REG({spec.name})", ""])


def as_cpp(kind: str, value: Any) -> str:
    if value is None:
        return "Tensor()"
    if isinstance(value, tuple):
        item = kind.removeprefix("List")
        return "{" + ", ".join(as_cpp(item, v) for v in value) + "}"
    if kind == "Type":
        return dtypes.BY_NAME[value].symbol
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def test_no_torch(tmp_path: Path) -> None:
    header = write_header(tmp_path)
    code = (
        "import sys; from torchair.tools.reg_op.__main__ import main; "
        f"assert main([{str(header)!r}]) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_element_type_values_are_compared_by_name() -> None:
    assert one(".ATTR(a, Type, DT_INT8)").attrs[0].default == ElementType("int8")
