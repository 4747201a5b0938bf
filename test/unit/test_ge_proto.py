"""The GE protobuf package: the checked-in descriptor, isolation, attributes."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from torchair.backend_ge import proto
from torchair.backend_ge.proto import attrs
from torchair.dialects.ge import dtypes, registry
from torchair.errors import VerifyError

ROOT = Path(__file__).resolve().parent.parent.parent

# message -> field -> number; what loaders in the field agree on
FIELDS: dict[str, dict[str, int]] = {
    "ModelDef": {
        "name": 1,
        "version": 2,
        "custom_version": 3,
        "graph": 7,
        "attr": 11,
        "attr_groups": 12,
    },
    "GraphDef": {"name": 1, "input": 4, "output": 5, "op": 6, "attr": 11, "attr_groups": 12},
    "OpDef": {
        "name": 1,
        "type": 2,
        "input": 5,
        "attr": 10,
        "attr_groups": 11,
        "has_out_attr": 20,
        "id": 21,
        "stream_id": 22,
        "input_name": 23,
        "src_name": 24,
        "src_index": 25,
        "dst_name": 26,
        "dst_index": 27,
        "input_i": 28,
        "output_i": 29,
        "workspace": 30,
        "workspace_bytes": 31,
        "is_input_const": 32,
        "input_desc": 33,
        "output_desc": 34,
        "subgraph_name": 35,
    },
    "TensorDescriptor": {
        "name": 1,
        "dtype": 2,
        "shape": 3,
        "layout": 4,
        "attr": 5,
        "attr_groups": 6,
        "has_out_attr": 9,
        "size": 10,
        "weight_size": 11,
        "reuse_input": 12,
        "output_tensor": 13,
        "device_type": 14,
        "input_tensor": 15,
        "real_dim_cnt": 16,
        "reuse_input_index": 17,
        "data_offset": 18,
        "cmps_size": 19,
        "cmps_tab": 20,
        "cmps_tab_offset": 21,
    },
    "ShapeDef": {"dim": 1},
    "TensorDef": {"desc": 1, "data": 2},
    "NamedAttrs": {"name": 1, "attr": 2},
    "AttrDef": {
        "list": 1,
        "s": 2,
        "i": 3,
        "f": 4,
        "b": 5,
        "bt": 7,
        "func": 10,
        "td": 11,
        "t": 12,
        "g": 13,
        "list_list_int": 14,
        "dt": 15,
        "list_list_float": 16,
        "expression": 17,
    },
    "AttrDef.ListValue": {
        "s": 2,
        "i": 3,
        "f": 4,
        "b": 5,
        "bt": 7,
        "td": 8,
        "t": 9,
        "g": 10,
        "na": 11,
        "dt": 12,
        "val_type": 20,
    },
    "AttrGroups": {"other_group_def": 1, "attr_group_def": 2},
    "AttrGroupDef": {"tensor_attr_group": 3, "shape_env_attr_group": 4},
}


def message_class(name: str) -> Any:
    found: Any = proto
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_field_numbers(name: str) -> None:
    fields = message_class(name).DESCRIPTOR.fields
    assert {f.name: f.number for f in fields} == FIELDS[name]


@pytest.mark.parametrize("data_type", dtypes.DATA_TYPES, ids=lambda t: t.name)
def test_enum_constants_match_the_dtype_table(data_type: dtypes.DataType) -> None:
    assert getattr(proto, data_type.symbol) == data_type.proto
    assert proto.DataType.Name(proto.DataType.Value(data_type.symbol)) == data_type.symbol


def test_enum_has_no_more_values_than_the_dtype_table() -> None:
    assert len(proto.DataType.keys()) == len(dtypes.DATA_TYPES)


def test_wire_bytes_of_a_small_graph() -> None:
    graph = proto.GraphDef(name="g")
    graph.op.add(name="a", type="Data").attr["index"].i = 3
    expected = b"\x0a\x01g" + b"\x32\x16" + b"\x0a\x01a\x12\x04Data" + b"\x52\x0b"
    expected += b"\x0a\x05index" + b"\x12\x02\x18\x03"
    assert graph.SerializeToString(deterministic=True) == expected


def test_checked_in_artefacts_equal_the_proto_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    path = ROOT / "scripts" / "generate_ge_proto.py"
    found = importlib.util.spec_from_file_location("generate_ge_proto", path)
    assert found is not None and found.loader is not None
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    serialized, stub = script.compile_proto(tmp_path)
    package = ROOT / "torchair" / "backend_ge" / "proto"
    assert script.data_module(serialized) == (package / "descriptor_data.py").read_text("utf-8")
    assert script.STUB_HEADER + stub == (package / "__init__.pyi").read_text("utf-8")


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
    )
    return done.stdout.strip()


CLASH = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
clash = descriptor_pb2.FileDescriptorProto(name="ge_ir.proto", package="ge.proto", syntax="proto3")
message = clash.message_type.add(name="ModelDef")
message.field.add(name="other", number=1, type=5, label=1)
"""
ADD_CLASH = """
pool = descriptor_pool.Default()
pool.AddSerializedFile(clash.SerializeToString())
theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName("ge.proto.ModelDef"))
"""
USE_BOTH = """
assert theirs(other=5).SerializeToString() == b"\\x08\\x05"
assert proto.ModelDef(name="m").SerializeToString() == b"\\x0a\\x01m"
print("both")
"""
IMPORT = "from torchair.backend_ge import proto\n"


