"""The ATen dialect: one operation class per overload of a torch namespace, made from a table.

``aten``, ``prims``, ``_c10d_functional`` and ``quantized`` come from ``table.txt`` (generated from
torch's schema registry by ``scripts/generate_aten_table.py``); custom namespaces are defined on
import from their live schema; ``sym`` is the arithmetic of symbolic sizes.
"""

from torchair.dialects.aten.dialect import (
    AtenOp,
    SchemaAttr,
    define,
    get_aten_dialects,
    lookup,
    lookup_custom,
)

__all__ = ["AtenOp", "SchemaAttr", "define", "get_aten_dialects", "lookup", "lookup_custom"]
