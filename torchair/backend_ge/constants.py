"""Constants in GE protobuf: tensor bytes, sizes against the protobuf limit, weight files.

GE packs sub-byte elements and stores a bool as 0 or 1; the IR's dense attributes use a byte per
4-bit element and 0xff for true.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import stat
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from xdsl.dialects.builtin import (
    AnyFloat,
    BytesAttr,
    ComplexType,
    DenseIntOrFPElementsAttr,
    IntegerType,
    TensorType,
)
from xdsl.ir import Attribute

from torchair.backend_ge import proto
from torchair.backend_ge.proto.attrs import shortest_float32
from torchair.dialects.ge import dtypes
from torchair.errors import ArtifactError
from torchair.ir import element_types, interned
from torchair.ir.weights import WeightAttr, WeightHandle

PROTOBUF_LIMIT: Final = 2**31 - 1
"""Bytes of the largest serialized message that protobuf and GE read."""
INLINE_DENSE_LIMIT: Final = 1024
"""Bytes above which a constant of a foreign graph becomes a weight handle."""

_INT4: Final = element_types.from_name("int4")
_READABLE_ELEMENTS: Final = 16
_TO_GE_BOOL: Final = bytes([0, *[1] * 255])
_FROM_GE_BOOL: Final = bytes([0, *[255] * 255])


def storage_bytes(type_: Attribute) -> int | None:
    """Bytes of a tensor of a static type in GE, None when the type does not tell."""
    sizes = interned.shape_of(type_)
    if sizes is None or interned.DYNAMIC in sizes:
        return None
    name = element_types.to_name(interned.element_type(type_))
    return dtypes.BY_NAME[name].storage_bytes(math.prod(sizes))


def dense_bytes(value: DenseIntOrFPElementsAttr[Any]) -> bytes:
    """A dense attribute's elements as GE stores them."""
    data = value.data.data
    element = value.get_element_type()
    if element == interned.i1:
        return data.translate(_TO_GE_BOOL)
    if element == _INT4:
        return _pack_nibbles(data)
    return data


def dense_from_bytes(type_: TensorType[Any], data: bytes) -> Attribute:
    """The dense attribute of GE's bytes, whose number was checked."""
    element = type_.element_type
    if element == interned.i1:
        data = data.translate(_FROM_GE_BOOL)
    elif element == _INT4:
        data = _unpack_nibbles(data, math.prod(type_.get_shape()))
    return DenseIntOrFPElementsAttr(cast(Any, type_), BytesAttr(data))


def _pack_nibbles(data: bytes) -> bytes:
    low = data[0::2]
    high = data[1::2].ljust(len(low), b"\0")
    return bytes((a & 15) | ((b & 15) << 4) for a, b in zip(low, high, strict=True))


def _unpack_nibbles(data: bytes, count: int) -> bytes:
    halves = [half for byte in data for half in (byte & 15, byte >> 4)][:count]
    return bytes(half | 0xF0 if half & 8 else half for half in halves)


def readable(value: DenseIntOrFPElementsAttr[Any]) -> str | None:
    """A short constant as a reader writes it, None for long ones."""
    if len(value.data.data) == 0 or len(value) > _READABLE_ELEMENTS:
        return None
    numbers: list[Any] = list(value.get_values())
    if isinstance(value.get_element_type(), ComplexType):
        numbers = [complex(*pair) for pair in numbers]
    if value.get_element_type() == interned.i1:
        numbers = [bool(number) for number in numbers]
    elif value.get_element_type() == interned.f32:
        numbers = [shortest_float32(number) for number in numbers]
    return repr(numbers if value.get_shape() else numbers[0])


# ---------------------------------------------------------------- writing


def read_weight(handle: WeightHandle, type_: Attribute, op: str) -> bytes:
    """The bytes of a weight.

    Raises:
        ArtifactError: they are not available, or not as many as the type says.
    """
    if handle.read is None:
        raise ArtifactError(
            f"the bytes of weight '{handle.key}' are not available",
            op=op,
            hint="emit the module that was compiled, not one parsed from text",
        )
    data = handle.read()
    expected = storage_bytes(type_)
    if expected is not None and len(data) != expected:
        raise ArtifactError(
            f"weight '{handle.key}' has another size than its type {type_}",
            expected=f"{expected} bytes",
            found=f"{len(data)} bytes",
            op=op,
        )
    return data


