"""Runs an aten graph call by call on real tensors: what eager mode does, without a capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, fill
from torchair.backend_ge.runtime.specialise import call_error, flat_results
from torchair.errors import TorchairError


def interpret(graph: AtenGraph, inputs: Sequence[Any]) -> list[torch.Tensor]:
    """Results of a graph.

    Args:
        graph: the graph.
        inputs: a tensor or number per argument; mutated inputs are written.

    Raises:
        EngineError: a call failed; names the operator and the source line.
    """
    values: dict[int, Any] = {**graph.constants, **dict(enumerate(inputs))}
    with torch.no_grad():
        for call in graph.calls:
            values.update(zip(call.results, flat_results(_run(call, values)), strict=False))
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
