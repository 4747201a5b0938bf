"""Runs one sample through the compiler and says how that ended."""

from __future__ import annotations

import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch._functorch.aot_autograd import aot_function
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import torchair
from conformance.compare import (
    UNDEFINED,
    Mismatch,
    are_as_accurate,
    compare,
    compare_distributions,
    is_random,
)
from conformance.samples import PATHS, Group, Sample, seed, tolerance_of
from torchair.errors import ConversionError, UnsupportedOpError
from torchair.frontend.decompositions import default_decompositions

PASS = "pass"
MISMATCH = "mismatch"
UNSUPPORTED = "unsupported"
UNCAPTURABLE = "uncapturable"
CRASH = "crash"
TIMEOUT = "timeout"
SKIP = "skip"
STATUSES = (PASS, MISMATCH, UNSUPPORTED, UNCAPTURABLE, CRASH, TIMEOUT, SKIP)
"""How a sample ends.

``unsupported``: a clear error of ours, before anything ran. ``uncapturable``: PyTorch's own
``aot_eager`` backend cannot capture the call either. ``skip``: eager refuses the call.
"""


class SampleTimeout(BaseException):
    """Raised by the alarm; not an Exception, so that nothing on the way swallows it."""


@dataclass(frozen=True)
class Outcome:
    """Result of one sample; a line of the result file.

    Args:
        status: one of ``STATUSES``.
        cause: short and the same for equal failures: what the ranking counts.
        detail: the whole message.
        ops: ATen overloads of the compiled graphs, kept only for failures.
        seconds: CPU time of this process.
    """

    op: str
    dtype: str
    mode: str
    inplace: bool
    path: str
    index: int
    status: str
    cause: str = ""
    detail: str = ""
    ops: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def group(self) -> Group:
        """The group it belongs to."""
        return Group(self.op, self.dtype, self.mode, self.inplace)

    def as_record(self) -> dict[str, Any]:
        """The record of the result file; empty fields are left out."""
        return {k: v for k, v in asdict(self).items() if v not in ("", ())}


def run_sample(
    group: Group, index: int, sample: Sample, path: str, seconds: float = 60.0
) -> Outcome:
    """Compile, run and compare one sample.

    The other path is tried when PyTorch cannot capture it, and torch.compile decides about what
    breaks on the direct path.

    Args:
        group: the group it belongs to.
        index: its number in OpInfo's list.
        sample: the call.
        path: ``dynamo`` (torch.compile) or ``direct`` (AOT autograd without dynamo).
        seconds: limit of CPU time, which does not depend on what else the machine does.
    """
    outcome = _run_path(group, index, sample, path, seconds)
    shortcut_broke = outcome.status == CRASH and path == "direct"  # AOT alone lacks dynamo's sizes
    if outcome.status != UNCAPTURABLE and not shortcut_broke:
        return outcome
    other = _run_path(group, index, sample, PATHS[1 - PATHS.index(path)], seconds)
    return outcome if other.status == UNCAPTURABLE else other


def _run_path(group: Group, index: int, sample: Sample, path: str, seconds: float) -> Outcome:
    trial = _Trial(group, sample, path)
    start = time.process_time()
    try:
        with _alarm(seconds), torch.no_grad():
            status, cause, detail = trial.run()
    except SampleTimeout:
        status, cause, detail = TIMEOUT, f"over {seconds:.0f} s", ""
    ops = tuple(trial.ops) if status in (MISMATCH, CRASH, TIMEOUT) else ()
    spent = round(time.process_time() - start, 4)
    which = (group.op, group.dtype, group.mode, group.inplace, path, index)
    return Outcome(*which, status, cause, detail, ops, spent)


