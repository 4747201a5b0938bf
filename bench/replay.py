"""Time of one call of a model: eager, FX code, inductor, and native programs.

Usage: python bench/replay.py [--threads N] [--seconds S] [--models chain,llama,bert,resnet]
                              [--cpp-wrapper] [--no-inductor]

Prints milliseconds per call: the minimum of many, in turns of a fifth of a second, of CPU time with
one thread (neighbours disturb it less) and of wall time with more. Prints what the planned arena
holds, and what a call costs beside its operators. "planned" is a program whose parameters are
bound, "replayed" a captured graph of the same. Every result is compared with eager bit for bit,
save inductor's.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: spinning starves neighbours

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

import torchair  # noqa: F401
from torchair import _native
from torchair.backend_ge.host.program import AtenCall, Program, Slot, Trace

Run = Callable[[], object]
clock: Callable[[], float] = time.perf_counter


@dataclass
class Case:
    """A model as a function of its parameters and inputs.

    Args:
        function: takes ``parameters`` and then ``inputs``, returns a tensor.
        parameters: tensors that stay.
        inputs: tensors that a caller brings.
    """

    function: Callable[..., torch.Tensor]
    parameters: list[torch.Tensor]
    inputs: list[torch.Tensor]


class LlamaStep(torch.nn.Module):
    """One decoding step: hidden 256, 8 layers of 8 heads, 704 wide, KV cache of 128."""

    def __init__(self, hidden: int = 256, layers: int = 8, heads: int = 8, kv: int = 128) -> None:
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)  # noqa: E731
        self.heads, self.head_size = heads, hidden // heads
        self.embed = torch.nn.Embedding(1024, hidden)
        self.qkv = torch.nn.ModuleList(linear(hidden, 3 * hidden) for _ in range(layers))
        self.out = torch.nn.ModuleList(linear(hidden, hidden) for _ in range(layers))
        self.gate = torch.nn.ModuleList(linear(hidden, 704) for _ in range(layers))
        self.up = torch.nn.ModuleList(linear(hidden, 704) for _ in range(layers))
        self.down = torch.nn.ModuleList(linear(704, hidden) for _ in range(layers))
        self.norms = torch.nn.ParameterList(torch.ones(hidden) for _ in range(2 * layers + 1))
        self.head = linear(hidden, 1024)
        for i in range(layers):
            self.register_buffer(f"k{i}", torch.randn(1, heads, kv, self.head_size))
            self.register_buffer(f"v{i}", torch.randn(1, heads, kv, self.head_size))

    def norm(self, x: torch.Tensor, index: int) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.norms[index]

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        half = self.head_size // 2
        angles = position.float() * (10000.0 ** (-torch.arange(half) / half))
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(token)
        for i in range(len(self.qkv)):
            qkv = self.qkv[i](self.norm(x, 2 * i)).view(1, 1, 3, self.heads, self.head_size)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            q, k = self.rotate(q, cos, sin), self.rotate(k, cos, sin)
            keys, values = self.get_buffer(f"k{i}"), self.get_buffer(f"v{i}")
            keys.index_copy_(2, position, k)
            values.index_copy_(2, position, v)
            weights = torch.softmax(q @ keys.transpose(-2, -1) / self.head_size**0.5, -1)
            attended = (weights @ values).transpose(1, 2).reshape(1, 1, -1)
            x = x + self.out[i](attended)
            h = self.norm(x, 2 * i + 1)
            x = x + self.down[i](torch.nn.functional.silu(self.gate[i](h)) * self.up[i](h))
        return self.head(self.norm(x, 2 * len(self.qkv)))


class BertSmall(torch.nn.Module):
    """4 layers, hidden 512, 8 heads, a sequence of 128."""

    def __init__(self, hidden: int = 512, layers: int = 4) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(1000, hidden)
        self.position = torch.nn.Embedding(128, hidden)
        self.norm = torch.nn.LayerNorm(hidden)
        self.qkv = torch.nn.ModuleList(torch.nn.Linear(hidden, 3 * hidden) for _ in range(layers))
        self.out = torch.nn.ModuleList(torch.nn.Linear(hidden, hidden) for _ in range(layers))
        self.norm1 = torch.nn.ModuleList(torch.nn.LayerNorm(hidden) for _ in range(layers))
        self.up = torch.nn.ModuleList(torch.nn.Linear(hidden, 4 * hidden) for _ in range(layers))
        self.down = torch.nn.ModuleList(torch.nn.Linear(4 * hidden, hidden) for _ in range(layers))
        self.norm2 = torch.nn.ModuleList(torch.nn.LayerNorm(hidden) for _ in range(layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length = tokens.shape
        x = self.norm(self.embed(tokens) + self.position.weight[:length])
        for i in range(len(self.qkv)):
            qkv = self.qkv[i](x).view(batch, length, 3, 8, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            weights = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, -1)
            attended = (weights @ v).transpose(1, 2).reshape(batch, length, -1)
            x = self.norm1[i](x + self.out[i](attended))
            x = self.norm2[i](x + self.down[i](torch.nn.functional.gelu(self.up[i](x))))
        return x


class ResidualBlock(torch.nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = torch.nn.BatchNorm2d(n_out)
        self.conv2 = torch.nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = torch.nn.BatchNorm2d(n_out)
        self.shortcut = torch.nn.Sequential()
        if stride != 1:
            self.shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(n_in, n_out, 1, stride, bias=False), torch.nn.BatchNorm2d(n_out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


def resnet18() -> torch.nn.Module:
    """ResNet-18 for pictures of 224 x 224."""
    blocks: list[torch.nn.Module] = []
    for n_in, n_out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        blocks += [ResidualBlock(n_in, n_out, stride), ResidualBlock(n_out, n_out, 1)]
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        torch.nn.BatchNorm2d(64),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        *blocks,
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 1000),
    )


def functional(module: torch.nn.Module, *inputs: torch.Tensor) -> Case:
    """A module whose parameters and buffers are arguments."""
    module = module.eval().requires_grad_(False)
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    names = list(state)

    def call(*tensors: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, tensors[: len(names)], strict=True))
        return torch.func.functional_call(module, given, tuple(tensors[len(names) :]))

    return Case(call, list(state.values()), list(inputs))


def chain(n_calls: int = 1000) -> Case:
    """Additions of 16 numbers."""

    def call(x: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(n_calls):
            y = y + x
        return y

    return Case(call, [], [torch.ones(16)])


CASES: dict[str, Callable[[], Case]] = {
    "chain": chain,
    "llama": lambda: functional(LlamaStep(), torch.tensor([[5]]), torch.tensor([77])),
    "bert": lambda: functional(BertSmall(), torch.randint(0, 1000, (1, 128))),
    "resnet": lambda: functional(resnet18(), torch.randn(1, 3, 224, 224)),
}


def trace_of(graph: torch.fx.GraphModule) -> Trace:
    """The ATen calls of a graph, with the batch norm and loops of eager decomposed by make_fx."""
    slots: dict[torch.fx.Node, Any] = {}
    trace = Trace([], {}, [], [])
    n_slots = 0

    def new_slot() -> Slot:
        nonlocal n_slots
        n_slots += 1
        return Slot(n_slots - 1)

    def use(value: Any) -> Any:
        return map_arg(value, lambda node: slots[node])

    for node in graph.graph.nodes:
        if node.op == "placeholder":
            slots[node] = new_slot()
            trace.inputs.append(slots[node])
        elif node.op == "get_attr":
            slots[node] = new_slot()
            trace.constants[slots[node]] = getattr(graph, node.target)
        elif node.op == "output":
            trace.outputs = [use(node.args[0])]
        elif node.target.__name__ == "getitem":
            slots[node] = slots[node.args[0]][node.args[1]]
        else:
            meta = node.meta["val"]
            several = isinstance(meta, list | tuple)
            results: list[Slot | None] = [new_slot() for _ in (meta if several else [meta])]
            slots[node] = results if several else results[0]
            args, kwargs = plain(use(node.args)), plain(use(node.kwargs))
            trace.calls.append(AtenCall(node.target, args, kwargs, results, len(trace.calls)))
    return trace


def plain(value: Any) -> Any:
    """Lists and dicts of Python's own instead of FX's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def fastest(run: Run, seconds: float) -> float:
    """Milliseconds of the fastest call, by the clock of the options."""
    run()
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = clock()
        run()
        best = min(best, clock() - start)
    return best * 1e3


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Table:
    """Variants of one model."""

    def __init__(self, expected: torch.Tensor) -> None:
        self.expected = expected
        self.times: dict[str, float] = {}
        self._runs: dict[str, Run] = {}
        self._notes: dict[str, str] = {}

    def add(self, label: str, run: Run, exact: bool = True, note: str = "") -> None:
        found: Any = run()
        if exact and found is not None:
            found = found[0] if isinstance(found, list) else found
            assert torch.equal(found, self.expected), f"{label} is not bit-identical to eager"
        self._runs[label], self._notes[label] = run, note

    def measure(self, seconds: float) -> None:
        """Rounds of a fifth of a second each, so that a busy minute is everybody's."""
        self.times = dict.fromkeys(self._runs, float("inf"))
        for _ in range(round(seconds * 5)):
            for label, run in self._runs.items():
                self.times[label] = min(self.times[label], fastest(run, 0.2))
        for label, found in self.times.items():
            ratio = self.times["eager"] / found
            print(f"  {label:22} {found:9.3f} ms   {ratio:5.2f} x eager  {self._notes[label]}")


