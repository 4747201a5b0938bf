"""Calls of a captured graph whose numbers are replaced before a replay, by task groups of ACL.

Capture and update launch the same operator with the same tensors, so a result must have a place of
its own: the operator's ``out`` overload is called. An operator that needs workspace takes it as an
argument, as large as any lengths need (``_<name>_get_max_workspace``, as in torch_npu), because
memory that an update would allocate belongs to nobody at the replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from torchair import _native
from torchair.backend_ge.runtime.aten_graph import Call
from torchair.backend_ge.runtime.update_slots import UpdateSite
from torchair.errors import EngineError

_WORKSPACE = "workspace"


@dataclass(slots=True)
class UpdatedCall:
    """A captured call with its task group.

    Args:
        site: the call, and the numbers of the next replay.
        place: calls the operator with these arguments.
        tensors: what the call reads.
        results: where the call writes.
        group: its tasks in the graph.
        captured: the numbers that the tasks have now.
    """

    site: UpdateSite
    place: Callable[..., Any]
    tensors: list[torch.Tensor]
    results: list[torch.Tensor]
    group: _native.runtime.TaskGroup | None = None
    captured: dict[int, Any] | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the next replay needs other numbers."""
        return self.captured != self.site.values

    def launch(self) -> None:
        """Call the operator with the numbers of the next replay.

        Raises:
            EngineError: they were not set since the last replay.
        """
        args, kwargs = self.site.arguments(self.tensors)
        self.place(*args, **kwargs)

    def note_captured(self) -> None:
        """The tasks have the numbers of the next replay now."""
        self.captured = dict(self.site.values or {})


def prepare_update(site: UpdateSite, tensors: Sequence[torch.Tensor]) -> UpdatedCall:
    """Find the operator that writes to given tensors, and make these tensors.

    Args:
        site: the call; its numbers are set.
        tensors: what it reads, in the site's order.

    Raises:
        EngineError: the operator has no ``out`` overload.
    """
    call = site.call
    target = _out_overload(call)
    args, kwargs = site.arguments(list(tensors))
    results = _empty_like_results(call, args, kwargs)
    given: dict[str, Any] = _outputs_by_name(target, results)
    if any(argument.name == _WORKSPACE for argument in target._schema.arguments):
        given[_WORKSPACE] = _max_workspace(call)(*args, **kwargs)

    def place(*args: Any, **kwargs: Any) -> Any:
        return target(*args, **kwargs, **given)

    return UpdatedCall(site, place, list(tensors), results)


def _out_overload(call: Call) -> Any:
    """``aten.foo.out`` of ``aten.foo``, ``aten.foo.Bar_out`` of ``aten.foo.Bar``."""
    operator: Any = call.function
    own = operator._overloadname
    wanted = "out" if own == "default" else f"{own}_out"
    found = getattr(operator.overloadpacket, wanted, None)
    if found is None:
        raise EngineError(
            f"{call.name} has no overload '{wanted}', so its numbers cannot be updated on an NPU",
            op=call.origin or call.name,
            loc=call.source,
            hint="give the operator an out= overload, or do not register its parameters with "
            "register_update_slots: then each of their values is captured",
        )
    return found


def _empty_like_results(
    call: Call, args: Sequence[Any], kwargs: dict[str, Any]
) -> list[torch.Tensor]:
    """Memory for the results of a call, whose geometry fake tensors tell."""
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
    with _disable_current_modes(), fake_mode as mode, torch.no_grad():
        fakes = tree_map_only(torch.Tensor, mode.from_tensor, (args, kwargs))
        found: Any = call.function(*fakes[0], **fakes[1])
    made: list[torch.Tensor] = []
    for fake in found if isinstance(found, list | tuple) else [found]:
        made.append(
            torch.empty_strided(fake.size(), fake.stride(), dtype=fake.dtype, device=fake.device)
        )
    return made


def _outputs_by_name(target: Any, results: list[torch.Tensor]) -> dict[str, Any]:
    """The arguments of an ``out`` overload that are written: one list, or one tensor each."""
    written = [a for a in target._schema.arguments if a.alias_info and a.alias_info.is_write]
    if len(written) == 1 and isinstance(written[0].type, torch.ListType):
        return {written[0].name: results}
    return {argument.name: result for argument, result in zip(written, results, strict=True)}


def _max_workspace(call: Call) -> Any:
    operator: Any = call.function
    namespace, _, name = operator._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), f"_{name}_get_max_workspace", None)
    if packet is None:
        raise EngineError(
            f"{call.name} takes a workspace, and no operator tells how large it may be",
            expected=f"{namespace}::_{name}_get_max_workspace",
            op=call.origin or call.name,
            loc=call.source,
        )
    return packet


def launch_updates(
    calls: Sequence[UpdatedCall],
    stream: _native.runtime.Stream,
    settle: Callable[[], object],
) -> None:
    """Queue the update of task groups on a stream that captures nothing.

    Args:
        calls: whose numbers have changed; torch's current stream is ``stream``.
        stream: where the updates are queued.
        settle: gives what torch has launched to the device.

    Raises:
        EngineError: an operator failed; the group keeps what it had.
        DeviceError: the device refused.
    """
    for call in calls:
        assert call.group is not None, "captured"
        stream.begin_update(call.group)
        call.captured = None
        try:
            call.launch()
            settle()
            stream.end_update()
        except BaseException:
            _abandon(stream)
            raise
        call.note_captured()


def _abandon(stream: _native.runtime.Stream) -> None:
    try:
        stream.end_update()
    except _native.runtime.DeviceError:
        return  # the first error is on its way; the numbers of the group count as unknown