@pytest.mark.parametrize("order", [ADD_CLASH + IMPORT, IMPORT + ADD_CLASH], ids=["after", "before"])
@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_another_ge_proto_in_the_process_is_no_conflict(order: str, implementation: str) -> None:
    code = CLASH + order + USE_BOTH
    assert run_python(code, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=implementation) == "both"


def test_nothing_enters_the_default_pool() -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("ge.proto.OpDef")


def test_import_needs_neither_torch_nor_xdsl_nor_numpy() -> None:
    code = IMPORT + "import sys; print([m for m in ('torch', 'xdsl', 'numpy') if m in sys.modules])"
    assert run_python(code) == "[]"


def test_unknown_attribute_groups_survive() -> None:
    group = b"\x12\x02\x08\x01"  # AttrGroupDef field 2, which only some loaders know
    groups = b"\x12" + bytes([len(group)]) + group
    op = proto.OpDef.FromString(b"\x5a" + bytes([len(groups)]) + groups)
    assert op.SerializeToString() == b"\x5a" + bytes([len(groups)]) + groups


def round_trip(attr_type: str, value: object) -> tuple[str, Any]:
    written = proto.AttrDef()
    attrs.write_attr(written, attr_type, value)
    return attrs.read_attr(proto.AttrDef.FromString(written.SerializeToString()))


ROUND_TRIPS: list[tuple[str, object, str]] = [
    ("Int", 0, "i"),
    ("Int", -(2**63), "i"),
    ("Float", 1e-5, "f"),
    ("Float", 0.0, "f"),
    ("Float", math.inf, "f"),
    ("Bool", False, "b"),
    ("Bool", True, "b"),
    ("String", "", "s"),
    ("String", "zrh ü", "s"),
    ("Type", "bfloat16", "dt"),
    ("Type", "undefined", "dt"),
    ("Type", 99, "dt"),
    ("ListInt", (1, -2, 3), "list"),
    ("ListInt", (), "list"),
    ("ListFloat", (0.1, 1.702), "list"),
    ("ListFloat", (), "list"),
    ("ListBool", (True, False), "list"),
    ("ListBool", (), "list"),
    ("ListString", ("x", "", "ü"), "list"),
    ("ListString", (), "list"),
    ("ListType", ("float32", "bfloat16"), "list"),
    ("ListType", (), "list"),
    ("ListListInt", ((1, 2), (), (3,)), "list_list_int"),
    ("ListListInt", (), "list_list_int"),
    ("ListListFloat", ((0.1,), ()), "list_list_float"),
    ("ListListFloat", (), "list_list_float"),
]


@pytest.mark.parametrize(("attr_type", "value", "field"), ROUND_TRIPS)
def test_round_trip(attr_type: str, value: object, field: str) -> None:
    written = proto.AttrDef()
    attrs.write_attr(written, attr_type, value)
    assert written.WhichOneof("value") == field
    assert round_trip(attr_type, value) == (attr_type, value)


def test_every_registry_type_round_trips() -> None:
    assert {t for t, _, _ in ROUND_TRIPS} == set(registry.ATTR_TYPES) - {"Tensor"}


def test_tensor_round_trip() -> None:
    tensor = proto.TensorDef(data=b"\0\0\x80?")
    tensor.desc.dtype = proto.DT_FLOAT
    tensor.desc.layout = "ND"
    tensor.desc.shape.dim.append(1)
    assert round_trip("Tensor", tensor) == ("Tensor", tensor)


def test_every_default_in_the_registry_round_trips() -> None:
    for name in registry.op_names():
        spec = registry.lookup(name)
        assert spec is not None
        for attr in spec.attrs.values():
            if attr.required or attr.type == "Tensor":
                continue
            read_type, value = round_trip(attr.type, attr.default)
            assert read_type == attr.type
            if attr.type in ("Float", "ListFloat"):  # the field is a float32
                assert value == pytest.approx(attr.default, rel=1e-7), (name, attr)
            else:
                assert value == attr.default, (name, attr)


@pytest.mark.parametrize(
    ("attr_type", "value", "val_type"),
    [
        ("ListString", ["a"], 1),
        ("ListInt", [1], 2),
        ("ListInt", [], 2),
        ("ListFloat", [1.0], 3),
        ("ListFloat", [], 3),
        ("ListBool", [True], 4),
        ("ListBool", [], 4),
        ("ListType", ["int8"], 10),
        ("ListType", [], 10),
    ],
)
def test_list_val_type(attr_type: str, value: object, val_type: int) -> None:
    written = proto.AttrDef()
    attrs.write_attr(written, attr_type, value)
    assert written.list.val_type == val_type


