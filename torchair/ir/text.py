"""Printer and parser with caches for types, the costliest part of reading and writing large modules.

Use ``print_module`` and ``parse_module``; ``torchair-opt`` uses the same classes.
"""

from __future__ import annotations

import io
from typing import IO, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Operation, TypeAttribute
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError
from xdsl.utils.mlir_lexer import MLIRTokenKind

from torchair.errors import ArtifactError
from torchair.ir import private
from torchair.ir.interned import canonical


class CachedPrinter(Printer):
    """Prints each distinct tensor type once and repeats the text."""

    def __init__(self, stream: IO[str] | None = None, **options: bool) -> None:
        super().__init__(stream, **options)  # pyright: ignore[reportArgumentType]
        self._texts: dict[int, tuple[Attribute, str]] = {}

    def print_attribute(self, attribute: Attribute) -> None:
        if not isinstance(attribute, TensorType):
            super().print_attribute(attribute)
            return
        found = self._texts.get(id(cast(Attribute, attribute)))
        if found is None:
            buffer = io.StringIO()
            Printer(buffer).print_attribute(cast(Attribute, attribute))
            found = (cast(Attribute, attribute), buffer.getvalue())
            self._texts[id(cast(Attribute, attribute))] = found
        self.print_string(found[1])


class CachedParser(Parser):
    """Parses each distinct ``tensor<...>`` text once; every type it returns is interned."""

    def parse_optional_type(self) -> TypeAttribute | None:
        kind, start, text = private.token_at(self)
        if kind is not MLIRTokenKind.BARE_IDENT or text != "tensor":
            return super().parse_optional_type()
        cache = self._type_cache()
        source = private.source_text(self)
        end = _closing_angle(source, start)
        key = source[start:end]
        found = cache.get(key)
        if found is not None:
            private.resume_at(self, end)
            return found
        parsed = super().parse_optional_type()
        if parsed is not None and private.token_at(self)[1] >= end:
            parsed = cast(TypeAttribute, canonical(parsed))
            cache[key] = parsed
        return parsed

    def _type_cache(self) -> dict[str, TypeAttribute]:
        cache = self.__dict__.get("torchair_types")
        if cache is None:
            cache = self.__dict__["torchair_types"] = {}
        return cache


def _closing_angle(source: str, start: int) -> int:
    """Offset just past the ``>`` that closes the first ``<`` after ``start``."""
    depth = 0
    in_string = False
    for position in range(start, len(source)):
        char = source[position]
        if in_string:
            in_string = char != '"'
        elif char == '"':
            in_string = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth -= 1
            if depth == 0:
                return position + 1
    return len(source)


def print_module(module: Operation, *, locations: bool = True) -> str:
    """Text of a module.

    Args:
        module: what to print.
        locations: whether to write source locations (``loc(...)``), so that a dump keeps them.
    """
    buffer = io.StringIO()
    CachedPrinter(buffer, print_debuginfo=locations).print_op(module)
    return buffer.getvalue() + "\n"


def parse_module(context: Context, text: str, name: str = "<string>") -> ModuleOp:
    """Parse a module.

    Raises:
        ArtifactError: with line, column and an excerpt of the offending text.
    """
    try:
        return CachedParser(context, text, name).parse_module()
    except ParseError as error:
        raise ArtifactError(
            f"{name} is not a module: {str(error).strip()}",
            hint="check the line named above; torchair-opt prints well-formed modules",
        ) from error
    except RecursionError as error:
        raise ArtifactError(
            f"{name} is nested too deeply to be a module",
            hint="the file is damaged; dump the module again",
        ) from error
