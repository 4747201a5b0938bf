"""The reader of CANN's operator prototypes: macros, types, defaults, errors, builders, a full
run."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchair
from torchair import ge
from torchair.dialects.ge import dtypes, registry
from torchair.dialects.ge.dialect import lookup_op
from torchair.errors import ArtifactError, ConfigError
from torchair.ir import element_types
from torchair.tools.reg_op import builders_text, operator_line, parse_header, registry_text
from torchair.tools.reg_op.__main__ import main
from torchair.tools.reg_op.comments import brief_of, parse_comment
from torchair.tools.reg_op.defaults import ElementType
from torchair.tools.reg_op.element_types import CLASSES
from torchair.tools.reg_op.prototypes import MACROS

LIBRARY = torch.library.Library("unit_reg_op", "DEF")


def one(chain: str, name: str = "Demo") -> Any:
    """The prototype of ``REG_OP(Demo)`` with these macros."""
    (prototype,) = parse_header(f"REG_OP({name})\n{chain}\n.OP_END_FACTORY_REG({name})", "demo.h")
    return prototype


def line_of(chain: str) -> str:
    """Registry line of a prototype without its family, which the registry's parser reads."""
    line = operator_line(one(chain))
    registry.parse_line(line, {})
    return line.removeprefix("demo | Demo")


def default_of(kind: str, text: str) -> Any:
    """The registry's value of a default."""
    prototype = one(f".ATTR(a, {kind}, {text})")
    return registry.parse_line(operator_line(prototype), {}).attrs["a"].default


def error_of(text: str) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        parse_header(text, "demo.h")
    return caught.value


# ---------------------------------------------------------------- ports and types


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (".INPUT(x, TensorType({DT_FLOAT}))", "(x: float32) -> ()"),
        (".OPTIONAL_INPUT(x, DT_INT32)", "(x?: int32) -> ()"),
        (".DYNAMIC_INPUT(x, TensorType::ALL())", "(x*: any) -> ()"),
        (".OUTPUT(y, TensorType(DT_BOOL))", "() -> (y: bool)"),
        (".OPTIONAL_OUTPUT(y, TensorType::FLOAT())", "() -> (y?: float32|float16|bfloat16)"),
        (".DYNAMIC_OUTPUT(y, ge::TensorType({ge::DT_INT8}))", "() -> (y*: int8)"),
        (".INPUT(x, TensorType({IndexNumberType(), DT_BOOL}))", "(x: int32|int64|bool) -> ()"),
        (".INPUT(x, TensorType{(DT_FLOAT, DT_FLOAT16)})", "(x: float32|float16) -> ()"),
        (".INPUT(x, TensorType({DT_INT8, DT_INT8,}))", "(x: int8) -> ()"),
        (".GRAPH(body).DYNAMIC_GRAPH(branches)", "() -> () [body, branches*]"),
        ('.INPUT(x, "T").OUTPUT(y, "T")', "(x: any as T) -> (y: any as T)"),
        ('.INPUT(x, "T").DATATYPE(T, DT_INT8)', "(x: int8) -> ()"),
        (
            '.INPUT(a, "T").INPUT(b, "T_1").OUTPUT(a, "T").DATATYPE(T, TensorType({DT_INT8}))'
            ".DATATYPE(T_1, TensorType::IndexNumberType())",
            "(a: int8 as T, b: int32|int64) -> (a: int8 as T)",
        ),
        (
            '.DYNAMIC_INPUT(x, "T").DYNAMIC_OUTPUT(y, "T")'
            ".DATATYPE(T, ListTensorType(TensorType::IndexNumberType()))",
            "(x*: int32|int64) -> (y*: int32|int64)",
        ),
        (
            '.INPUT(a, "T1").INPUT(b, "T2").OUTPUT(y, "T3").DATATYPE(T1, TensorType({DT_INT8}))'
            '.DATATYPE(T2, TensorType({DT_FLOAT})).DATATYPE(T3, Promote({"T1", "T2"}))',
            "(a: int8, b: float32) -> (y: float32|int8 promotes a b)",
        ),
        (
            ".INPUT(x, TensorType::ALL()).OUTPUT(y, TensorType({DT_INT8, DT_BOOL}))"
            ".ATTR(to, Type, DT_INT8)",
            "(x: any) -> (y: int8|bool from to) {to: Type = int8}",
        ),
        (
            '.INPUT(x, TensorType::ALL()).OUTPUT(y, "to").REQUIRED_ATTR(to, Int)'
            ".DATATYPE(to, TensorType({DT_INT8, DT_BOOL}))",
            "(x: any) -> (y: int8|bool from to) {to: Int}",
        ),
    ],
)
def test_ports(chain: str, expected: str) -> None:
    assert line_of(chain) == expected


