"""Reader of PyTorch operator schemas, as ``str(op._schema)`` writes them.

aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor
"""

# xDSL's generic classes narrow to Unknown parameters under isinstance.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import ast
import re

from torchair.errors import VerifyError
from torchair.ir.schema import REQUIRED_VALUE, Parameter, Role, Schema

_NUMBERS = {
    "int": "int",
    "SymInt": "int",
    "float": "float",
    "bool": "bool",
    "SymBool": "bool",
    "Scalar": "number",
    "number": "number",
}
_STATICS = {
    "str": "str",
    "ScalarType": "dtype",
    "Layout": "layout",
    "Device": "device",
    "MemoryFormat": "memory_format",
}
_COMMUNICATES = re.compile(r"(npu_define|_c10d_functional)::(?!wait_tensor)")
"""Operators that other ranks wait for: none is dropped, moved or done once for two."""
_TYPE = re.compile(
    r"(?P<base>[\w.]+)(?P<alias>\([^)]*\))?(?P<inner>\?)?(?P<list>\[\d*\])?(?P<outer>\?)?"
)


def mnemonic(qualified: str) -> str:
    """``aten::add.Tensor`` -> ``aten.add.Tensor``; ``aten::relu`` and ``.default`` ->
    ``aten.relu``."""
    return qualified.replace("::", ".", 1).removesuffix(".default")


def parse_schema(text: str, tags: frozenset[str] = frozenset()) -> Schema:
    """Read one schema.

    Args:
        text: the schema.
        tags: torch tags of the operator; ``nondeterministic_seeded`` and others matter to passes.

    Raises:
        VerifyError: the text is not a schema.
    """
    opening = text.find("(")
    arrow = text.rfind(" -> ")
    if opening < 0 or arrow < opening:
        raise VerifyError(f"not an operator schema: {text!r}", hint="use str(op._schema)")
    # Results may hold parentheses and arguments may hold alias sets ``(a -> *)``: the argument list
    # ends at the parenthesis that closes the first one.
    closing = _closing(text, opening)
    parameters: list[Parameter] = []
    keyword_only = False
    for item in _split(text[opening + 1 : closing]):
        if item == "*":
            keyword_only = True
        elif item != "...":
            parameters.append(_parameter(item, keyword_only))
    results = _results(text[closing + 1 :].split("->", 1)[1].strip())
    acts = any(p.writes for p in parameters) or _COMMUNICATES.match(text) is not None
    return Schema.make(
        mnemonic(text[:opening]),
        parameters,
        results,
        text,
        pure=not acts and bool(results) and "nondeterministic_seeded" not in tags,
    )


def _closing(text: str, opening: int) -> int:
    depth = 0
    quoted = False
    for position in range(opening, len(text)):
        char = text[position]
        if char == '"':
            quoted = not quoted
        if quoted:
            continue
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return position
    raise VerifyError(f"unbalanced parentheses in schema: {text!r}", hint="use str(op._schema)")


def _split(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    items: list[str] = []
    depth = 0
    quoted = False
    start = 0
    for position, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted:
            depth += (char in "([") - (char in ")]")
            if char == "," and depth == 0:
                items.append(text[start:position].strip())
                start = position + 1
    tail = text[start:].strip()
    return [*items, tail] if tail else items


def _parameter(text: str, keyword_only: bool) -> Parameter:
    declaration, equals, default_text = text.partition("=")
    type_text, _, name = declaration.strip().rpartition(" ")
    default = _default(default_text) if equals else REQUIRED_VALUE
    match = _TYPE.fullmatch(type_text)
    if match is None:
        return Parameter(name, Role.STATIC, "any", default, keyword_only, True)
    base, is_list = match["base"], match["list"] is not None
    writes = "!" in (match["alias"] or "")
    nullable = match["outer"] is not None or (match["inner"] is not None and not is_list)
    if nullable and default is REQUIRED_VALUE:
        default = None
    role, kind = _role(base, is_list, match["inner"] is not None, nullable)
    if role in (Role.VARIADIC, Role.MASKED) and default is REQUIRED_VALUE:
        default = []
    return Parameter(name, role, kind, default, keyword_only, nullable, writes)


def _role(base: str, is_list: bool, inner_optional: bool, nullable: bool) -> tuple[Role, str]:
    if base == "Tensor":
        if is_list:
            return (Role.MASKED if inner_optional else Role.VARIADIC), "tensor"
        return (Role.OPTIONAL if nullable else Role.REQUIRED), "tensor"
    if base in _NUMBERS:
        return (Role.LIST if is_list else Role.SCALAR), _NUMBERS[base]
    if base in _STATICS and not is_list:
        return Role.STATIC, _STATICS[base]
    return Role.STATIC, "any"


def _default(text: str) -> object:
    text = text.strip()
    if text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[text]
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"Mean": 1, "contiguous_format": None, "inf": float("inf")}.get(text, text)
    return list(value) if isinstance(value, tuple) else value


def _results(text: str) -> list[str]:
    if text.startswith("("):
        text = text[1 : _closing(text, 0)]
    results: list[str] = []
    for item in _split(text):
        kind = item.split(" ", 1)[0] if not item.startswith("(") else item
        results.append(re.sub(r"\([^)]*\)", "", kind))
    return results
