"""How AOT autograd functionalises the operators that write their first argument and return it.

PyTorch functionalises custom operators by itself unless a result aliases an argument; for those of
the form ``op_(Tensor(a!) self, ...) -> Tensor(a!)`` the functional operator ``op`` takes their
place, and its result is written back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


def define_functionalization(
    library: torch.library.Library, namespace: str, schemas: Iterable[str]
) -> None:
    """Register the functional form of every in-place operator that has one.

    Args:
        library: where the operators are defined.
        namespace: of the operators.
        schemas: of all operators defined, without their namespace.
    """
    texts = {text[: text.index("(")]: text for text in schemas}
    for name, text in texts.items():
        if name.endswith("_") and name[:-1] in texts and "!)" in text.split("->")[1]:
            library.impl(name, _functional_form(namespace, name[:-1]), "Functionalize")


def _functional_form(namespace: str, twin: str) -> Callable[..., Any]:
    def functionalize(target: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        functional = getattr(getattr(torch.ops, namespace), twin)
        result = functional(target, *args, **kwargs)
        return target.copy_(result)

    return functionalize
