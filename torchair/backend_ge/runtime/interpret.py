"""Runs an aten graph call by call on real tensors: what eager mode does, without a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, fill
from torchair.backend_ge.runtime.specialise import call_error, flat_results
from torchair.errors import TorchairError

Observer = Callable[[Call, Sequence[Any], Sequence[Any]], None]
"""Called with a call, its arguments in order, and its results."""


def interpret(
    graph: AtenGraph, inputs: Sequence[Any], observe: Observer | None = None
) -> list[torch.Tensor]:
    """Results of a graph.

    Args:
        graph: the graph.
        inputs: a tensor or number per argument; mutated inputs are written.
        observe: sees every call.

    Raises:
        EngineError: a call failed; names the operator and the source line.
    """
    values: dict[int, Any] = {**graph.constants, **dict(enumerate(inputs))}
    with torch.no_grad():
        for call in graph.calls:
            results = flat_results(_run(call, values))
            values.update(zip(call.results, results, strict=False))
            if observe is not None:
                arguments = [*call.args, *call.kwargs.values()]
                observe(call, [fill(item, values) for item in arguments], results)
        constants = {id(tensor) for tensor in graph.constants.values()}
        found = [values[result] for result in graph.results]
        return [tensor.clone() if id(tensor) in constants else tensor for tensor in found]


def _run(call: Call, values: dict[int, Any]) -> Any:
    args = [fill(item, values) for item in call.args]
    kwargs = {name: fill(item, values) for name, item in call.kwargs.items()}
    try:
        return call.function(*args, **kwargs)
    except TorchairError:
        raise
    except Exception as error:
        raise call_error(call, error, "failed") from error
