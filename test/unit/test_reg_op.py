"""The reader of CANN's operator prototypes: macros, types, defaults, errors, builders, a full
run."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reg_op_text import one

from torchair import ge
from torchair.dialects.ge import dtypes, registry
from torchair.dialects.ge.dialect import lookup_op
from torchair.errors import ArtifactError
from torchair.ir import element_types
from torchair.tools.reg_op import builders_text, operator_line, parse_header, registry_text
from torchair.tools.reg_op.comments import brief_of, parse_comment
from torchair.tools.reg_op.element_types import CLASSES
from torchair.tools.reg_op.prototypes import MACROS


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
