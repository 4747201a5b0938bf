"""The GE registry data, its parser, and the table of data types and formats."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from torchair.dialects.ge import dtypes, registry
from torchair.errors import ArtifactError

ROOT = Path(__file__).resolve().parent.parent.parent
ALL_SPECS = [spec for spec in map(registry.lookup, registry.op_names()) if spec is not None]
FLOATS = {"float16", "bfloat16", "float32"}

# name, proto value, ge::DataType value
DTYPE_NUMBERS = [
    ("DT_UNDEFINED", 0, 28),
    ("DT_FLOAT", 1, 0),
    ("DT_FLOAT16", 2, 1),
    ("DT_INT8", 3, 2),
    ("DT_UINT8", 4, 4),
    ("DT_INT16", 5, 6),
    ("DT_UINT16", 6, 7),
    ("DT_INT32", 7, 3),
    ("DT_INT64", 8, 9),
    ("DT_UINT32", 9, 8),
    ("DT_UINT64", 10, 10),
    ("DT_BOOL", 11, 12),
    ("DT_DOUBLE", 12, 11),
    ("DT_STRING", 13, 13),
    ("DT_DUAL_SUB_INT8", 14, 14),
    ("DT_DUAL_SUB_UINT8", 15, 15),
    ("DT_COMPLEX64", 16, 16),
    ("DT_COMPLEX128", 17, 17),
    ("DT_QINT8", 18, 18),
    ("DT_QINT16", 19, 19),
    ("DT_QINT32", 20, 20),
    ("DT_QUINT8", 21, 21),
    ("DT_QUINT16", 22, 22),
    ("DT_RESOURCE", 23, 23),
    ("DT_STRING_REF", 24, 24),
    ("DT_DUAL", 25, 25),
    ("DT_VARIANT", 26, 26),
    ("DT_BF16", 27, 27),
    ("DT_INT4", 28, 29),
    ("DT_UINT1", 29, 30),
    ("DT_INT2", 30, 31),
    ("DT_UINT2", 31, 32),
    ("DT_COMPLEX32", 32, 33),
    ("DT_HIFLOAT8", 33, 34),
    ("DT_FLOAT8_E5M2", 34, 35),
    ("DT_FLOAT8_E4M3FN", 35, 36),
    ("DT_FLOAT8_E8M0", 36, 37),
    ("DT_FLOAT6_E3M2", 37, 38),
    ("DT_FLOAT6_E2M3", 38, 39),
    ("DT_FLOAT4_E2M1", 39, 40),
    ("DT_FLOAT4_E1M2", 40, 41),
]


def spec_of(op: str) -> registry.OpSpec:
    spec = registry.lookup(op)
    assert spec is not None
    return spec


def load_script() -> ModuleType:
    path = ROOT / "scripts" / "generate_ge_registry.py"
    found = importlib.util.spec_from_file_location("generate_ge_registry", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


def line_of(raw: dict[str, object]) -> str:
    """The operator line the generator writes for one dump entry."""
    text: str = load_script().registry_text([raw])
    return next(line for line in text.splitlines() if f"| {raw['op']}(" in line)


def test_every_line_parses() -> None:
    assert len(ALL_SPECS) == len(registry.op_names()) == 1775
    assert all(spec.name == name for spec, name in zip(ALL_SPECS, registry.op_names(), strict=True))


def test_overlay_operators_are_all_there() -> None:
    script = load_script()
    names = [script.overlay_name(line) for line in script.OVERLAY.splitlines()]
    assert len(names) == len(set(names)) > 10
    for line in script.OVERLAY.splitlines():
        assert registry.parse_line(line, {}) == spec_of(script.overlay_name(line))


def test_header_counts_the_operators() -> None:
    head = registry.DATA_FILE.read_text("utf-8").splitlines()[:2]
    assert f"{len(ALL_SPECS)} operators" in head[1]


@pytest.mark.parametrize("spec", ALL_SPECS[::7], ids=lambda s: s.name)
def test_positions_agree_with_ports(spec: registry.OpSpec) -> None:
    assert [spec.inputs[i].name for i in spec.input_index.values()] == list(spec.input_index)
    assert [spec.outputs[i].name for i in spec.output_index.values()] == list(spec.output_index)
    kinds = [p.kind for p in spec.inputs]
    assert [i for i, k in enumerate(kinds) if k == "required"] == list(spec.required_inputs)
    assert [i for i, k in enumerate(kinds) if k == "dynamic"] == list(spec.dynamic_inputs)
    assert all(spec.outputs[o].name == spec.inputs[i].name for o, i in spec.refs)
    assert len(spec.result_rules) == len(spec.outputs)


PYTHON_TYPE: dict[str, type] = {
    "Int": int,
    "Float": float,
    "Bool": bool,
    "String": str,
    "Type": str,
}


def conforms(attr_type: str, value: object) -> bool:
    if attr_type.startswith("List"):
        item = attr_type.removeprefix("List")
        return isinstance(value, tuple) and all(conforms(item, v) for v in value)
    if attr_type == "Type":
        return value in dtypes.BY_NAME
    if attr_type == "Tensor":
        return value is None
    return type(value) is PYTHON_TYPE[attr_type]


def test_every_default_has_exactly_its_type() -> None:
    for spec in ALL_SPECS:
        for attr in spec.attrs.values():
            assert attr.type in registry.ATTR_TYPES
            if attr.required:
                assert attr.default is None
            else:
                assert conforms(attr.type, attr.default), (spec.name, attr)


def test_every_element_type_is_known() -> None:
    for spec in ALL_SPECS:
        for port in spec.inputs + spec.outputs:
            assert port.dtypes <= dtypes.BY_NAME.keys(), (spec.name, port)


def test_type_rules_refer_to_what_exists() -> None:
    for spec in ALL_SPECS:
        for output, rule in zip(spec.outputs, spec.result_rules, strict=True):
            if rule is None:
                continue
            if rule.kind == "fixed":
                assert output.dtypes == {rule.dtype}
            elif rule.kind == "attr":
                assert spec.attrs[rule.attr].type in ("Int", "Type"), spec.name
            else:
                assert rule.inputs, spec.name
                assert all(0 <= i < len(spec.inputs) for i in rule.inputs)


def test_add() -> None:
    spec = spec_of("Add")
    assert spec.family == "elewise_calculation_ops"
    assert [p.name for p in spec.inputs] == ["x1", "x2"]
    assert spec.inputs[0].dtypes >= FLOATS | {"int32", "int64", "string", "complex64"}
    assert not spec.attrs
    assert spec.result_rules == (registry.ResultRule("agree", inputs=(0, 1)),)


def test_matmul_v2() -> None:
    spec = spec_of("MatMulV2")
    kinds = [(p.name, p.kind) for p in spec.inputs]
    assert kinds == [
        ("x1", "required"),
        ("x2", "required"),
        ("bias", "optional"),
        ("offset_w", "optional"),
    ]
    defaults = {a.name: (a.type, a.default) for a in spec.attrs.values()}
    assert defaults == {
        "transpose_x1": ("Bool", False),
        "transpose_x2": ("Bool", False),
        "offset_x": ("Int", 0),
    }
    assert spec.required_attrs == ()


def test_cast_result_comes_from_its_required_attribute() -> None:
    spec = spec_of("Cast")
    assert spec.attrs["dst_type"] == registry.AttrSpec("dst_type", "Int", True, None)
    assert spec.result_rules == (registry.ResultRule("attr", attr="dst_type"),)


def test_shape_default_is_a_ge_number() -> None:
    spec = spec_of("Shape")
    assert spec.attrs["dtype"].default == dtypes.BY_NAME["int32"].ge == 3
    assert spec.inputs[0].dtypes == frozenset()


def test_pack_has_a_dynamic_input() -> None:
    spec = spec_of("Pack")
    assert spec.dynamic_inputs == (0,)
    assert spec.required_attrs == ("N",)


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "required_attrs"),
    [
        ("Data", ["x"], ["y"], ("index",)),
        ("RefData", ["x"], ["y"], ()),
        ("Const", [], ["y"], ("value",)),
        ("NetOutput", ["inputs"], [], ()),
        ("FileConstant", [], ["y"], ("shape", "dtype")),
        ("TensorMove", ["x"], ["y"], ()),
        ("Identity", ["x"], ["y"], ()),
        ("Assign", ["ref", "value"], ["ref"], ()),
    ],
)
def test_special_nodes_take_any_type(
    op: str, inputs: list[str], outputs: list[str], required_attrs: tuple[str, ...]
) -> None:
    spec = spec_of(op)
    assert [p.name for p in spec.inputs] == inputs
    assert [p.name for p in spec.outputs] == outputs
    assert spec.required_attrs == required_attrs
    assert all(p.dtypes == frozenset() for p in spec.inputs + spec.outputs)


def test_data_needs_no_operand() -> None:
    assert spec_of("Data").inputs[0].kind == "optional"
    assert spec_of("NetOutput").inputs[0].kind == "dynamic"
    assert spec_of("Const").attrs["value"].type == "Tensor"


def test_const_place_holder_attributes() -> None:
    types = {a.name: a.type for a in spec_of("ConstPlaceHolder").attrs.values()}
    assert types["origin_format"] == types["storage_format"] == "Int"
    assert types["dtype"] == "Type"
    assert spec_of("ConstPlaceHolder").attrs["placement"].default == 1


def test_in_place_operators_have_refs_and_keep_the_type() -> None:
    assert spec_of("Assign").refs == ((0, 0),)
    norm = spec_of("BatchNormV3")
    assert norm.refs == ((1, 3), (2, 4))
    assert norm.result_rules[0] == registry.ResultRule("same", inputs=(0,))


def test_promotion_is_a_rule() -> None:
    for op in ("Mul", "Pow"):
        spec = spec_of(op)
        assert spec.result_rules == (registry.ResultRule("promote", inputs=(0, 1)),)
        assert spec.outputs[0].dtypes == spec.inputs[0].dtypes


def test_an_unexplained_type_attribute_blocks_the_convention() -> None:
    assert spec_of("NonZeroWithValue").result_rules[0] is None
    assert spec_of("Unique").result_rules[1] == registry.ResultRule("attr", attr="out_idx")


def test_control_flow_has_subgraphs_and_no_type_convention() -> None:
    case = spec_of("Case")
    assert [(p.name, p.kind) for p in case.subgraphs] == [("branches", "dynamic")]
    assert [p.name for p in spec_of("While").subgraphs] == ["cond", "body"]
    assert spec_of("If").result_rules == (None,)


def test_repaired_entries() -> None:
    update = spec_of("MoeUpdateExpert")
    assert [p.name for p in update.outputs] == ["balanced_expert_ids", "balanced_active_mask"]
    assert spec_of("HcomRemoteLookup").attrs["table_id"].required
    assert spec_of("RoiExtractor").attrs["spatial_scale"].default == (1 / 4, 1 / 8, 1 / 16, 1 / 32)
    assert spec_of("GroupedMatmul").attrs["tuning_config"].default == (0,)
    assert spec_of("AddRmsNormDynamicQuant").attrs["output_mask"].default == ()
    assert spec_of("DequantSwigluQuant").attrs["dst_type"].type == "Int"
    assert spec_of("TensorArray").attrs["element_shape"].default == (-2,)
    finalize = spec_of("GroupedMatmulFinalizeRouting")
    assert "float8_e4m3fn" in finalize.inputs[0].dtypes


def test_attribute_and_input_may_share_a_name() -> None:
    spec = spec_of("GatherD")
    assert "dim" in spec.attrs and "dim" in spec.input_index


@pytest.mark.parametrize(
    "op", ["Relu", "Maximum", "SelectV2", "Fill", "LeakyRelu", "Sort", "Floor"]
)
def test_bfloat16_models_can_be_lowered(op: str) -> None:
    takes_floats = [p for p in spec_of(op).inputs if {"float16", "float32"} <= p.dtypes]
    assert takes_floats
    assert all("bfloat16" in p.dtypes for p in takes_floats)


def test_lookup_of_an_unknown_operator() -> None:
    assert registry.lookup("MatMulV99") is None
    assert registry.lookup("") is None


def test_lookup_parses_once() -> None:
    assert registry.lookup("Relu") is registry.lookup("Relu")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("MatmulV2", "MatMulV2"), ("Reducesum", "ReduceSum"), ("softmaxv2", "SoftmaxV2")],
)
def test_suggest(wrong: str, meant: str) -> None:
    assert registry.suggest(wrong)[0] == meant


def test_suggest_gives_up_on_noise() -> None:
    assert registry.suggest("qqqqqqqqqqqq") == []


def test_specs_are_immutable() -> None:
    spec = spec_of("MatMulV2")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "Other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        spec.attrs["x"] = spec.attrs["offset_x"]  # type: ignore[index]


def test_grammar() -> None:
    line = (
        "some_ops | Op(a: float32|int8 as T, b?: T9x, c*: any) -> (y: any as T, z: any from d)"
        ' {s: String = "a, b: } [\\"", f: Float = 1, l: ListListInt = [[1], []],'
        " d: Type = float16, n: Int = dtype(bfloat16)} [body, more*]"
    )
    spec = registry.parse_line(line, {"T9x": frozenset(FLOATS)})
    assert spec.inputs[1] == registry.Port("b", "optional", frozenset(FLOATS))
    assert spec.attrs["s"].default == 'a, b: } ["'
    assert spec.attrs["f"].default == 1.0 and isinstance(spec.attrs["f"].default, float)
    assert spec.attrs["l"].default == ((1,), ())
    assert spec.attrs["d"].default == "float16"
    assert spec.attrs["n"].default == 27
    assert [(p.name, p.kind) for p in spec.subgraphs] == [("body", "required"), ("more", "dynamic")]
    assert spec.result_rules[0] == registry.ResultRule("same", inputs=(0,))
    assert spec.result_rules[1] == registry.ResultRule("attr", attr="d")


@pytest.mark.parametrize(
    "line",
    [
        "Op(x: any) -> (y: any)",
        "f | Op(x) -> (y: any)",
        "f | Op(x: float31) -> (y: any)",
        "f | Op(x: any) -> (y: any) {a: Number}",
        "f | Op(x: any) -> (y: any) {a: Int = 1 b: Int}",
        "f | Op(x: any) -> (y: any) {a: Int, a: Int}",
        "f | Op(x: any, x: any) -> (y: any)",
    ],
)
def test_malformed_lines_are_refused(line: str) -> None:
    with pytest.raises(ArtifactError):
        registry.parse_line(line, {})


def test_an_operator_defined_twice_is_refused() -> None:
    with pytest.raises(ArtifactError, match="twice"):
        registry.index_text("f | Op() -> ()\nf | Op() -> ()\n")


def test_generator_writes_an_entry() -> None:
    raw: dict[str, object] = {
        "op": "ZZZ",
        "family": "test_ops",
        "inputs": [["x", "required", ["float32", "float16"]], ["w", "optional", ["all"]]],
        "outputs": [["y", "dynamic", ["int32"]]],
        "attrs": [["scale", "Float", 1], ["kind", "int", "DT_INT8"], ["axes", "ListInt", "[1, 2]"]],
    }
    assert line_of(raw) == (
        "test_ops | ZZZ(x: float32|float16, w?: any) -> (y*: int32)"
        " {scale: Float = 1.0, kind: Int = dtype(int8), axes: ListInt = [1, 2]}"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [["x", "required", []]]},
        {"inputs": [["x", "required", ["float31"]]]},
        {"attrs": [["a", None, None]]},
        {"attrs": [["a", "Int", "three"]]},
        {"attrs": [["a", "ListInt", [1.5]]]},
        {"attrs": [["a", "Tensor", "Tensor(1)"]]},
    ],
)
def test_generator_stops_at_entries_it_cannot_repair(change: dict[str, object]) -> None:
    raw: dict[str, object] = {"op": "ZZZ", "family": "f", "inputs": [], "outputs": [], "attrs": []}
    with pytest.raises(SystemExit, match="ZZZ"):
        line_of({**raw, **change})


def test_registry_needs_neither_torch_nor_xdsl() -> None:
    code = (
        "import importlib.util, json, sys\n"
        "for name in ('dtypes', 'registry'):\n"
        "    full = 'torchair.dialects.ge.' + name\n"
        f"    path = {str(ROOT / 'torchair/dialects/ge')!r} + '/' + name + '.py'\n"
        "    for parent in ('torchair.dialects.ge',):\n"
        "        sys.modules.setdefault(parent, type(sys)(parent))\n"
        "    spec = importlib.util.spec_from_file_location(full, path)\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    sys.modules[full] = module\n"
        "    setattr(sys.modules['torchair.dialects.ge'], name, module)\n"
        "    spec.loader.exec_module(module)\n"
        "assert module.lookup('Add') is not None\n"
        "print(json.dumps([m for m in ('torch', 'xdsl', 'numpy') if m in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(("symbol", "proto", "ge"), DTYPE_NUMBERS)
def test_dtype_numbers(symbol: str, proto: int, ge: int) -> None:
    data_type = dtypes.BY_SYMBOL[symbol]
    assert (data_type.proto, data_type.ge) == (proto, ge)
    assert dtypes.BY_PROTO[proto] is dtypes.BY_GE[ge] is dtypes.BY_NAME[data_type.name] is data_type


def test_dtype_table_is_complete_and_unambiguous() -> None:
    assert len(DTYPE_NUMBERS) == len(dtypes.DATA_TYPES) == len(dtypes.BY_NAME)
    assert len(dtypes.BY_GE) == len(dtypes.BY_PROTO) == len(dtypes.DATA_TYPES)
    with_mlir = [t for t in dtypes.DATA_TYPES if t.mlir is not None]
    assert len(with_mlir) == len(dtypes.BY_MLIR)


def test_numpy_names_have_the_stated_size() -> None:
    numpy = pytest.importorskip("numpy")
    assert len(dtypes.BY_NUMPY) == 14
    for name, data_type in dtypes.BY_NUMPY.items():
        assert numpy.dtype(name).itemsize == data_type.itemsize
        assert data_type.name == name


def test_mlir_spellings_parse() -> None:
    from xdsl.context import Context
    from xdsl.dialects.builtin import Builtin
    from xdsl.parser import Parser

    context = Context()
    context.load_dialect(Builtin)
    for spelling in dtypes.BY_MLIR:
        assert str(Parser(context, spelling).parse_type()) == spelling


def test_sub_byte_sizes() -> None:
    int4 = dtypes.BY_NAME["int4"]
    assert int4.itemsize is None
    assert int4.storage_bytes(3) == 2
    assert dtypes.BY_NAME["float6_e3m2"].storage_bytes(4) == 3
    assert dtypes.BY_NAME["bfloat16"].itemsize == 2
    assert dtypes.BY_NAME["bool"].itemsize == 1
    assert dtypes.BY_NAME["string"].storage_bytes(1) is None


@pytest.mark.parametrize(
    ("name", "number"),
    [("UNDEFINED", -1), ("NCHW", 0), ("ND", 2), ("FRACTAL_NZ", 29), ("NCL", 47)],
)
def test_formats(name: str, number: int) -> None:
    assert dtypes.FORMATS[name] == number
    assert dtypes.FORMAT_NAMES[number] == name
    assert len(dtypes.FORMATS) == len(dtypes.FORMAT_NAMES) == 19
