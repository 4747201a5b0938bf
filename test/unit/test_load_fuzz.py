"""Fuzzing of the loader: damaged graphs give an ArtifactError or a module, and soon."""

from __future__ import annotations

import contextlib
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr

from torchair.backend_ge import proto
from torchair.backend_ge.emit import emit
from torchair.backend_ge.graph_text import read_graph_file
from torchair.backend_ge.load import load
from torchair.dialects.ge import builder as ge
from torchair.errors import ArtifactError, TorchairError, VerifyError
from torchair.ir import interned
from torchair.ir.call_verify import control_type
from torchair.ir.conversion import build_function
from torchair.ir.location import file_location, named_location
from torchair.ir.text import print_module
from torchair.ir.verify import verify_module
from torchair.ir.weights import WeightAttr, WeightHandle

CASES = 1200
"""Per kind of damage."""
SECONDS = 20.0
MEMORY_MIB = 300


def build_sample() -> proto.ModelDef:
    """A graph with every feature that the loader knows."""
    f32 = interned.f32
    matrix = interned.tensor([4, 4], f32, ["s0", "4"])
    weight = interned.tensor([4, 4], f32)
    entries = [
        DictionaryAttr({"torchair.name": StringAttr(n), "torchair.index": interned.integer(i)})
        for i, n in enumerate(("x", "cache"))
    ]
    function, block = build_function("forward", [matrix, matrix], [], entries)
    builder = ge.GraphBuilder(block)
    builder.location = named_location("mm-aten.mm", file_location("model.py", 3))
    handle = WeightAttr(WeightHandle("w", 64, lambda: bytes(64)))
    with ge.building(builder):
        (constant,) = builder.append("Const", [handle], [weight])
        product = ge.call("MatMulV2", block.args[0], constant, transpose_x2=True, out=matrix)
        total, control = builder.append("Add", [product, product], [matrix, control_type])
        packed = ge.call("Pack", [total, product], axis=0, N=2, out=interned.unranked(f32))
        shifted = ge.call("ReduceSum", packed, [0], keep_dims=True, out=matrix)
        scaled = ge.call("Mul", shifted, 0.5, out=matrix)
        copied = ge.call("TensorMove", scaled, out=matrix)
        ge.call("Assign", copied, product, out=matrix)
        ge.call("Assign", block.args[1], scaled, out=matrix)
        scaled.owner.attributes.update(  # pyright: ignore[reportAttributeAccessIssue]
            {
                "ge.node_name": StringAttr("scaled"),
                "_scope": ArrayAttr([StringAttr("a")]),
                "stream": interned.int_list([1, 2]),
                "nested": DictionaryAttr({"a": ArrayAttr([interned.none_type, interned.i32])}),
            }
        )
        builder.append("NetOutput", [[scaled, copied]], [], controls=[control])
    return emit(ModuleOp([function]))


def foreign_sample() -> proto.ModelDef:
    """The same graph as another writer leaves it."""
    model = build_sample()
    for graph in model.graph:
        del graph.attr["_torchair_module"]
        for node in graph.op:
            for key in [k for k in node.attr if k.startswith("_torchair")]:
                del node.attr[key]
    return model


SAMPLES = [build_sample(), foreign_sample()]


def check(data: bytes | proto.ModelDef) -> bool:
    """Load; use what was loaded in every way; says whether it loaded."""
    try:
        module = load(data, "fuzz", allow_unknown=isinstance(data, bytes) and len(data) % 2 == 0)
    except ArtifactError as error:
        assert len(str(error)) < 10_000
        return False
    with contextlib.suppress(VerifyError):
        verify_module(module)
    print_module(module).encode("utf-8")
    try:
        emit(module)
    except TorchairError as error:
        assert str(error)
    return True


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(1, 12)] = rng.randbytes(rng.randrange(12))


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def move_slice(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 200)]
    at = rng.randrange(len(data))
    data[at:at] = piece


