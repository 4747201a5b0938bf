"""One report for everything that could not be converted: what, how often, where, and a stub to
fill."""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.ir import Operation

from torchair.errors import ConversionError, TorchairError, UnsupportedOpError
from torchair.ir.calls import CallOp
from torchair.ir.interned import DYNAMIC
from torchair.ir.location import source_of
from torchair.ir.schema import Role, Schema

_MAX_PLACES = 5


@dataclass
class _Group:
    """All calls of one operator with one message."""

    title: str
    signature: str
    count: int = 0
    places: list[str] = field(default_factory=list[str])

    def add(self, op: Operation) -> None:
        self.count += 1
        source = source_of(op.location)
        if source is not None and source not in self.places:
            self.places.append(source)

    def lines(self) -> list[str]:
        calls = _counted(self.count, "call")
        shown = self.places[:_MAX_PLACES]
        more = len(self.places) - len(shown)
        where = ", ".join(shown) + (f" and {more} more" if more else "")
        return [
            f"  {self.title}   ({calls})",
            f"      types:  {self.signature}",
            f"      source: {where or 'unknown'}",
        ]


class Failures:
    """Collects failures of a conversion."""

    def __init__(self) -> None:
        self.unsupported: dict[str, _Group] = {}
        self.schemas: dict[str, Schema] = {}
        self.errors: dict[str, _Group] = {}
        self.first: TorchairError | None = None

    def add_unsupported(self, op: CallOp) -> None:
        """An operator without a converter."""
        group = self.unsupported.setdefault(op.name, _Group(op.name, _signature(op)))
        group.add(op)
        self.schemas[op.name] = op.schema

    def add_error(self, op: Operation, error: TorchairError) -> None:
        """A call that its converter refused."""
        title = f"{op.name}: {error.what}"
        if error.expected is not None or error.found is not None:
            title += f" (expected {error.expected}, found {error.found})"
        title = title.replace(str(DYNAMIC), "?")
        group = self.errors.setdefault(title, _Group(title, _signature(op)))
        group.add(op)
        self.first = self.first or error

    def raise_if_any(self) -> None:
        """Raise what was collected.

        Raises:
            UnsupportedOpError: at least one operator has no converter.
            ConversionError: all have one, but some calls were refused.
        """
        lines = [line for g in self.errors.values() for line in g.lines()]
        if self.unsupported:
            calls = _counted(sum(g.count for g in self.unsupported.values()), "call")
            operators = _counted(len(self.unsupported), "operator")
            head = f"no converter to GE for {operators} ({calls}):"
            listed = [line for g in self.unsupported.values() for line in g.lines()]
            if lines:
                listed += ["and these calls were refused:", *lines]
            stubs = [converter_stub(schema) for schema in self.schemas.values()]
            body = "\n".join([head, *listed, "", "Converter stubs to fill in:", *stubs])
            raise UnsupportedOpError(
                body,
                hint="register a converter (stubs above), pass custom_decompositions= to "
                "get_npu_backend, or keep the call outside the compiled region",
            )
        if lines:
            hint = None if self.first is None else self.first.hint
            raise ConversionError(
                "\n".join(["some calls cannot be converted to GE:", *lines]),
                hint=hint or "change the call, or pass custom_decompositions= to get_npu_backend",
            ) from self.first


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _signature(op: Operation) -> str:
    inputs = ", ".join(str(t) for t in op.operand_types)
    outputs = ", ".join(str(t) for t in op.result_types)
    return f"({inputs}) -> ({outputs})"


def converter_stub(schema: Schema) -> str:
    """A ready converter skeleton for one operator."""
    namespace, _, rest = schema.name.partition(".")
    overload = rest if "." in rest else f"{rest}.default"
    function = rest.replace(".", "_").lower()
    inputs = [p for p in schema.parameters if p.role < Role.SCALAR]
    positional = [p.name for p in schema.parameters if not p.keyword_only]
    keywords = [f"{p.name}=None" for p in schema.parameters if p.keyword_only]
    signature = ", ".join([*positional, "*", *keywords, "meta_outputs=None"])
    fed = ", ".join(f'"{p.name}": {p.name}' for p in inputs)
    names = [f"y{i}" if len(schema.results) > 1 else "y" for i in range(len(schema.results))]
    ge_name = "".join(part.capitalize() for part in rest.split(".")[0].strip("_").split("_"))
    return (
        f"    @torchair.register_fx_node_ge_converter(torch.ops.{namespace}.{overload})\n"
        f"    def {function}({signature}):\n"
        f'        return torchair.ge.custom_op("{ge_name}", inputs={{{fed}}}, outputs={names!r})'
    )