def inductor(case: Case, cpp_wrapper: bool) -> Callable[..., object]:
    import torch._inductor.config as config

    torch._dynamo.reset()
    with config.patch(cpp_wrapper=cpp_wrapper):
        compiled: Any = torch.compile(case.function, backend="inductor", fullgraph=True)
        start = time.perf_counter()
        compiled(*case.parameters, *case.inputs)
        print(f"  (compiled by inductor in {time.perf_counter() - start:.1f} s)")
    return compiled


def measure(name: str, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    case = CASES[name]()
    tensors = [*case.parameters, *case.inputs]
    eager = case.function
    with torch.no_grad():
        print(f"\n{name}")
        table = Table(eager(*tensors))
        table.add("eager", lambda: eager(*tensors))
        table.add("eager, inference_mode", lambda: inference(eager, tensors))
        graph = make_fx(eager, tracing_mode="fake", _allow_non_fake_inputs=True)(*tensors)
        code = graph.forward
        table.add("FX code", lambda: code(*tensors))
        ours(table, case, trace_of(graph))
        if not options.no_inductor:
            compiled = inductor(case, False)
            table.add("inductor", lambda: compiled(*tensors), exact=False)
        if options.cpp_wrapper:
            wrapped = inductor(case, True)
            table.add("inductor, cpp wrapper", lambda: wrapped(*tensors), exact=False)
        table.measure(options.seconds)
    if "inductor" in table.times:
        print(
            f"  planned against inductor {table.times['inductor'] / table.times['planned']:.2f} x"
        )
    print(f"  peak memory of the process {peak_mib():.0f} MiB")


def inference(eager: Callable[..., torch.Tensor], tensors: list[torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return eager(*tensors)


def ours(table: Table, case: Case, trace: Trace) -> None:
    tensors = [*case.parameters, *case.inputs]
    start = time.perf_counter()
    program = Program(trace)
    built = (time.perf_counter() - start) * 1e3
    unplanned = Program(trace, plan=False)
    note = f"built in {built:.1f} ms, {len(program.routes)} calls"
    table.add("unplanned", lambda: unplanned.run(tensors), note=note)
    start = time.perf_counter()
    program.plan(tensors)
    planned = (time.perf_counter() - start) * 1e3
    bound = program.bind(dict(enumerate(case.parameters)))
    arena = program.arena_bytes / max(program.max_live_bytes, 1)
    note = f"planned in {planned:.1f} ms, arena {program.arena_bytes} bytes, {arena:.3f} x live"
    table.add("planned", lambda: bound.run(case.inputs), note=note)
    device = _native.runtime.Device("host")
    stream = device.create_stream()
    launch = program.bind(dict(enumerate(tensors))).launch()
    stream.begin_capture()
    launch.put_on(device, [stream])
    replayed = stream.end_capture()

    def replay() -> None:
        replayed.replay(stream)
        stream.synchronize()

    replay()
    assert torch.equal(launch.outputs()[0], table.expected)
    table.add("replayed", replay, note=f"{replayed.task_count} tasks")


def call_overhead() -> None:
    """A program of one addition, which takes half a microsecond itself."""
    print("\ncall overhead of a bound program, microseconds")
    for n_inputs in (1, 4, 16, 64):
        slots = [Slot(i) for i in range(n_inputs)]
        slots_and_one = [*slots, Slot(n_inputs)]
        call = AtenCall(torch.ops.aten.add.Tensor, (slots[0], slots[0]), {}, [Slot(n_inputs)], 0)
        program = Program(Trace(slots_and_one[:-1], {}, [call], [Slot(n_inputs)]))
        tensors = [torch.ones(4) for _ in slots]
        program.plan(tensors)
        nothing = program.bind({})
        cost = fastest(lambda p=nothing, t=tensors: p.run(t), 0.5) * 1e3
        print(f"  {n_inputs:3} tensors {cost:7.2f}   limit {3 + 0.3 * n_inputs:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--models", default=",".join(CASES))
    parser.add_argument("--cpp-wrapper", action="store_true", help="compiles for minutes")
    parser.add_argument("--no-inductor", action="store_true")
    options = parser.parse_args(sys.argv[1:])
    torch.set_num_threads(options.threads)
    if options.threads == 1:
        global clock
        clock = time.process_time
    for name in options.models.split(","):
        measure(name, options)
    call_overhead()


if __name__ == "__main__":
    main()
