"""Printer and parser with caches for types, the costliest part of the text of large modules.

Use ``print_module`` and ``parse_module``; ``torchair-opt`` uses the same classes.
"""

from __future__ import annotations

import io
import re
from typing import IO, Any, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Attribute, Operation, TypeAttribute
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Span
from xdsl.utils.mlir_lexer import MLIRTokenKind

from torchair.errors import ArtifactError
from torchair.ir import private
from torchair.ir.interned import canonical

_BRACKETS = re.compile(r'[<>]|->|"(?:[^"\\]|\\.)*"')
"""What opens and closes a type, and what only looks like it: arrows and strings."""


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

    def parse_module(self, allow_implicit_module: bool = True) -> ModuleOp:
        """A module; whatever is wrong with the text is a ``ParseError`` at the current token."""
        try:
            return super().parse_module(allow_implicit_module)
        except ParseError:
            raise
        except RecursionError as error:
            raise self._error("the text is nested too deeply to be a module") from error
        except Exception as error:  # attribute constructors raise what they like on odd values
            raise self._error(f"{type(error).__name__}: {error}") from error

    def _error(self, message: str) -> ParseError:
        _, start, text = private.token_at(self)
        return ParseError(Span(start, start + len(text), self.lexer.input), message)

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
            parsed = canonical(parsed)
            cache[key] = parsed
        return parsed

    def parse_optional_str_literal(self) -> str | None:
        """A string literal; unlike xDSL's, one with escapes may hold any UTF-8 text."""
        kind, start, _ = private.token_at(self)
        if kind is not MLIRTokenKind.BYTES_LIT:
            return super().parse_optional_str_literal()
        literal = self.parse_optional_bytes_literal()
        assert literal is not None, "the token is a literal"
        try:
            return literal.decode("utf-8")
        except UnicodeDecodeError:
            private.resume_at(self, start)
            return None

    def _parse_tensor_literal_element(self) -> Any:
        return private.as_float_bits(super()._parse_tensor_literal_element())

    def _type_cache(self) -> dict[str, TypeAttribute]:
        cache = self.__dict__.get("torchair_types")
        if cache is None:
            cache = self.__dict__["torchair_types"] = {}
        return cache  # pyright: ignore[reportUnknownVariableType]


def _closing_angle(source: str, start: int) -> int:
    """Offset just past the ``>`` that closes the first ``<`` after ``start``."""
    depth = 0
    for match in _BRACKETS.finditer(source, start):
        mark = match.group()
        depth += (mark == "<") - (mark == ">")
        if depth == 0 and mark == ">":
            return match.end()
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
