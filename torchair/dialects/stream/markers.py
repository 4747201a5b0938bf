"""The ``air`` operators that mark scopes and events, from the user's calls to ``resolve-scopes``.

The frontend defines these very schemas in PyTorch. ``streams`` are PyTorch's own operators for
streams and events, which dynamo writes for plain ``torch.Stream`` code.
"""

from __future__ import annotations

from typing import Final

from xdsl.ir import Operation

from torchair.dialects.aten import define, lookup_custom

SCHEMAS: Final[tuple[str, ...]] = (
    "air::scope_enter(str[] keys, str[] values, bool need_execute=False) -> ()",
    "air::scope_exit(bool need_execute=False) -> ()",
    "air::record(*, Device? device=None) -> Tensor",
    "air::wait(Tensor[] x) -> ()",
    "air::wait_tensor(Tensor self, Tensor dependency) -> Tensor",
    "air::tagged_event_record(str tag) -> ()",
    "air::tagged_event_wait(str tag) -> ()",
    "air::record_tagged_stream(Tensor input, str tagged_stream) -> ()",
    "air::print(Tensor[] tensors, str msg_format, str placeholder, int summarize_size, "
    "bool tensor_detail) -> ()",
)
STREAM_SCHEMAS: Final[tuple[str, ...]] = (
    "streams::record_event(SymInt event_index, SymInt stream_index) -> ()",
    "streams::wait_event(SymInt event_index, SymInt stream_index) -> ()",
    "streams::wait_stream(SymInt waiting_stream_index, SymInt waited_on_stream_index) -> ()",
    "streams::record_stream(Tensor tensor, SymInt stream_index) -> ()",
)
_BY_NAME: Final = {
    schema[: schema.index("(")].replace("::", "."): schema for schema in (*SCHEMAS, *STREAM_SCHEMAS)
}


def find_marker_or_custom(name: str) -> type[Operation] | None:
    """Operation class of a marker, or of a custom operator that this process defined.

    Markers have no dialect of their own to be registered: xDSL has one called ``air``.
    """
    schema = _BY_NAME.get(name)
    found = lookup_custom(name)
    return define(schema) if found is None and schema is not None else found
