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

Product: TypeAlias = tuple[int, int, bool, bool, int]
"""Rows, columns, whether there is a bias, whether the result is allocated, threads."""
Placement: TypeAlias = tuple[int, list[int], list[int]]
"""(stream, events waited for before the call, events recorded after it)."""
Layout: TypeAlias = tuple[int, list[int], list[int]]
"""(torch's number of the dtype, sizes, strides in elements)."""
Observed: TypeAlias = tuple[int, list[int], list[int], int, int, int]
"""(dtype, sizes, strides, storage offset in elements, storage bytes, storage address)."""

class Program:
    """An immutable program, some of whose inputs may be bound. Any number of threads may run it."""

    def run(self, inputs: list[Capsule]) -> list[Capsule] | None:
        """Runs without the GIL. Takes over the inputs, gives away the outputs.

        None when an input has not the layout that the plan needs: nothing was taken or done.
        """
    def observe(
        self, inputs: list[Capsule], results: list[list[int]]
    ) -> tuple[list[Capsule], list[list[Observed | None]]]:
        """Runs and tells what inputs and constants hold, and then, instruction by
        instruction, what the registers in ``results`` held right after it."""
    def bind(
        self,
        indices: list[int],
        tensors: list[Capsule],
        pool: runtime.MemoryPool | None = None,
    ) -> Program:
        """The same program with these inputs bound, whose ``run`` takes the others only."""
    def launch(self, labels: list[str]) -> Launch:
        """A run for streams of a device. Every input must be bound."""

class Launch:
    """A run with fixed addresses."""

    def put_on(self, device: runtime.Device, streams: list[runtime.Stream]) -> None:
        """Queues the calls, or captures them; one stream for each of the program."""
    def outputs(self) -> list[Capsule]:
        """The outputs of the latest run."""
    def share_memory(self) -> None:
        """Gives the arena back to its pool, for graphs that do not run at the same time."""

class Arena:
    """Memory in which runs take turns: as many blocks as there are runs at one time, each as large
    as the largest of them."""

    def __init__(self) -> None: ...
    @property
    def bytes_reserved(self) -> int: ...

class ProgramBuilder:
    """Collects instructions. Registers: the inputs, then the constants, then the temporaries."""

    def __init__(
        self, n_inputs: int, constants: list[Capsule], n_temporaries: int, proxy: int
    ) -> None: ...
    def add_proxy_call(
        self,
        node: int,
        ints: list[int],
        tensors: list[int],
        frees: list[int],
        placement: Placement = ...,
    ) -> None: ...
    def add_product_call(
        self,
        node: int,
        tensors: list[int],
        product: Product,
        frees: list[int],
        placement: Placement = ...,
    ) -> None:
        """A proxy call that the program computes itself where addresses and threads allow it."""
    def add_dispatcher_call(
        self,
        op: str,
        overload: str,
        arguments: list[Argument],
        results: list[tuple[bool, list[int | None]]],
        frees: list[int],
        placement: Placement = ...,
    ) -> None: ...
    def add_python_call(
        self,
        function: Callable[[list[Capsule]], list[Capsule | None]],
        operands: list[int],
        results: list[int | None],
        frees: list[int],
        placement: Placement = ...,
    ) -> None: ...
    def set_arena(self, bytes: int) -> None: ...
    def add_arena_tensor(self, register: int, offset: int, layout: Layout) -> None: ...
    def add_view(self, register: int, base: int, offset: int, layout: Layout) -> None:
        """A view of an input or a constant, ``offset`` bytes from its first element."""
    def add_input_layout(self, layout: Layout) -> None:
        """What the next input must look like; none or one for every input."""
    def build(
        self,
        outputs: list[int],
        n_streams: int = 1,
        n_events: int = 0,
        arena: Arena | None = None,
    ) -> Program:
        """The program; its runs take turns in ``arena`` with those of other programs."""

def set_worker_excluded_keys(keys: list[int]) -> None:
    """Dispatch keys that threads of streams go below: numbers of torch._C.DispatchKey."""

def multiply_rows(product: Product, matrix: int, vector: int, bias: int, result: int) -> bool:
    """The product of contiguous float32 tensors by their addresses; False for those it does not
    take."""

def element_size(dtype: int) -> int:
    """Bytes of an element, for torch's number of a dtype."""

def take_proxy_handle() -> int:
    """The handle that the latest model run on this thread received, or 0."""

def torch_enumerator(getter: str) -> int:
    """The value of a torch enumerator, e.g. of ``aoti_torch_dtype_float32``."""

