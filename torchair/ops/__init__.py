"""Operators that order streams and print from inside a graph.

done = torchair.ops.record()                 # an event: all before it on this stream
with torchair.scope.npu_stream_switch("side"):
    torchair.ops.wait([done])                # what follows here starts after it
    y = x + 1
"""

from __future__ import annotations

from typing import Any

import torch

import torchair.frontend.scopes  # noqa: F401  (defines the operators)

__all__ = [
    "npu_create_tagged_event",
    "npu_print",
    "npu_record_tagged_stream",
    "npu_tagged_event_record",
    "npu_tagged_event_wait",
    "record",
    "wait",
]


def record() -> torch.Tensor:
    """An event: everything before this call on its stream is over. Pass it to ``wait``."""
    return torch.ops.air.record()


def wait(tensors: list[torch.Tensor]) -> None:
    """Holds back what follows on this stream until all given events or tensors are there.

    Args:
        tensors: results of ``record``, or tensors computed on any stream.

    Raises:
        ValueError: no list, an empty one, or something in it that is not a tensor.
    """
    if isinstance(tensors, torch.Tensor):
        raise ValueError("wait takes a list of tensors and events, got one: write wait([event])")
    if not tensors:
        raise ValueError("wait needs at least one tensor or event, got none")
    for item in tensors:
        if not isinstance(item, torch.Tensor):
            raise ValueError(f"wait takes tensors and events, got {type(item).__name__}")
    torch.ops.air.wait(list(tensors))


class TaggedEvent:
    """An event with a name, made by ``npu_create_tagged_event``."""

    def __init__(self, tag: str) -> None:
        self.tag = tag


def npu_create_tagged_event(tag: str) -> TaggedEvent:
    """An event that is recorded and waited for by name, within one compiled graph.

    Raises:
        ValueError: the tag is empty or no text.
    """
    if not isinstance(tag, str) or not tag:
        raise ValueError(f"the tag of an event is a text, got {tag!r}")
    return TaggedEvent(tag)


def npu_tagged_event_record(event: TaggedEvent) -> None:
    """Records the event here: everything before this call on its stream is over.

    Raises:
        TypeError: `event` is not from ``npu_create_tagged_event``.
    """
    _check_event(event)
    torch.ops.air.tagged_event_record(event.tag)


def npu_tagged_event_wait(event: TaggedEvent) -> None:
    """Holds back what follows on this stream until the event, recorded earlier, has happened.

    Raises:
        TypeError: `event` is not from ``npu_create_tagged_event``.
    """
    _check_event(event)
    torch.ops.air.tagged_event_wait(event.tag)


def _check_event(event: object) -> None:
    if not isinstance(event, TaggedEvent):
        raise TypeError(f"an event of npu_create_tagged_event is needed, got {event!r}")


def npu_record_tagged_stream(input: torch.Tensor, tagged_stream: str) -> None:
    """Says that a tensor's memory is in use on a stream. Compiled schedules find that out from the
    uses themselves; the call is checked (the stream must exist) and has no other effect."""
    torch.ops.air.record_tagged_stream(input, tagged_stream)


def npu_print(*args: Any, summarize_size: int = 3, tensor_detail: bool = False) -> None:
    """Prints tensors and other values when the graph runs, to stderr, in program order.

    Args:
        args: tensors, and texts, numbers and truth values between them; at least one tensor.
        summarize_size: items shown at each end of a dimension; -1 shows all.
        tensor_detail: whether shape and dtype of each tensor are shown as well.

    Raises:
        TypeError: an argument of another type.
        ValueError: no tensor at all, or `summarize_size` is 0 or below -1.
    """
    for item in args:
        if not isinstance(item, torch.Tensor | str | bool | float | int):
            raise TypeError(f"npu_print cannot print a {type(item).__name__}")
    tensors = [item for item in args if isinstance(item, torch.Tensor)]
    if not tensors:
        raise ValueError("npu_print needs at least one tensor")
    if isinstance(summarize_size, bool) or not isinstance(summarize_size, int):
        raise TypeError(f"summarize_size must be an int, got {type(summarize_size).__name__}")
    if summarize_size < -1 or summarize_size == 0:
        raise ValueError(f"summarize_size must be positive, or -1 for all, got {summarize_size}")
    if not isinstance(tensor_detail, bool):
        raise TypeError(f"tensor_detail must be a bool, got {type(tensor_detail).__name__}")
    placeholder = _placeholder([str(a) for a in args if not isinstance(a, torch.Tensor)])
    items = [_item(item, placeholder, tensor_detail) for item in args]
    torch.ops.air.print(tensors, " ".join(items), placeholder, summarize_size, tensor_detail)


def _placeholder(texts: list[str]) -> str:
    """A placeholder that none of the texts contains."""
    placeholder, number = "{}", 0
    while any(placeholder in text for text in texts):
        placeholder = "{" + str(number) + "}"
        number += 1
    return placeholder


def _item(item: Any, placeholder: str, tensor_detail: bool) -> str:
    if not isinstance(item, torch.Tensor):
        return str(item)
    if not tensor_detail:
        return placeholder
    return f"tensor({placeholder}, shape={placeholder}, dtype={item.dtype})"