def test_classes_of_element_types_are_those_of_types_h() -> None:
    known = {t.name for t in dtypes.DATA_TYPES}
    assert all(members <= known for members in CLASSES.values())
    assert len(CLASSES["NumberType"]) == 18
    assert len(CLASSES["BasicType"]) == 20
    assert len(CLASSES["OrdinaryType"]) == 16
    assert len(CLASSES["RealNumberType"]) == 12
    assert CLASSES["FloatingDataType"] == {"float16", "float32", "float64"}


# ---------------------------------------------------------------- attributes


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("Int", "3", 3),
        ("Int", "-0x10", -16),
        ("Int", "1'000'000LL", 1000000),
        ("Int", "010", 8),
        ("Int", "INT64_MAX", 2**63 - 1),
        ("Int", "static_cast<int64_t>(7)", 7),
        ("Int", "(2 + 3) * 4 - 10 / 3", 17),
        ("Int", "-7 / 2", -3),
        ("Int", "DT_BF16", 27),
        ("Int", "AttrValue::INT{5}", 5),
        ("Float", "1e-5f", 1e-5),
        ("Float", "1.f / 4", 0.25),
        ("Float", "-1", -1.0),
        ("Float", ".5", 0.5),
        ("Float", "FLT_MAX", 3.4028234663852886e38),
        ("Bool", "true", True),
        ("Bool", "0", False),
        ("String", '""', ""),
        ("String", r'"a\"b\\c\x41\101\n"', 'a"b\\cAA\n'),
        ("String", '"one " "two"', "one two"),
        ("String", 'R"(raw \\n)"', "raw \\n"),
        ("String", '"}, {) -> ("', "}, {) -> ("),
        ("String", '"\\u4e2d"', "中"),
        ("Type", "ge::DT_FLOAT16", "float16"),
        ("ListInt", "{}", ()),
        ("ListInt", "{-1, 1,}", (-1, 1)),
        ("ListInt", "ge::UNKNOWN_RANK", (-2,)),
        ("ListInt", "{DT_INT8, 5}", (2, 5)),
        ("ListFloat", "{1, 0.5}", (1.0, 0.5)),
        ("ListBool", "{true, false}", (True, False)),
        ("ListString", '{"a", "b"}', ("a", "b")),
        ("ListType", "{DT_INT8, DT_BF16}", ("int8", "bfloat16")),
        ("ListListInt", "{{}}", ((),)),
        ("ListListInt", "{{1, 2}, {}}", ((1, 2), ())),
        ("ListListFloat", "{}", ()),
        ("Tensor", "Tensor()", None),
        ("AttrValue::LIST_INT", "AttrValue::LIST_INT({1, 2})", (1, 2)),
        ("AttrValue::STR", '"x"', "x"),
    ],
)
def test_defaults(kind: str, text: str, expected: object) -> None:
    found = default_of(kind, text)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('.ATTR(a, AttrValue::STR { "DCR" })', '{a: String = "DCR"}'),
        (".ATTR(a, AttrValue::LIST_FLOAT ({}))", "{a: ListFloat = []}"),
        (".ATTR(a, AttrValue::BOOL{false})", "{a: Bool = false}"),
        (".REQUIRED_ATTR(a, AttrValue::LIST_LIST_INT)", "{a: ListListInt}"),
        (".REQUIRED_ATTR(a, ListType).REQUIRED_ATTR(b, Tensor)", "{a: ListType, b: Tensor}"),
    ],
)
def test_older_spellings(text: str, expected: str) -> None:
    assert line_of(text) == f"() -> () {expected}"


