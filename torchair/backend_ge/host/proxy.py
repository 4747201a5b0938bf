"""torch's AOTInductor proxy executor: the description of a call as JSON, and loading an executor.

The executor resolves an operator once and keeps its static arguments. Tensors and ints are passed
with every call, so calls that differ only in these share one description.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from torchair import _native
from torchair.backend_ge.host.aten_schema import equals_default
from torchair.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torchair._native import Capsule
    from torchair.backend_ge.host.aten_schema import ArgumentSpec, BoundArgument, OpSchema

_aoti: Any = vars(torch._C)["_aoti"]
# Tensors to capsules that own a reference each, and back; what takes a capsule takes the reference.
to_capsules: Callable[[list[torch.Tensor]], list[Capsule]] = (
    _aoti.unsafe_alloc_void_ptrs_from_tensors
)
from_capsules: Callable[[list[Capsule]], list[torch.Tensor]] = (
    _aoti.alloc_tensors_by_stealing_from_void_ptrs
)

# Enumerators of torch's export file format (torch/_export/serde/schema.py), which is not imported
# because that takes seconds. test_program.py compares these tables with it.
SERIALIZED_DTYPES: dict[torch.dtype, int] = {
    torch.uint8: 1,
    torch.int8: 2,
    torch.int16: 3,
    torch.int32: 4,
    torch.int64: 5,
    torch.float16: 6,
    torch.float32: 7,
    torch.float64: 8,
    torch.complex32: 9,
    torch.complex64: 10,
    torch.complex128: 11,
    torch.bool: 12,
    torch.bfloat16: 13,
    torch.uint16: 28,
    torch.float8_e4m3fn: 29,
    torch.float8_e5m2: 30,
    torch.float8_e4m3fnuz: 31,
    torch.float8_e5m2fnuz: 32,
    torch.float8_e8m0fnu: 33,
    torch.uint32: 34,
    torch.uint64: 35,
}
SERIALIZED_LAYOUTS: dict[torch.layout, int] = {torch.strided: 7}
SERIALIZED_MEMORY_FORMATS: dict[torch.memory_format, int] = {
    torch.contiguous_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
    torch.preserve_format: 4,
}


# torch reads a list of Scalar as a list of float or int, which the operator then refuses.
_LIST_NAMES = {
    "TensorType": "as_tensors",
    "IntType": "as_ints",
    "SymIntType": "as_ints",
    "FloatType": "as_floats",
    "BoolType": "as_bools",
}


class Inexpressible(Exception):
    """A route cannot carry a call: not an error, the next route is tried."""


@dataclass(slots=True)
class ProxyArguments:
    """The dynamic arguments of one call, in schema order."""

    tensors: list[int] = field(default_factory=list)
    ints: list[int] = field(default_factory=list)


def describe_call(
    schema: OpSchema,
    arguments: Sequence[BoundArgument],
    result_counts: Sequence[int],
    tensor_id: Callable[[object], int],
) -> tuple[str, ProxyArguments]:
    """The JSON node of a call and its dynamic arguments.

    ``result_counts`` has the number of tensors of each result; ``tensor_id`` numbers an operand.
    """
    dynamic = ProxyArguments()
    encoder = _Encoder(dynamic, tensor_id)
    inputs = [
        {"name": argument.spec.name, "arg": encoder.encode(argument.spec, argument.value)}
        for argument in arguments
        if not equals_default(argument)
    ]
    node = {
        "target": schema.target,
        "inputs": inputs,
        "outputs": _outputs(schema, result_counts),
        "metadata": {},
    }
    return json.dumps({"name": "n", "node": node}), dynamic


def _outputs(schema: OpSchema, result_counts: Sequence[int]) -> list[dict[str, object]]:
    outputs: list[dict[str, object]] = []
    for returned, count in zip(schema.returns, result_counts, strict=True):
        if returned.kind != "TensorType":
            raise Inexpressible(f"a result of {returned.kind}")
        name = {"name": "o"}
        outputs.append({"as_tensors": [name] * count} if returned.is_list else {"as_tensor": name})
    return outputs


class _Encoder:
    """Encodes arguments for one call; tensors and ints are collected on the side."""

    def __init__(self, dynamic: ProxyArguments, tensor_id: Callable[[object], int]) -> None:
        self._dynamic = dynamic
        self._tensor_id = tensor_id

    def encode(self, spec: ArgumentSpec, value: object) -> dict[str, object]:
        if value is None:
            if not spec.optional:
                raise Inexpressible(f"{spec.name} is None")
            return {"as_none": True}
        if not spec.is_list:
            return self._encode_one(spec.kind, value)
        if not isinstance(value, list | tuple) or not value:
            raise Inexpressible(f"{spec.name} is an empty list")  # an empty list reads as None
        if spec.optional_items:
            return self._encode_optional_tensors(spec, value)
        return self._encode_list(spec.kind, value)

    def _encode_one(self, kind: str, value: object) -> dict[str, object]:
        match kind, value:
            case "TensorType", _:
                return {"as_tensor": self._tensor(value)}
            case "NumberType", bool():
                return {"as_bool": value}
            case "IntType" | "SymIntType" | "NumberType", int():
                self._dynamic.ints.append(_int64(value))
                return {"as_int": 0}
            case "NumberType" | "FloatType", int() | float():
                return {"as_float": _finite(value)}
            case "BoolType", bool() | int():
                return {"as_bool": bool(value)}
            case "StringType", str():
                return {"as_string": value}
            case "DeviceObjType", torch.device(type="cpu"):
                return {"as_device": {"type": "cpu"}}
            case _:
                return _enumerator(kind, value)

    def _encode_list(self, kind: str, values: Sequence[object]) -> dict[str, object]:
        if kind not in _LIST_NAMES:
            raise Inexpressible(f"a list of {kind}")
        items = [self._encode_one(kind, value) for value in values]
        return {_LIST_NAMES[kind]: [value for item in items for value in item.values()]}

    def _encode_optional_tensors(
        self, spec: ArgumentSpec, values: Sequence[object]
    ) -> dict[str, object]:
        if spec.kind != "TensorType":
            raise Inexpressible(f"a list of optional {spec.kind}")
        return {
            "as_optional_tensors": [
                {"as_none": True} if value is None else {"as_tensor": self._tensor(value)}
                for value in values
            ]
        }

    def _tensor(self, value: object) -> dict[str, str]:
        self._dynamic.tensors.append(self._tensor_id(value))
        return {"name": "t"}


def _enumerator(kind: str, value: object) -> dict[str, object]:
    match kind, value:
        case "ScalarTypeType", torch.dtype() if value in SERIALIZED_DTYPES:
            return {"as_scalar_type": SERIALIZED_DTYPES[value]}
        case "LayoutType", torch.layout() if value in SERIALIZED_LAYOUTS:
            return {"as_layout": SERIALIZED_LAYOUTS[value]}
        case "MemoryFormatType", torch.memory_format():
            return {"as_memory_format": SERIALIZED_MEMORY_FORMATS[value]}
        case _:
            raise Inexpressible(f"{value!r} as {kind}")


def _int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise Inexpressible(f"{value} does not fit 64 bits")
    return int(value)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Inexpressible(f"{value} has no JSON form")
    return float(value)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A loaded executor. The handle is valid while the runner lives."""

    runner: Any
    handle: int


def load_proxy(nodes: Sequence[str]) -> Proxy:
    """Loads an executor for these nodes.

    Raises:
        RuntimeError: torch refuses one of them.
        EngineError: the file of the native module was replaced after this process had loaded it.

    torch is given the native module itself as the model library: the link has the same inode, so
    the loader returns the copy that Python has loaded.
    """
    with tempfile.TemporaryDirectory(prefix="torchair-") as folder:
        library = Path(folder, "p.so")
        os.symlink(_native.__file__, library)
        if not library.exists() or not os.path.samestat(library.stat(), _LOADED):
            raise _replaced()
        library.with_suffix(".json").write_text('{"nodes": [' + ",".join(nodes) + "]}")
        runner = _aoti.AOTIModelContainerRunnerCpu(str(library), 1)
        runner.run([])
    handle = _native.take_proxy_handle()
    if not handle:
        raise _replaced()
    return Proxy(runner, handle)


_LOADED = os.stat(_native.__file__)


def _replaced() -> EngineError:
    return EngineError(
        "the native module is not the file any more that this process has loaded",
        expected=_native.__file__,
        found="another file of that name, or none",
        hint="start the process again once the installation is done",
    )