def test_types_are_written_in_the_ge_numbering() -> None:
    written = proto.AttrDef()
    attrs.write_attr(written, "Type", "float32")
    assert written.dt == 0 and written.WhichOneof("value") == "dt"
    attrs.write_attr(written, "ListType", ["undefined", "int64", 27])
    assert list(written.list.dt) == [28, 9, 27]


@pytest.mark.parametrize(
    ("val_type", "field", "items", "expected"),
    [
        (1, "s", [b"a"], ("ListString", ("a",))),
        (0, "s", [b"a"], ("ListString", ("a",))),
        (0, "i", [0, 1], ("ListInt", (0, 1))),
        (0, "f", [0.5], ("ListFloat", (0.5,))),
        (0, "b", [False], ("ListBool", (False,))),
        (0, "dt", [27], ("ListType", ("bfloat16",))),
        (1, "s", [], ("ListString", ())),
        (5, "bt", [b"\xff"], ("ListBytes", (b"\xff",))),
    ],
)
def test_lists_of_other_writers(
    val_type: Any, field: str, items: list[object], expected: tuple[str, object]
) -> None:
    source = proto.AttrDef()
    source.list.val_type = val_type
    getattr(source.list, field).extend(items)
    assert attrs.read_attr(source) == expected


def test_messages_of_other_writers() -> None:
    source = proto.AttrDef()
    assert attrs.read_attr(source) == ("Unset", None)
    source.expression = b"s0 + 1"
    assert attrs.read_attr(source) == ("Expression", b"s0 + 1")
    source.bt = b"\x00\xff"
    assert attrs.read_attr(source) == ("Bytes", b"\x00\xff")
    source.func.name = "f"
    assert attrs.read_attr(source) == ("NamedAttrs", proto.NamedAttrs(name="f"))
    source.td.layout = "ND"
    assert attrs.read_attr(source) == ("TensorDesc", proto.TensorDescriptor(layout="ND"))
    source.g.name = "sub"
    assert attrs.read_attr(source) == ("Graph", proto.GraphDef(name="sub"))
    source.list.val_type = proto.AttrDef.ListValue.VT_LIST_NAMED_ATTRS
    source.list.na.add(name="n")
    assert attrs.read_attr(source) == ("ListNamedAttrs", (proto.NamedAttrs(name="n"),))


def test_writing_replaces_what_was_there() -> None:
    written = proto.AttrDef()
    for attr_type, value, _ in ROUND_TRIPS + ROUND_TRIPS[::-1]:
        attrs.write_attr(written, attr_type, value)
        assert attrs.read_attr(written) == (attr_type, value)
    attrs.write_attr(written, "ListInt", [1])
    attrs.write_attr(written, "ListString", ["a"])
    assert not written.list.i


@pytest.mark.parametrize(
    ("attr_type", "value"),
    [
        ("Int", "three"),
        ("Int", 1.5),
        ("Int", 2**63),
        ("Float", "x"),
        ("Bool", "yes"),
        ("String", 3),
        ("Type", "float31"),
        ("ListInt", 3),
        ("ListInt", ["a"]),
        ("ListString", "abc"),
        ("ListType", ["float31"]),
        ("ListListInt", [1]),
        ("Tensor", b"data"),
        ("Tensor", None),
    ],
)
def test_values_of_the_wrong_type_are_refused(attr_type: str, value: object) -> None:
    with pytest.raises(VerifyError, match="does not match its type"):
        attrs.write_attr(proto.AttrDef(), attr_type, value)


@pytest.mark.parametrize("attr_type", ["Expression", "Bytes", "int", ""])
def test_types_outside_the_registry_are_never_written(attr_type: str) -> None:
    with pytest.raises(VerifyError, match="cannot write"):
        attrs.write_attr(proto.AttrDef(), attr_type, b"")


@given(st.floats(width=32, allow_nan=False))
def test_float32_values_survive_exactly(value: float) -> None:
    read = attrs.shortest_float32(value)
    written = proto.AttrDef(f=read)
    assert written.f == value and math.copysign(1, written.f) == math.copysign(1, value)
    assert len(repr(read)) <= len(repr(value))


@given(st.binary(max_size=20))
def test_bytes_of_strings_survive_exactly(data: bytes) -> None:
    _, text = attrs.read_attr(proto.AttrDef(s=data))
    written = proto.AttrDef()
    attrs.write_attr(written, "String", text)
    assert written.s == data


def test_descriptor_says_what_it_is() -> None:
    file = descriptor_pb2.FileDescriptorProto()
    proto.DESCRIPTOR.CopyToProto(file)
    assert (file.package, file.syntax) == ("ge.proto", "proto3")
