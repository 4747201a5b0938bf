"""Reader of declared calls as text: ``Support(F32(2, 2), [1, -1], dtype=torch.float16)``.

Only calls of the declaration classes, literals, torch data types and a few numpy functions are
understood; nothing else is evaluated.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from torchair._ge_concrete_graph import supported_declaration
from torchair._ge_concrete_graph.supported_declaration import Support
from torchair.errors import ArtifactError

_NAMES: dict[str, Any] = {
    **{name: getattr(supported_declaration, name) for name in supported_declaration.__all__},
    "float": float,
    "int": int,
    "inf": float("inf"),
    "nan": float("nan"),
}
_NUMPY: dict[str, Callable[..., Any]] = {
    "arange": np.arange,
    "ones": np.ones,
    "zeros": np.zeros,
    "random.randint": np.random.randint,
    **{name: np.dtype(name).type for name in ("int32", "int64", "float32", "float16", "bool_")},
}


def parse_case(text: str) -> Support:
    """The declared call of a text.

    Raises:
        ArtifactError: the text is none, or uses something that is not understood.
    """
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ArtifactError(
            "a case is not a declared call",
            expected="Support(F32(2, 2), 1.0, dtype=torch.float16)",
            found=f"{text[:200]} ({error})",
        ) from error
    if not isinstance(value, Support):
        raise ArtifactError(
            "a case is not a declared call", expected="Support(...)", found=text[:200]
        )
    return value


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _value(node.left) * _value(node.right)
    if isinstance(node, ast.Name):
        return _NAMES[node.id]
    if isinstance(node, ast.Attribute):
        return _attribute(node)
    if isinstance(node, ast.Call):
        arguments = [_value(item) for item in node.args]
        named = {item.arg: _value(item.value) for item in node.keywords if item.arg is not None}
        return _function(node.func)(*arguments, **named)
    raise ValueError(f"'{ast.unparse(node)}' is not understood")


def _function(node: ast.expr) -> Callable[..., Any]:
    if isinstance(node, ast.Attribute) and node.attr == "astype":
        return _value(node.value).astype
    return _value(node)


def _attribute(node: ast.Attribute) -> Any:
    """A torch data type or a numpy function."""
    root, _, path = ast.unparse(node).partition(".")
    if root == "np":
        return _NUMPY[path]
    if root != "torch" or "." in path:
        raise ValueError(f"'{root}.{path}' is not understood")
    torch: Any = importlib.import_module("torch")
    found = getattr(torch, path)
    if not isinstance(found, torch.dtype | torch.layout | torch.memory_format):
        raise ValueError(f"torch.{path} is not a data type")
    return found
