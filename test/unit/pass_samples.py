"""Operands for tests of passes."""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


PROMOTED = words("bool uint8 int32 int64 float16 bfloat16 float32 float64")