def test_default_of_a_list_of_types_becomes_types_of_the_ir() -> None:
    ge.define_operator('RegOpTypes() -> (y: any) {t: ListType = ["int8", "bfloat16"]}')
    cls = lookup_op("RegOpTypes")
    assert cls is not None
    default = cls.schema.parameters[0].default
    assert [element_types.to_name(t) for t in default] == ["int8", "bfloat16"]  # type: ignore


# ---------------------------------------------------------------- the text around the macros

NOISE = r"""
#ifndef DEMO_H_  // REG_OP(NotMe)
#define REG_OP(x) \
    class x; REG_OP(NorMe
#include "graph/operator_reg.h"
namespace ge {
const char* const TEXT = "REG_OP(InAString)";
/* REG_OP(InAComment) */
#if 0
REG_OP(Disabled) .NONSENSE(
#else
REG_OP(First).INPUT(x, TensorType({DT_FLOAT /* , DT_INT8 */,
                                   DT_BF16  // , DT_INT16
                                  })).OP_END_FACTORY_REG(First) REG_CUST_OP(Second)
    . ATTR ( n , Int , 1 ) . CUST_OP_END_FACTORY_REG ( Second ) ;
#endif
REG_OP(Third)
    .OP_END()
} // namespace ge
#endif
"""


def test_everything_but_prototypes_is_passed_over() -> None:
    found = parse_header(NOISE, "dir/nn-extra.ops.h")
    assert [operator_line(p) for p in found] == [
        "nn_extra_ops | First(x: float32|bfloat16) -> ()",
        "nn_extra_ops | Second() -> () {n: Int = 1}",
        "nn_extra_ops | Third() -> ()",
    ]
    assert [p.place.line for p in found] == [12, 14, 17]


COMMENT = r"""/**
*@brief Scales the rows of "x". \n
* A row is the last dimension. \n

*@par Inputs:
*@li x: A tensor, one of: float16,
*   float32.
*@li bias: Optional.
*@par Outputs:
* y: A tensor like "x".
*@attention Constraints:
* The rank is at least 1.
*/"""


def test_comments_become_text() -> None:
    assert brief_of(COMMENT) == 'Scales the rows of "x".'
    doc = parse_comment(COMMENT, frozenset(("x", "bias", "y")))
    assert doc.items == {
        "x": "A tensor, one of: float16, float32.",
        "bias": "Optional.",
        "y": 'A tensor like "x".',
    }
    assert doc.notes == [("attention", ["Constraints:", "The rank is at least 1."])]
    assert brief_of("/// One line.\n/// Another.") == "One line."
    assert brief_of("") == ""


