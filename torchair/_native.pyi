"""The native module. Tensors cross as nameless capsules, each of which owns one reference."""

from collections.abc import Callable
from typing import Literal, TypeAlias

Capsule: TypeAlias = object
Argument: TypeAlias = (
    tuple[Literal["bits"], int]
    | tuple[Literal["tensor"], int]
    | tuple[Literal["none"]]
    | tuple[Literal["some"], "Argument"]
    | tuple[Literal["list"], list["Argument"]]
)

class OperatorError(RuntimeError):
    """A call of a program failed; ``args`` is (index of the instruction, torch's text)."""

class Program:
    """An immutable program. Any number of threads may run it at once."""

    def run(self, inputs: list[Capsule]) -> list[Capsule]:
        """Runs without the GIL. Takes over the inputs, gives away the outputs."""

class ProgramBuilder:
    """Collects instructions. Registers: the inputs, then the constants, then the temporaries."""

    def __init__(
        self, n_inputs: int, constants: list[Capsule], n_temporaries: int, proxy: int
    ) -> None: ...
    def add_proxy_call(
        self, node: int, ints: list[int], tensors: list[int], frees: list[int]
    ) -> None: ...
    def add_dispatcher_call(
        self,
        op: str,
        overload: str,
        arguments: list[Argument],
        results: list[tuple[bool, list[int | None]]],
        frees: list[int],
    ) -> None: ...
    def add_python_call(
        self,
        function: Callable[[list[Capsule]], list[Capsule | None]],
        operands: list[int],
        results: list[int | None],
        frees: list[int],
    ) -> None: ...
    def build(self, outputs: list[int]) -> Program: ...

def take_proxy_handle() -> int:
    """The handle that the latest model run on this thread received, or 0."""

def torch_enumerator(getter: str) -> int:
    """The value of a torch enumerator, e.g. of ``aoti_torch_dtype_float32``."""