class _Trial:
    """One sample on its way; ``ops`` fills when graphs are compiled."""

    def __init__(self, group: Group, sample: Sample, path: str) -> None:
        self.group = group
        self.sample = sample
        self.path = path
        self.dynamic = group.mode == "dynamic"
        self.ops: dict[str, None] = {}
        self.config = torchair.CompilerConfig()
        self.config.post_grad_custom_pre_pass = self.note

    def run(self) -> tuple[str, str, str]:
        """(status, cause, detail)."""
        try:
            wanted = self.eager()
        except Exception as error:
            return SKIP, _first_line(error), ""
        try:
            compiled = self.compiled()
            found = self.call(compiled)
        except Exception as error:
            return self.classify(error)
        tolerance = tolerance_of(self.group)
        try:
            compare(found, wanted, tolerance, values=self.group.op not in UNDEFINED)
        except Mismatch as error:
            return self.judge(compiled, error)
        return PASS, "", ""

    def judge(self, compiled: Callable[..., Any], error: Mismatch) -> tuple[str, str, str]:
        """A difference is none when the operator is random and the distributions agree."""
        if self.is_as_accurate(compiled):
            return PASS, "as accurate as eager", ""
        try:
            if not is_random(self.eager):
                return self.blame(error)
            compare_distributions(lambda s: self.call(compiled, s), self.eager)
        except Mismatch as distribution:
            return MISMATCH, f"{distribution.kind} in {self.graph()}", str(distribution)
        return PASS, "distribution", ""

    def is_as_accurate(self, compiled: Callable[..., Any]) -> bool:
        """Whether a half precision result is at most twice as far from float64's as eager's is."""
        if self.group.dtype not in ("float16", "bfloat16"):
            return False
        try:
            exact = tree_leaves(self.sample.in_double()())
        except Exception:
            return False
        ours, theirs = self.call(compiled)[0], self.eager()[0]
        return are_as_accurate(tree_leaves(ours), tree_leaves(theirs), exact)

    def blame(self, error: Mismatch) -> tuple[str, str, str]:
        """Whether a difference comes from PyTorch's capture, the decompositions or the lowering."""
        if not self.agrees_in_torch({}):
            return UNCAPTURABLE, f"{error.kind}: PyTorch's own capture differs too", str(error)
        decomposed = not self.agrees_in_torch(default_decompositions())
        origin = "decomposition to " if decomposed else ""
        return MISMATCH, f"{error.kind} in {origin}{self.graph()}", str(error)

    def agrees_in_torch(self, decompositions: dict[Any, Callable[..., Any]]) -> bool:
        """Whether the captured graph, run by PyTorch itself, gives eager's results."""
        try:
            found = self.call(self.through_aot(_interpret, decompositions))
            compare(found, self.eager(), tolerance_of(self.group))
        except Exception:
            return False
        return True

    def graph(self) -> str:
        """The overloads of the compiled graphs, shortened."""
        names = [name for name in self.ops if "getitem" not in name]
        return " ".join(names[:4]) + (f" (+{len(names) - 4})" if len(names) > 4 else "")

    def classify(self, error: Exception) -> tuple[str, str, str]:
        inner = _unwrap(error)
        if isinstance(inner, UnsupportedOpError | ConversionError):
            return UNSUPPORTED, _refused(inner), str(inner)
        if not self.is_capturable():
            return UNCAPTURABLE, _signature(inner), str(inner)
        return CRASH, _signature(inner), "".join(traceback.format_exception(inner))

    def is_capturable(self) -> bool:
        """Whether PyTorch's own eager backend takes the call."""
        try:
            self.call(self.compiled(ours=False))
        except Exception:
            return False
        return True

    def eager(self, value: int = 0) -> Any:
        """Eager's results, and the tensors it was given as it left them."""
        return self.call(self.sample.function, value)

    def call(self, function: Callable[..., Any], value: int = 0) -> Any:
        args, kwargs = self.sample.fresh()
        seed(value)
        result = self.sample.defined(function(*args, **kwargs))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        return result, given

    def compiled(self, ours: bool = True) -> Callable[..., Any]:
        if self.path == "dynamo":
            return self.through_dynamo(ours)
        if ours:
            return self.through_aot(torchair.get_compiler(self.config), default_decompositions())
        return self.through_aot(_interpret, {})

    def through_dynamo(self, ours: bool) -> Callable[..., Any]:
        function = self.sample.function

        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        torch._dynamo.reset()
        backend = torchair.get_npu_backend(compiler_config=self.config) if ours else "aot_eager"
        return torch.compile(call, backend=backend, dynamic=self.dynamic, fullgraph=True)

    def through_aot(
        self, compiler: Callable[..., Any], decompositions: dict[Any, Callable[..., Any]]
    ) -> Callable[..., Any]:
        leaves, spec = tree_flatten((self.sample.args, self.sample.kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

        def on_tensors(*tensors: torch.Tensor) -> Any:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            args, kwargs = tree_unflatten(filled, spec)
            return self.sample.function(*args, **kwargs)

        function = aot_function(
            on_tensors,
            fw_compiler=compiler,
            inference_compiler=compiler,
            decompositions=decompositions,
            keep_inference_input_mutations=True,
            dynamic=self.dynamic,
        )
        return lambda *args, **kwargs: function(*(tree_leaves((args, kwargs))[i] for i in places))

    def note(self, gm: torch.fx.GraphModule, *_: Any) -> None:
        """The compiler's hook: keeps the overloads of the graph."""
        self.ops.update((str(n.target), None) for n in gm.graph.nodes if n.op == "call_function")


def _interpret(gm: torch.fx.GraphModule, example_inputs: Any) -> Callable[..., Any]:
    return gm.forward


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise SampleTimeout

    previous = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def _unwrap(error: BaseException) -> BaseException:
    while isinstance(error, BackendCompilerFailed):
        error = error.inner_exception
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", lines[0][:160]) if lines else ""


def _signature(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


_LISTED = re.compile(r"^  (\S.*?)   \(\d+ calls?\)$", re.MULTILINE)
_NODES = re.compile(r"^(?:  found:    |            )(\S+) \(\w+\)(?:: (.*))?$", re.MULTILINE)


def _refused(error: BaseException) -> str:
    """The overloads that an error lists, with the reason when it is more than 'no converter'."""
    text = str(error)
    found = _LISTED.findall(text)
    found += [f"{name}: {why}" if why else name for name, why in _NODES.findall(text)]
    return "; ".join(sorted(set(found))) or _signature(error)
