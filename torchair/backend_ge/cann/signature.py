"""What the engine must know of a serialized GE graph to call it: ports, aliases, staticness."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torchair.backend_ge import graph_attrs as keys
from torchair.backend_ge import proto
from torchair.backend_ge.graph_structure import INPUT_TYPES
from torchair.dialects.ge import dtypes
from torchair.errors import ArtifactError

_BY_PROTO = {data_type.proto: data_type for data_type in dtypes.DATA_TYPES}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output.

    Args:
        name: of the Data node, or ``output 3``.
        data_type: element type.
        shape: sizes, -1 where not known before a run; None when not even the rank is.
        on_host: the graph takes it from host memory (a scalar).
    """

    name: str
    data_type: dtypes.DataType
    shape: tuple[int, ...] | None
    on_host: bool = False

    @property
    def is_static(self) -> bool:
        """Whether the shape is known."""
        return self.shape is not None and all(size >= 0 for size in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a tensor of the port; the shape must be known."""
        assert self.shape is not None and self.is_static, "callers check"
        return self.bytes_of(self.shape)

    def bytes_of(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor with this shape.

        Raises:
            ArtifactError: elements of the type have no fixed size.
        """
        size = self.data_type.storage_bytes(math.prod(shape))
        if size is None:
            raise ArtifactError(f"{self.name} has elements of no fixed size", found=self.data_type)
        return size


@dataclass(frozen=True, slots=True)
class Signature:
    """How a graph is called.

    Args:
        inputs: by the index of their Data node.
        outputs: of NetOutput; those after ``returned`` exist only to write inputs.
        returned: how many outputs the caller gets.
        aliases: (output, input): the output is the new value of the input.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    returned: int
    aliases: tuple[tuple[int, int], ...]

    @property
    def is_static(self) -> bool:
        """Whether all shapes are known."""
        return all(port.is_static for port in (*self.inputs, *self.outputs))


def read_signature(model: proto.ModelDef) -> Signature:
    """The signature of the first graph of a model.

    Raises:
        ArtifactError: it is not a graph that ``emit`` writes or GE reads.
    """
    if not model.graph:
        raise ArtifactError("the model has no graph")
    graph = model.graph[0]
    inputs = sorted(
        (node for node in graph.op if node.type in INPUT_TYPES), key=lambda n: n.attr["index"].i
    )
    if [node.attr["index"].i for node in inputs] != list(range(len(inputs))):
        raise ArtifactError(
            "the graph's inputs are not numbered from 0",
            found=[node.attr["index"].i for node in inputs],
        )
    ends = [node for node in graph.op if node.type == "NetOutput"]
    if len(ends) != 1:
        raise ArtifactError("a graph has one NetOutput", found=len(ends))
    outputs = tuple(_port(f"output {i}", desc) for i, desc in enumerate(ends[0].input_desc))
    return Signature(
        tuple(_port(node.name, node.output_desc[0]) for node in inputs),
        outputs,
        _returned(graph, len(outputs)),
        _aliases(graph, len(outputs), len(inputs)),
    )


def _port(name: str, desc: Any) -> Port:
    data_type = _BY_PROTO.get(desc.dtype)
    if data_type is None:
        raise ArtifactError(f"{name} has an unknown data type", found=desc.dtype)
    sizes = tuple(desc.shape.dim)
    return Port(name, data_type, None if -2 in sizes else sizes, desc.device_type == "CPU")


def _returned(graph: Any, outputs: int) -> int:
    if keys.MODULE not in graph.attr:
        return outputs
    try:
        returned = json.loads(graph.attr[keys.MODULE].s).get("outputs", outputs)
    except (ValueError, AttributeError) as error:
        raise ArtifactError(f"'{keys.MODULE}' is not what emission writes") from error
    if type(returned) is not int or not 0 <= returned <= outputs:
        raise ArtifactError(f"'{keys.MODULE}' counts more outputs than there are", found=returned)
    return returned


def _aliases(graph: Any, outputs: int, inputs: int) -> tuple[tuple[int, int], ...]:
    if keys.REF_OUTPUTS not in graph.attr:
        return ()
    flat = list(graph.attr[keys.REF_OUTPUTS].list.i)
    pairs = tuple(zip(flat[0::2], flat[1::2], strict=False))
    if len(flat) % 2 or any(not (0 <= o < outputs and 0 <= i < inputs) for o, i in pairs):
        raise ArtifactError(f"'{keys.REF_OUTPUTS}' names tensors that do not exist", found=flat)
    return pairs
