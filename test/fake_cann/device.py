"""The fake CANN as tests use it: built, found by the engine, running graphs on the host engine."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from google.protobuf.message import DecodeError

from fake_cann.build import build
from torchair.backend_ge import proto
from torchair.backend_ge.cann.signature import Signature, read_signature
from torchair.backend_ge.host.engine import HostExecutable
from torchair.dialects.ge import dtypes

MOST_DIMENSIONS = 16
_FAILED = 507011  # ACL_ERROR_RT_MODEL_EXECUTE
_BY_GE = {data_type.ge: data_type for data_type in dtypes.DATA_TYPES}


class FakeTensor(ctypes.Structure):
    """The struct of that name in core/control.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.c_int64 * MOST_DIMENSIONS),
    )


_Tensors = ctypes.POINTER(FakeTensor)
_Count = ctypes.POINTER(ctypes.c_int32)
_Inspect = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, _Tensors, _Count, _Tensors, _Count
)
_Execute = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, _Tensors, ctypes.c_int32, _Tensors,
    ctypes.c_int32,
)  # fmt: skip
_TEXTS = ("breaches", "calls", "leaks", "options")


class Breach(AssertionError):
    """The driver broke a rule of CANN, or left something alive."""


class FakeCann:
    """The loaded fake of one release.

    Args:
        folder: where its libraries are.
        core: its core library.
    """

    def __init__(self, folder: Path, core: Path) -> None:
        self.folder = folder
        self._core = ctypes.CDLL(str(core))
        self._core.fake_cann_scratch.restype = ctypes.c_void_p
        self._core.fake_cann_scratch.argtypes = [ctypes.c_uint64]
        self._core.fake_cann_set_memory.argtypes = [ctypes.c_uint64]
        for name in _TEXTS:
            getattr(self._core, f"fake_cann_{name}").restype = ctypes.c_char_p
        self._executables: dict[bytes, HostExecutable] = {}
        self._inspect = _Inspect(self._inspect_model)
        self._execute = _Execute(self._execute_model)
        self.errors: list[BaseException] = []
        self.reset()

    def reset(self) -> None:
        """Start from nothing, as a new process does."""
        self._core.fake_cann_reset()
        self._core.fake_cann_set_model(self._inspect, self._execute)
        self.errors.clear()

    def inject(self, function: str, code: int, nth: int = 1) -> None:
        """The nth call of a function fails with `code`; 0: every call."""
        self._core.fake_cann_inject(function.encode(), nth, ctypes.c_int32(code).value)

    def lose_device(self) -> None:
        """Every call fails from now on, but those that free or end something."""
        self._core.fake_cann_lose_device()

    def set_delay(self, milliseconds: int) -> None:
        """Queued work takes this long."""
        self._core.fake_cann_set_delay(milliseconds)

    def set_memory(self, nbytes: int) -> None:
        """Bytes of device memory; 0: no limit."""
        self._core.fake_cann_set_memory(nbytes)

    def print(self, text: str) -> None:
        """The device prints."""
        self._core.fake_cann_print(text.encode())

    def lines(self, what: str) -> list[str]:
        """Entries of ``breaches``, ``calls``, ``leaks`` or ``options``."""
        text: bytes = getattr(self._core, f"fake_cann_{what}")()
        return text.decode().splitlines()

    def count(self, function: str) -> int:
        """How often a function was called."""
        return int(self._core.fake_cann_count(function.encode()))

    def check(self) -> None:
        """Fail for broken rules, for what is still alive, and for errors of the host engine.

        Raises:
            Breach: listing them.
        """
        found = [*self.lines("breaches"), *(f"alive: {text}" for text in self.lines("leaks"))]
        found += [f"host engine: {error!r}" for error in self.errors]
        if found:
            raise Breach("\n".join(found))

    # ------------------------------------------------------------ called by the fake

    def _inspect_model(
        self, model: int, nbytes: int, inputs: Any, n_inputs: Any, outputs: Any, n_outputs: Any
    ) -> int:
        try:
            signature = read_signature(proto.ModelDef.FromString(ctypes.string_at(model, nbytes)))
        except DecodeError:
            return 1
        for ports, array, count in (
            (signature.inputs, inputs, n_inputs),
            (signature.outputs, outputs, n_outputs),
        ):
            count[0] = len(ports)
            for place, port in enumerate(ports):
                array[place].type = port.data_type.ge
                _set_shape(array[place], port.shape or ())
        return 0

    def _execute_model(
        self, model: int, nbytes: int, inputs: Any, n_inputs: int, outputs: Any, n_outputs: int
    ) -> int:
        try:
            data = ctypes.string_at(model, nbytes)
            given = [_read(inputs[i]) for i in range(n_inputs)]
            for i, result in enumerate(self._compute(data, given)):
                assert i < n_outputs, "the model has fewer outputs"
                self._write(outputs[i], result)
        except Exception as error:  # a callback cannot raise: check() does
            self.errors.append(error)
            return _FAILED
        return 0

    def _compute(self, data: bytes, given: list[torch.Tensor]) -> list[torch.Tensor]:
        """All outputs of NetOutput, those that write inputs too; no input is written."""
        executable = self._executables.get(data)
        if executable is None:
            executable = self._executables[data] = HostExecutable(data)
        signature: Signature = read_signature(proto.ModelDef.FromString(data))
        arguments: list[Any] = [
            t.item() if p.on_host else t for t, p in zip(given, signature.inputs, strict=True)
        ]
        results: list[Any] = list(executable.run(arguments))
        results += [None] * (len(signature.outputs) - len(results))
        for output, index in signature.aliases:
            results[output] = arguments[index]
        return results

    def _write(self, place: Any, result: torch.Tensor) -> None:
        data_type = next(t for t in dtypes.DATA_TYPES if f"torch.{t.name}" == str(result.dtype))
        dense = result.contiguous()
        memory = self._core.fake_cann_scratch(dense.nbytes)
        ctypes.memmove(memory, dense.data_ptr(), dense.nbytes)
        place.data, place.bytes, place.type = memory, dense.nbytes, data_type.ge
        _set_shape(place, dense.shape)


def _set_shape(place: Any, shape: Any) -> None:
    place.rank = len(shape)
    for i, size in enumerate(shape):
        place.dims[i] = size


def _read(tensor: Any) -> torch.Tensor:
    """A copy of an input, so that nothing that runs can write to device memory."""
    shape = [tensor.dims[i] for i in range(tensor.rank)]
    dtype = getattr(torch, _BY_GE[tensor.type].name)
    result = torch.empty(shape, dtype=dtype)
    assert result.nbytes == tensor.bytes == math.prod(shape) * result.itemsize
    ctypes.memmove(result.data_ptr(), tensor.data, result.nbytes)
    return result


@contextmanager
def fake_cann(folder: Path, release: str = "9.1.0", **layout: Any) -> Iterator[FakeCann]:
    """Build a release in `folder` and load it. Checks it at the end."""
    fake = FakeCann(folder, build(release, folder, **layout))
    yield fake
    fake.check()
