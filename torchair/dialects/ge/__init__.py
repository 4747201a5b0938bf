"""The GE dialect: one operation class per GE operator, made from the registry; builders for it."""

from torchair.dialects.ge.dialect import GeOp, get_ge_dialect, lookup_op

__all__ = ["GeOp", "get_ge_dialect", "lookup_op"]