def test_comment_stays_with_its_operator() -> None:
    text = f"{COMMENT}\nREG_OP(A).OP_END()\nREG_OP(B).OP_END()"
    first, second = parse_header(text, "demo.h")
    assert brief_of(first.doc) and not second.doc
    assert registry_text([first, second]).splitlines()[1:] == [
        '# Scales the rows of "x".',
        "demo | A() -> ()",
        "demo | B() -> ()",
    ]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("REG_OP", "demo.h:1:7", ["REG_OP is malformed", "'('"]),
        ("REG_OP(A)", "demo.h:1:10", ["REG_OP(A) is not finished", ".OP_END_FACTORY_REG"]),
        ("REG_OP(A)\n .INPT(x)", "demo.h:2:3", ["unknown macro", "INPT", "Try: INPUT"]),
        ("REG_OP(A)\n .INPUT(x)", "demo.h:2:10", ["INPUT of REG_OP(A)", "','"]),
        ("REG_OP(A).INPUT(x, DT_FLOT)", "demo.h:1:20", ["unknown data type", "DT_FLOAT"]),
        (
            "REG_OP(A).INPUT(x, TensorType::RealNumber())",
            "demo.h:1:32",
            ["INPUT of REG_OP(A)", "RealNumberType"],
        ),
        ("REG_OP(A).INPUT(x, TensorType({}))", "demo.h:1:33", ["lists no data type"]),
        ("REG_OP(A).INPUT(x, DT_BOOL).INPUT(x, DT_BOOL)", "demo.h:1:29", ["two inputs"]),
        ("REG_OP(A).ATTR(n, Integer, 1)", "demo.h:1:19", ["ATTR of REG_OP(A)", "Integer"]),
        ("REG_OP(A).ATTR(n, Int)", "demo.h:1:22", ["ATTR of REG_OP(A)", "','"]),
        ("REG_OP(A).ATTR(n, Int, kCount)", "demo.h:1:24", ["kCount", "write the value"]),
        ("REG_OP(A).ATTR(n, Int, 1.5)", "demo.h:1:24", ["not of type Int"]),
        ("REG_OP(A).ATTR(n, Int, 1 / 0)", "demo.h:1:29", ["without a value"]),
        ("REG_OP(A).ATTR(n, ListInt, {1, {2, 3}})", "demo.h:1:28", ["not of type ListInt"]),
        ("REG_OP(A).ATTR(n, Float, 1e999)", "demo.h:1:26", ["not of type Float"]),
        ('REG_OP(A).INPUT(x, "T 1")', "demo.h:1:20", ["names no data type"]),
        ("REG_OP(A).OP_END_FACTORY_REG(B)", "demo.h:1:30", ["names another operator", "A", "B"]),
        ("x = 1; /* open", "demo.h:1:8", ["comment is not closed"]),
        ('x = "open\n', "demo.h:1:5", ["string is not closed"]),
        ("REG_OP(A).ATTR(n, Int, " + "(" * 40, "demo.h:1:41", ["nested too deeply"]),
        ("REG_OP(A).INPUT(n, " + "{" * 40, "demo.h:1:37", ["nested too deeply"]),
    ],
)
def test_malformed_headers_are_refused_at_their_place(
    text: str, place: str, words: list[str]
) -> None:
    error = error_of(text)
    assert error.loc == place
    assert all(word in str(error) for word in words), str(error)


def test_two_different_prototypes_of_one_name_are_refused() -> None:
    same = parse_header("REG_OP(A).OP_END() REG_OP(A).OP_END()", "a.h")
    assert registry_text(same).count("A()") == 1
    other = parse_header("\nREG_OP(A).GRAPH(g).OP_END()", "b.h")
    with pytest.raises(ArtifactError, match="declared twice") as caught:
        registry_text([*same, *other])
    assert "a.h:1:1" in str(caught.value) and caught.value.loc == "b.h:2:1"


words = st.sampled_from(
    [
        *MACROS, "REG_OP", "(", ")", "{", "}", ",", ".", "::", "A", "x", '"T"', "T", "TensorType",
        "ALL()", "DT_INT8", "Int", "ListInt", "ListListInt", "String", "1", "-", "/", "0", "1e400",
        "Promote", "/*", "*/", "//", "\n", "#if 0\n", "#endif\n", '"', "'", "\\", "R\"(", "<",
        "9" * 90, "ListTensorType", "static_cast", "Tensor", "true", "AttrValue", "\x00", "é",
        "/**", "@li x:",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(words, max_size=40))
def test_parser_raises_nothing_but_artifact_errors(parts: list[str]) -> None:
    check_fuzzed("REG_OP(A)" + "".join(parts))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_headers_raise_nothing_but_artifact_errors(data: st.DataObject) -> None:
    text = f"{COMMENT}\n{NOISE}" + 'REG_OP(D).INPUT(x, "T").ATTR(s, String, "a").OP_END()'
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 12))
    check_fuzzed(text[:at] + data.draw(st.text(max_size=4)) + text[at + cut :])


@pytest.mark.parametrize(
    "text", ["a\x00b", 'quotes """ and "', "back\\", "\\N{x} %s {y}", "\u2028 \x85"]
)
def test_any_comment_makes_a_docstring(text: str) -> None:
    check_fuzzed(f"/** {text} */ REG_OP(A).INPUT(x, DT_INT8).OP_END()")


def check_fuzzed(text: str) -> None:
    """What is accepted is written, read back and makes a module that Python compiles."""
    try:
        found = parse_header(text, "demo.h")
        written = registry_text(found)
    except ArtifactError:
        return
    index = registry.index_text(written)
    for line in index.lines.values():
        assert registry.parse_line(line, index.sets).name in index.lines
    ast.parse(builders_text(found, "demo.txt"))


# ---------------------------------------------------------------- files

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
