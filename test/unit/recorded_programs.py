"""Programs of calls that eager made, and comparison with it bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from torchair.backend_ge.host.aten_schema import schema_of
from torchair.backend_ge.host.program import AtenCall, Program, Slot, Trace

aten = torch.ops.aten


class Recorder(TorchDispatchMode):
    """Runs calls in eager and writes them down."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._slots: dict[int, Slot] = {}
        self._alive: list[torch.Tensor] = []
        self.trace = Trace([], {}, [], [])
        self.trace.inputs = [self._slot(tensor) for tensor in inputs]

    def _slot(self, tensor: torch.Tensor) -> Slot:
        if id(tensor) not in self._slots:
            self._alive.append(tensor)
            self._slots[id(tensor)] = Slot(len(self._slots))
        return self._slots[id(tensor)]

    def use(self, value: object) -> object:
        if isinstance(value, list | tuple):
            return [self.use(item) for item in value]
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self._slots:
            self.trace.constants[self._slot(value)] = value
        return self._slot(value)

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        used = tuple(self.use(value) for value in args)
        named = {name: self.use(value) for name, value in kwargs.items()}
        result = op(*args, **kwargs)
        values = (result,) if len(op._schema.returns) == 1 else result or ()
        results: list[Slot | None] = []
        for returned, value in zip(schema_of(op).returns, values, strict=True):
            if returned.kind == "TensorType":
                tensors = value if returned.is_list else [value]
                results += [None if tensor is None else self._slot(tensor) for tensor in tensors]
        self.trace.calls.append(AtenCall(op, used, named, results, len(self.trace.calls)))
        return result


def record(
    function: Callable[..., object], inputs: Sequence[torch.Tensor]
) -> tuple[Trace, list[torch.Tensor]]:
    """The trace of a function and what eager returns. Seeds are the caller's."""
    recorder = Recorder(inputs)
    with torch.no_grad(), recorder:
        returned = function(*inputs)
    outputs = [leaf for leaf in tree_flatten(returned)[0] if isinstance(leaf, torch.Tensor)]
    recorder.trace.outputs = [recorder.use(tensor) for tensor in outputs]
    return recorder.trace, outputs


def copies(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Copies with the same strides, also where these overlap or have gaps."""
    result = []
    for tensor in tensors:
        storage = tensor.untyped_storage().clone()
        copy = torch.empty(0, dtype=tensor.dtype).set_(
            storage, tensor.storage_offset(), tensor.size(), tensor.stride()
        )
        copy = copy.conj() if tensor.is_conj() else copy
        result.append(torch._neg_view(copy) if tensor.is_neg() else copy)
    return result


def assert_identical(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.size() == expected.size()
    assert found.stride() == expected.stride()
    assert torch.equal(_bits(found), _bits(expected)), (found, expected)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    plain = tensor.resolve_conj().resolve_neg()
    return plain.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def check(function: Callable[..., object], *inputs: torch.Tensor) -> Program:
    """Runs a function in eager and as a program; results and written inputs must agree.

    The program runs as it is, observed, and planned.
    """
    eager_inputs = copies(inputs)
    torch.default_generator.manual_seed(7)
    trace, expected = record(function, eager_inputs)
    program = Program(trace)
    for _ in range(3):
        program_inputs = copies(inputs)
        torch.default_generator.manual_seed(7)
        found = program.run(program_inputs)
        assert len(found) == len(expected)
        for pair in zip(found + program_inputs, expected + eager_inputs, strict=True):
            assert_identical(*pair)
    return program


def single(op, *args: object, n_inputs: int = 1, **kwargs: object) -> Program:
    """A program of one call on its inputs with one result."""
    inputs = [Slot(index) for index in range(n_inputs)]
    call = AtenCall(op, args, dict(kwargs), [Slot(n_inputs)], 0)
    return Program(Trace(inputs, {}, [call], [Slot(n_inputs)]))


X = torch.linspace(-2, 2, 24).reshape(4, 6)
MASK = X > 0.5
INT = torch.arange(-6, 6).reshape(3, 4)
IMAGE = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
INF = float("inf")

# (name, function, inputs, route of the first call)

UNSTABLE = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty"} | {
    "new_empty_strided",
    "linalg.lstsq",
}
