"""How many GE nodes a model becomes: per FX call, by operator type, and what should not be there.

    python bench/graph_quality.py [--types] [--numerics fast|eager]

Nodes are counted in the emitted GraphDef without Data, NetOutput and Const, and all together. The
last columns count duplicate constants, dead nodes, pairs of casts and pairs of transposes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "test"))
from models import Llama, ResNet, make_encoder

import torchair
from torchair.backend_ge.graph_text import read_graph_file

INTERFACE = ("Data", "RefData", "NetOutput", "Const", "FileConstant")


@dataclass(frozen=True)
class Case:
    """One model, its inputs and the goal: GE nodes per FX call."""

    name: str
    model: nn.Module
    inputs: tuple[torch.Tensor, ...]
    dynamic: bool
    goal: float


@dataclass(frozen=True)
class Quality:
    """What was counted in one graph."""

    fx: int
    computing: int
    total: int
    duplicates: int
    dead: int
    cast_pairs: int
    transpose_pairs: int
    types: Counter[str]


def cases() -> list[Case]:
    """The models of the goals."""
    torch.manual_seed(0)
    tokens = torch.randint(0, 128, (2, 16))
    features = torch.randn(2, 12, 64)
    image = torch.randn(2, 3, 32, 32)
    llama, encoder, resnet = Llama(layers=8).eval(), make_encoder(4).eval(), ResNet().eval()
    return [
        Case("Llama, 8 layers", llama, (tokens,), False, 0.8),
        Case("Llama, 8 layers", llama, (tokens,), True, 1.0),
        Case("encoder, 4 layers", encoder, (features,), False, 0.7),
        Case("encoder, 4 layers", encoder, (features,), True, 0.7),
        Case("ResNet", resnet, (image,), False, 0.8),
        Case("ResNet", resnet, (image,), True, 0.8),
    ]


def measure(case: Case, numerics: str) -> Quality:
    """Compile a model and count the graph that was emitted."""
    torch._dynamo.reset()
    with tempfile.TemporaryDirectory() as folder:
        config = torchair.CompilerConfig()
        config.numerics = numerics
        config.debug.ir_dump.path = folder
        backend = torchair.get_npu_backend(compiler_config=config)
        with torch.no_grad():
            torch.compile(case.model, backend=backend, dynamic=case.dynamic)(*case.inputs)
        [path] = Path(folder).rglob("*graph.pbtxt")
        return count(read_graph_file(path).graph[0], backend.reports[0].nodes["fx"])


def count(graph: Any, fx: int) -> Quality:
    """Counts of one GraphDef."""
    nodes = {node.name: node for node in graph.op}
    types = Counter(node.type for node in graph.op)
    used = {source.rsplit(":", 1)[0] for node in graph.op for source in node.input if source}
    constants = [
        (n.attr["value"].t.desc.SerializeToString(deterministic=True), n.attr["value"].t.data)
        for n in graph.op
        if n.type == "Const"
    ]
    return Quality(
        fx,
        sum(k for t, k in types.items() if t not in INTERFACE),
        len(graph.op),
        len(constants) - len(set(constants)),
        sum(n.type != "NetOutput" and n.type != "Data" and n.name not in used for n in graph.op),
        pairs(nodes, "Cast"),
        pairs(nodes, "Transpose"),
        types,
    )


def pairs(nodes: dict[str, Any], kind: str) -> int:
    """Nodes of a type whose first input is of the same type."""
    found = 0
    for node in nodes.values():
        if node.type == kind and node.input:
            source = nodes.get(node.input[0].rsplit(":", 1)[0])
            found += source is not None and source.type == kind
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--types", action="store_true", help="nodes by operator type")
    parser.add_argument("--numerics", default="fast", choices=("fast", "eager"))
    options = parser.parse_args()
    columns = ("FX", "GE", "all", "GE/FX", "goal", "dup", "dead", "casts", "transposes")
    print(" " * 28, *columns)
    for case in cases():
        found = measure(case, options.numerics)
        name = f"{case.name}, {'dynamic' if case.dynamic else 'static'}"
        print(
            f"{name:28s} {found.fx:5d} {found.computing:5d} {found.total:5d} "
            f"{found.computing / found.fx:6.2f} {case.goal:4.1f} {found.duplicates:4d} "
            f"{found.dead:4d} {found.cast_pairs:5d} {found.transpose_pairs:10d}"
        )
        if options.types:
            print("    " + ", ".join(f"{t} {k}" for t, k in found.types.most_common()))


if __name__ == "__main__":
    main()