def check_inline_size(sizes: Iterable[tuple[int, str]]) -> None:
    """Check that the weights fit one protobuf message, before any is read.

    Args:
        sizes: bytes and name of each weight.

    Raises:
        ArtifactError: naming the sum and the largest weights.
    """
    known = list(sizes)
    total = sum(size for size, _ in known)
    if total <= PROTOBUF_LIMIT:
        return
    largest = ", ".join(f"{name} ({size:,})" for size, name in sorted(known, reverse=True)[:3])
    raise ArtifactError(
        f"the constants take {total:,} bytes, more than one protobuf message holds",
        expected=f"at most {PROTOBUF_LIMIT:,} bytes",
        found=f"{len(known)} constants, the largest: {largest}",
        hint="emit with weights='external' and a directory (FileConstant nodes), or pass the "
        "weights as graph inputs",
    )


def serialize(model: proto.ModelDef) -> bytes:
    """The bytes of a model, the same for equal models.

    Raises:
        ArtifactError: the model is larger than protobuf allows.
    """
    check_inline_size(_constant_sizes(model))
    data = model.SerializeToString(deterministic=True)
    check_inline_size([(len(data), model.name)])
    return data


def _constant_sizes(model: proto.ModelDef) -> Iterable[tuple[int, str]]:
    """Sizes by the descriptors, so that no tensor is copied to be measured."""
    for graph in model.graph:
        for node in graph.op:
            if node.type in ("Const", "Constant") and "value" in node.attr:
                desc = node.attr["value"].t.desc
                data_type = dtypes.BY_PROTO.get(int(desc.dtype))
                elements = math.prod(max(size, 0) for size in desc.shape.dim)
                size = data_type.storage_bytes(elements) if data_type else None
                yield size or 0, node.name


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file so that it is complete or absent: temporary name, fsync, rename.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}", found=error.strerror, hint="check that the folder exists"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file, checked by the open file; never waits for a pipe.

    Args:
        path: the file.
        most: bytes it may have.

    Raises:
        ArtifactError: it is missing, larger, or not a regular file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"{str(path)[:200]} is not a regular file")
            if status.st_size > most:
                raise ArtifactError(
                    f"{str(path)[:200]} is larger than it may be",
                    expected=f"at most {most:,} bytes",
                    found=f"{status.st_size:,} bytes",
                )
            return file.read(status.st_size)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{str(path)[:200]} cannot be read", found=str(error)[:200]) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_weight_file(folder: Path, data: bytes) -> Path:
    """Write a weight under the name of its content; an intact file of that name is kept."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder.absolute() / f"weight_{digest[:40]}.bin"
    if not _has_digest(path, digest):
        write_file(path, [data])
    return path


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- reading


def read_constant(
    tensor: proto.TensorDef,
    type_: Attribute,
    key: str,
    *,
    is_weight: bool,
    is_foreign: bool,
) -> Attribute:
    """The value of a constant: a dense attribute, or a handle that leaves the bytes in the message.

    Args:
        tensor: the constant; the handle keeps it alive.
        type_: its type, from its descriptor.
        key: name of the weight.
        is_weight: whether the IR this was emitted from had a weight here.
        is_foreign: whether the graph was written by something else; then size decides.

    Raises:
        ArtifactError: the bytes do not fit the type.
    """
    expected = storage_bytes(type_)
    size = len(tensor.data)
    if expected is not None and size != expected:
        raise ArtifactError(
            f"constant '{key[:80]}' has other bytes than its type {str(type_)[:200]}",
            expected=f"{expected:,} bytes",
            found=f"{size:,} bytes",
            hint="the file is truncated or damaged; write it again",
        )
    if is_weight or not _can_be_dense(type_) or (is_foreign and size > INLINE_DENSE_LIMIT):
        return WeightAttr(WeightHandle(key, size, partial(_tensor_data, tensor)))
    return dense_from_bytes(cast("TensorType[Any]", type_), tensor.data)


def _tensor_data(tensor: proto.TensorDef) -> bytes:
    return tensor.data


def _can_be_dense(type_: Attribute) -> bool:
    element = interned.element_type(type_)
    is_number = isinstance(element, AnyFloat | IntegerType | ComplexType)
    return is_number and storage_bytes(type_) is not None


def file_weight(key: str, path: str, nbytes: int) -> WeightAttr:
    """Handle of a weight in a file, which is read when asked for."""
    return WeightAttr(WeightHandle(key, nbytes, _FileReader(path, nbytes)))


class _FileReader:
    """Reads a weight file when called."""

    def __init__(self, path: str, nbytes: int) -> None:
        self.path = path
        self.nbytes = nbytes

    def __call__(self) -> bytes:
        """The bytes.

        Raises:
            ArtifactError: the file is missing or is not that weight.
        """
        data = read_file(Path(self.path), self.nbytes)
        if len(data) != self.nbytes:
            raise ArtifactError(
                f"weight file {self.path[:200]!r} is not the weight that the graph names",
                expected=f"{self.nbytes} bytes",
                found=f"{len(data)} bytes",
                hint="copy the weight files with the graph",
            )
        return data
