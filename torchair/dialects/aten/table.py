"""Index of ``table.txt`` (torch) and ``npu_table.txt`` (torch_npu): one line per overload,
``schema @tags``, parsed on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torchair.dialects.aten.torch_schema import mnemonic, parse_schema
from torchair.ir.schema import Schema

TABLE = Path(__file__).with_name("table.txt")
NPU_TABLE = Path(__file__).with_name("npu_table.txt")
NAMESPACES = ("_c10d_functional", "aten", "npu", "npu_define", "prims", "quantized")


@cache
def _index() -> dict[str, str]:
    lines = [
        line
        for table in (TABLE, NPU_TABLE)
        for line in table.read_text(encoding="utf-8").splitlines()
    ]
    return {mnemonic(line[: line.index("(")]): line for line in lines if line[0] != "#"}


def names(namespace: str) -> list[str]:
    """All mnemonics of one namespace."""
    prefix = namespace + "."
    return [name for name in _index() if name.startswith(prefix)]


@cache
def tags(name: str) -> frozenset[str]:
    """Torch tags of an overload (``core``, ``pointwise``, ``view``...); empty when unknown."""
    line = _index().get(name, "")
    _, mark, text = line.rpartition(" @")
    return frozenset(text.split(",")) if mark else frozenset()


def find(name: str) -> Schema | None:
    """Schema of a mnemonic, or None when the table does not have it."""
    line = _index().get(name)
    if line is None:
        return None
    text, mark, _ = line.rpartition(" @")
    return parse_schema(text if mark else line, tags(name))