DAMAGE: list[Callable[[bytearray, random.Random], None]] = [
    flip_bits,
    overwrite,
    truncate,
    move_slice,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damaged_bytes(damage: Callable[[bytearray, random.Random], None]) -> None:
    rng = random.Random(damage.__name__)
    start = time.process_time()
    loaded = 0
    for case in range(CASES):
        data = bytearray(SAMPLES[case % 2].SerializeToString(deterministic=True))
        damage(data, rng)
        loaded += check(bytes(data))
    assert loaded < CASES
    assert time.process_time() - start < SECONDS


def test_random_bytes() -> None:
    rng = random.Random(7)
    for _ in range(CASES):
        assert not check(rng.randbytes(rng.randrange(200)))


# ---------------------------------------------------------------- damage to fields


INTS = (0, 1, -1, -2, -3, 2, 7, 31, 2**31, 2**62, 2**63 - 1, -(2**63))
TEXTS = (
    "",
    "x",
    "x:0",
    "x:-1",
    "Add:0",
    "Add:7",
    ":",
    "Add:",
    "a:b:0",
    "\0",
    "é",
    "-1",
    "9" * 5000,
)
JSON = (
    b"", b"null", b"[]", b"{}", b'"x"', b"1e999", b"[" * 5000, b'{"a":' * 5000,
    b'{"version":1}', b'{"version":1,"outputs":-1}', b'{"version":1,"outputs":1.5}',
    b'{"version":1,"assigns":{"a":1}}', b'{"version":1,"assigns":[{"type":{"control":1}}]}',
    b'{"version":1,"assigns":[{"type":{"dtype":"float32","shape":[1,"2"]}}]}',
    b'{"version":1,"function":7}', b'{"version":1,"function":"\\ud800"}',
    b'{"version":1,"attributes":{"a":{"dict":{"b":{"unit":1}}}}}',
    b'{"a":{"type":"float32"}}', b'{"a":{"type":[]}}', b'{"a":{"type":{"dtype":"x","shape":[]}}}',
    b'{"a":{"type":{"dtype":"int8","shape":[-1]}}}', b'{"a":{"type":{"dtype":"int8","shape":7}}}',
    b'{"a":{"array":["int64",[99999999999999999999]]}}', b'{"a":{"array":["int8",[300]]}}',
    b'{"a":{"array":["string",[1]]}}', b'{"a":{"array":["float32",["nan","x"]]}}',
    b'{"a":{"float":["float16","1e999"]}}', b'{"a":{"float":["int8","0x1p+0"]}}',
    b'{"a":{"int":["int8",300]}}', b'{"a":{"int":["float32",3]}}', b'{"a":{"weight":3}}',
    b'{"a":"\\ud800"}', b'{"\\ud800":1}', b'{"a":{"unknown":1}}', b'{"a":{}}', b"\xff\xfe",
    b'{"ge.node_name":7}', b'{"_scope":{"unit":1}}', b'{"op_name__":1}', b"9" * 10000,
)  # fmt: skip


def messages(message: Any) -> Iterator[Any]:
    """A message and all below it."""
    yield message
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            for item in value.values():
                yield from messages(item)
        elif field.is_repeated:
            for item in value:
                yield from messages(item)
        else:
            yield from messages(value)


def random_value(field: Any, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return rng.choice((*JSON, b"model.py|x:y", b"a|b:\xc2\xb2", b"nan"))
        return rng.choice(TEXTS)
    if kind == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, 1.5, float("nan"), float("inf")))
    if kind == field.CPPTYPE_ENUM:
        return rng.choice((0, 1, 5, 13, 40, 99, -1))
    limit = 2**31 if kind in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 2**63
    return max(0, min(rng.choice(INTS), limit - 1)) if "UINT" in str(kind) else rng.choice(INTS)


def damage_field(model: proto.ModelDef, rng: random.Random) -> None:
    """One change somewhere in the tree of messages."""
    message = rng.choice(list(messages(model)))
    field = rng.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    try:
        if field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            damage_map(value, rng)
        elif field.is_repeated:
            damage_list(value, field, rng)
        elif field.type == field.TYPE_MESSAGE:
            rng.choice((message.ClearField, lambda name: getattr(message, name).SetInParent()))(
                field.name
            )
        else:
            setattr(message, field.name, random_value(field, rng))
    except (ValueError, OverflowError):
        message.ClearField(field.name)


def damage_map(items: Any, rng: random.Random) -> None:
    names = sorted(items)
    if names and rng.random() < 0.5:
        del items[rng.choice(names)]
    elif names:
        items[rng.choice((*names, "new", "index", "value", "_x"))].CopyFrom(
            items[rng.choice(names)]
        )


def damage_list(items: Any, field: Any, rng: random.Random) -> None:
    if len(items) and rng.random() < 0.4:
        del items[rng.randrange(len(items))]
    elif field.type == field.TYPE_MESSAGE:
        if len(items):
            items.add().CopyFrom(rng.choice(items))
        else:
            items.add()
    elif len(items) and rng.random() < 0.6:
        items[rng.randrange(len(items))] = random_value(field, rng)
    else:
        items.append(random_value(field, rng))


