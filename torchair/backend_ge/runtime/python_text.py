"""An aten graph as a Python function: for readers, and to run a part of it by hand."""

from __future__ import annotations

from typing import Any

import torch

from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, Value


def python_text(graph: AtenGraph, name: str = "forward") -> str:
    """Source of a function that computes what the graph does, one line per call.

    Sizes are numbers of the function's tensors. Constants are written out.
    """
    names = {index: argument.name for index, argument in enumerate(graph.arguments)}
    lines = ["import math", "", "import torch", "from torch import device, inf, nan, tensor", ""]
    lines += [f"def {name}({', '.join(names.values())}):"]
    for index, constant in graph.constants.items():
        names[index] = f"constant_{index}"
        values = constant.flatten().tolist()
        text = f"tensor({values}, dtype={constant.dtype}).reshape({list(constant.shape)})"
        lines.append(f"    {names[index]} = {text}")
    for call in graph.calls:
        names.update((result, _name(call, n, result)) for n, result in enumerate(call.results))
        targets = ", ".join(names[result] for result in call.results)
        targets += ", = " if _gives_one_of_a_list(call) else " = " if targets else ""
        source = f"  # {call.source}" if call.source else ""
        lines.append(f"    {targets}{_call(call, names)}{source}")
    results = ", ".join(names[result] for result in graph.results)
    lines.append(f"    return [{results}]")
    return "\n".join([*lines, ""])


def _name(call: Call, number: int, result: int) -> str:
    node = (call.origin or "").rpartition("-")[0]
    if not node.isidentifier():
        return f"v{result}"
    return node if len(call.results) == 1 else f"{node}_{number}"


def _gives_one_of_a_list(call: Call) -> bool:
    schema: Any = getattr(call.function, "_schema", None)
    is_list = schema is not None and str(schema).rpartition("->")[2].strip().endswith("[]")
    return is_list and len(call.results) == 1


def _call(call: Call, names: dict[int, str]) -> str:
    args = [_text(item, names) for item in call.args]
    if call.on_host:
        return _host_call(call, args)
    args += [f"{name}={_text(item, names)}" for name, item in call.kwargs.items()]
    overload = "" if str(call.function).count(".") > 1 else ".default"
    return f"torch.ops.{call.function}{overload}({', '.join(args)})"


def _host_call(call: Call, args: list[str]) -> str:
    name = call.name.partition(".")[2]
    if name in _OPERATORS:
        return f" {_OPERATORS[name]} ".join(args)
    match name:
        case "sym_size.int":
            return f"{args[0]}.shape[{args[1]}]"
        case "sym_stride.int":
            return f"{args[0]}.stride({args[1]})"
        case "sym_numel" | "sym_storage_offset":
            return f"{args[0]}.{name.removeprefix('sym_')}()"
        case "neg" | "not":
            return f"{'-' if name == 'neg' else 'not '}{args[0]}"
        case "ite":
            return f"{args[1]} if {args[0]} else {args[2]}"
        case "floor" | "ceil" | "trunc" | "sqrt" | "log2":
            return f"math.{name}({args[0]})"
        case _:  # abs, float, int, max, min, round, sum
            return f"{name}({', '.join(args)})"


_OPERATORS = {
    **{"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "truediv": "/", "mod": "%"},
    **{"pow": "**", "lshift": "<<", "rshift": ">>", "bitwise_and": "&", "bitwise_or": "|"},
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&", "or": "|"},
}


def _text(item: Any, names: dict[int, str]) -> str:
    if isinstance(item, Value):
        return names[item.index]
    if isinstance(item, list):
        return f"[{', '.join(_text(part, names) for part in item)}]"
    if isinstance(item, torch.device):
        return f"device({str(item)!r})"
    named = isinstance(item, torch.dtype | torch.layout | torch.memory_format)
    return str(item) if named else repr(item)
