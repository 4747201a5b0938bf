"""Dialects whose operation classes are made on first use, and the Context that asks for them.

With a plain ``xdsl.context.Context`` (stock ``xdsl-opt``) a ``LazyDialect`` builds all its classes
once, which is slower and still right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from xdsl.context import Context
from xdsl.ir import Attribute, Dialect, Operation

from torchair.ir import private


class LazyDialect(Dialect):
    """A dialect backed by a table.

    Args:
        name: dialect name.
        lookup: returns the operation class of a full mnemonic, or None.
        names: lists all mnemonics (only tools that enumerate need it).
        attributes: attribute and type classes.
    """

    def __init__(
        self,
        name: str,
        lookup: Callable[[str], type[Operation] | None],
        names: Callable[[], Iterable[str]],
        attributes: Sequence[type[Attribute]] = (),
    ) -> None:
        super().__init__(name, [], list(attributes))
        self.lookup = lookup
        self.names = names

    @property
    def operations(self) -> Iterator[type[Operation]]:
        """All operation classes; builds every one."""
        found = (self.lookup(name) for name in self.names())
        return iter([cls for cls in found if cls is not None])


class LazyContext(Context):
    """A Context that loads a ``LazyDialect`` without its operations and finds them one by one."""

    find_other_op: Callable[[str], type[Operation] | None] | None = None
    """Asked for operations that no registered dialect has (custom operators of this process)."""

    def load_registered_dialect(self, name: str) -> None:
        dialect = self._registered_dialects[name]() if name in self._registered_dialects else None
        if not isinstance(dialect, LazyDialect):
            super().load_registered_dialect(name)
            return
        self._loaded_dialects[name] = dialect
        for attribute in dialect.attributes:
            self.load_attr_or_type(attribute)

    def get_optional_op(
        self, name: str, *, dialect_stack: Sequence[str] = ()
    ) -> type[Operation] | None:
        found = self._loaded_ops.get(name)
        if found is not None:
            return found
        dialect_name = name.split(".", 1)[0]
        if dialect_name in self._registered_dialects and dialect_name not in self._loaded_dialects:
            self.load_registered_dialect(dialect_name)
        dialect = self._loaded_dialects.get(dialect_name)
        if isinstance(dialect, LazyDialect):
            found = dialect.lookup(name)
            if found is not None:
                private.remember_op(self, found)
                return found
        elif self.find_other_op is not None:
            found = self.find_other_op(name)
            if found is not None:
                return found
        return super().get_optional_op(name, dialect_stack=dialect_stack)

    def clone(self) -> LazyContext:
        copy = LazyContext(self.allow_unregistered)
        private.set_context_tables(copy, self)
        copy.find_other_op = self.find_other_op
        return copy