@pytest.mark.parametrize("sample", range(len(SAMPLES)))
def test_damaged_fields(sample: int) -> None:
    rng = random.Random(sample)
    start = time.process_time()
    loaded = 0
    for _ in range(CASES):
        model = proto.ModelDef()
        model.CopyFrom(SAMPLES[sample])
        for _ in range(rng.choice((1, 1, 2, 4))):
            damage_field(model, rng)
        loaded += check(model)
    assert 0 < loaded < CASES
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("text", JSON)
@pytest.mark.parametrize("place", ["node", "input", "graph"])
def test_damaged_descriptions(place: str, text: bytes) -> None:
    model = proto.ModelDef()
    model.CopyFrom(SAMPLES[0])
    graph = model.graph[0]
    if place == "graph":
        graph.attr["_torchair_module"].s = text
    else:
        node = graph.op[0] if place == "input" else graph.op[3]
        node.attr["_torchair_attributes"].s = text
    check(model)


def test_the_samples_load() -> None:
    assert all(check(sample) for sample in SAMPLES)


# ---------------------------------------------------------------- resources


def grow_names(model: proto.ModelDef) -> None:
    model.graph[0].op[0].name = "n" * 1_000_000


def grow_unknown_types(model: proto.ModelDef) -> None:
    for number in range(5_000):
        model.graph[0].op.add(name=f"u{number}", type=f"Unknown{number}")


def grow_dims(model: proto.ModelDef) -> None:
    model.graph[0].op[0].output_desc[0].shape.dim.extend([2**62] * 1_000_000)


def grow_controls(model: proto.ModelDef) -> None:
    model.graph[0].op[4].input.extend(["MatMulV2:-1"] * 200_000)


def grow_cycle(model: proto.ModelDef) -> None:
    for number in range(20_000):
        node = model.graph[0].op.add(name=f"c{number}", type="NoOp")
        node.input.append(f"c{(number + 1) % 20_000}:-1")


def grow_chain(model: proto.ModelDef) -> None:
    for number in range(20_000, 0, -1):
        model.graph[0].op.add(name=f"c{number}", type="NoOp").input.append(f"c{number - 1}:-1")
    model.graph[0].op.add(name="c0", type="NoOp")


def grow_outputs(model: proto.ModelDef) -> None:
    model.graph[0].op[3].output_desc.extend([proto.TensorDescriptor()] * 100_000)


GROWTH = [
    grow_names, grow_unknown_types, grow_dims, grow_controls, grow_cycle, grow_chain, grow_outputs,
]  # fmt: skip


@pytest.mark.parametrize("grow", GROWTH, ids=lambda f: f.__name__)
def test_large_damage_costs_no_more_than_its_size(grow: Callable[[proto.ModelDef], None]) -> None:
    model = proto.ModelDef()
    model.CopyFrom(SAMPLES[0])
    grow(model)
    data = model.SerializeToString()
    start = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check(data)
    assert time.process_time() - start < SECONDS
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert used < MEMORY_MIB


def test_deeply_nested_messages() -> None:
    data = b""
    for _ in range(3000):
        value = field(11, data)  # AttrDef.td
        data = field(5, field(1, b"a") + field(2, value))  # TensorDescriptor.attr
    with pytest.raises(DecodeError):
        proto.TensorDescriptor.FromString(data)
    node = field(1, b"n") + field(2, b"Abs") + field(34, data)
    assert not check(field(7, field(6, node)))


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


# ---------------------------------------------------------------- text


def test_damaged_text(tmp_path: Path) -> None:
    rng = random.Random(3)
    text = text_format.MessageToString(SAMPLES[1]).encode()
    path = tmp_path / "graph.pbtxt"
    start = time.process_time()
    for case in range(150):
        data = bytearray(text)
        DAMAGE[case % len(DAMAGE)](data, rng)
        path.write_bytes(bytes(data))
        try:
            model = read_graph_file(path)
        except ArtifactError:
            continue
        check(model)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "text", [b"graph {" * 5000, b"\0", b"graph { op { attr { key: 'a' value {"]
)
def test_text_that_never_ends(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.txt"
    path.write_bytes(text)
    with pytest.raises(ArtifactError):
        read_graph_file(path)