class runtime:  # a submodule
    """Streams, events, capture and replay, of the host device and of CANN."""

    class DeviceError(RuntimeError):
        """A device refused or failed; ``args`` is (ACL code, name of the code, text)."""

    class Device:
        """The device of that name, "host" or "cann"; one for the whole process."""

        def __init__(self, name: str) -> None: ...
        @property
        def name(self) -> str: ...
        @property
        def default_stream(self) -> runtime.Stream: ...
        def create_stream(self, priority: int = 0) -> runtime.Stream: ...
        def borrow_stream(self, native: int) -> runtime.Stream: ...
        def create_event(self, external: bool = False) -> runtime.Event: ...
        def create_pool(self) -> runtime.MemoryPool: ...
        def synchronize(self) -> None: ...
        def copy(self, target: int, source: int, bytes: int) -> None:
            """A blocking copy between addresses, which captures may forbid."""
        def exchange_thread_mode(self, mode: str) -> str:
            """Sets this thread's capture mode and returns the one it had."""

    class Stream:
        """Calls come from one thread at a time. Nothing here holds the GIL while it waits."""

        @property
        def id(self) -> int: ...
        @property
        def native(self) -> int:
            """The device's own handle, 0 on the host device."""
        def launch(self, function: Callable[[int], object], name: str = "python") -> None:
            """Queues ``function(native)``, or adds it to the graph while capturing."""
        def record(self, event: runtime.Event) -> None: ...
        def wait(self, event: runtime.Event) -> None: ...
        def reset(self, event: runtime.Event) -> None: ...
        def query(self) -> bool: ...
        def synchronize(self, timeout_ms: int = -1) -> None:
            """Waits; raises the first failure of a task since the last call. Ctrl-C ends it."""
        def begin_capture(
            self, mode: str = "global", pool: runtime.MemoryPool | None = None
        ) -> None:
            """``mode``: global, thread_local or relaxed."""
        @property
        def capture_info(self) -> tuple[str, int]:
            """("none" | "active" | "invalidated", id of the graph or 0)."""
        def end_capture(self) -> runtime.Graph: ...
        def begin_task_group(self) -> None: ...
        def end_task_group(self) -> runtime.TaskGroup: ...
        def begin_update(self, group: runtime.TaskGroup) -> None: ...
        def end_update(self) -> None: ...

    class Event:
        @property
        def external(self) -> bool: ...
        def query(self) -> bool: ...
        def synchronize(self, timeout_ms: int = -1) -> None: ...

    class MemoryPool:
        """Memory that captured graphs share. It lives until the last graph is gone."""

        def allocate(self, bytes: int) -> int: ...
        def free(self, address: int) -> None: ...
        @property
        def bytes_in_use(self) -> int: ...
        @property
        def bytes_reserved(self) -> int: ...
        @property
        def bytes_peak(self) -> int: ...

    class Graph:
        @property
        def id(self) -> int: ...
        @property
        def task_count(self) -> int: ...
        def replay(self, stream: runtime.Stream) -> None: ...
        def destroy(self) -> None: ...
        def write_json(self, path: str) -> None:
            """Writes a Chrome trace: the order of the tasks, not their times."""

    class TaskGroup: ...

# ---------------------------------------------------------------- native/cann

CannView: TypeAlias = tuple[int, int, int, list[int], bool]
"""(address, bytes, number of ``ge::DataType``, sizes, whether it lies on the host)."""

class CannLoadError(RuntimeError):
    """CANN is not here or lacks functions; ``args`` is (what, what was looked for and where)."""

class CannGraph:
    """A graph that GE has compiled."""

    @property
    def is_static(self) -> bool | None:
        """None where GE compiles at the first run."""
    def tasks_json(self) -> str:
        """The tasks of a static graph after its first run; DeviceError where GE cannot tell."""
    @property
    def output_shapes(self) -> list[list[int]]: ...
    @property
    def memory(self) -> tuple[int, int, int]:
        """Bytes of constants, of intermediate values, and of those values that may not move."""

class CannOutput:
    """A tensor on the device, whose memory goes back when this object dies."""

    @property
    def shape(self) -> list[int]: ...
    @property
    def type(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def copy_to_host(self, target: int, nbytes: int) -> None: ...

class CannEngine:
    """The device, GE and its session. Nothing here holds the GIL while it waits."""

    def __init__(
        self,
        folders: list[str],
        device: int,
        route: str,
        owned: bool,
        dump_config: str,
        process_options: list[tuple[str, str]],
        session_options: list[tuple[str, str]],
    ) -> None: ...
    def compile(self, model: bytes, options: list[tuple[str, str]]) -> CannGraph: ...
    def run_on_host(
        self,
        graph: CannGraph,
        inputs: list[CannView],
        outputs: list[CannView],
        aliases: list[tuple[int, int]],
    ) -> list[CannOutput]:
        """Copies the inputs to the device, runs and waits; Ctrl-C ends the wait."""
    def run(
        self,
        graph: CannGraph,
        stream: int,
        allocate: Callable[[int, int], int],
        free: Callable[[int], object],
        inputs: list[CannView],
        outputs: list[CannView],
        frozen: list[int] = ...,
    ) -> list[CannOutput]:
        """Queues a run on ``stream``; ``allocate`` takes bytes and the stream. ``frozen``: inputs
        that lie in every run where they lie in the first one."""
    def copy_output(self, output: CannOutput, target: int, nbytes: int, stream: int) -> None:
        """Queues a copy on the device."""
    def show_prints(self) -> bool:
        """Shows on stderr what graphs print, from now on; False where this CANN cannot."""
    def close(self) -> None:
        """Undoes everything in order; a second call does nothing."""
    @property
    def closed(self) -> bool: ...
    @property
    def loads(self) -> bool:
        """Whether graphs of fixed shapes are loaded once and then executed."""
    @property
    def route(self) -> str: ...
    @property
    def soc_name(self) -> str: ...
    @property
    def libraries(self) -> list[tuple[str, str]]:
        """(name, path) of CANN's libraries; no path where one was not loaded."""

def cann_symbols() -> list[tuple[str, bool]]:
    """Every function of CANN that may be called, and whether its route requires it."""

def cann_load(folders: list[str]) -> str:
    """Loads CANN's libraries and says where each was found."""

def cann_open_device(folders: list[str], device: int, owned: bool) -> runtime.Device:
    """The NPU as a device of ``runtime``; also ``runtime.Device("cann")`` from then on."""

def cann_close_device() -> None: ...
