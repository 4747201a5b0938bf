"""Error classes, one per audience. Every message says what, expected and found, where, and what to
try.

This module imports nothing, so every other module may use it.
"""

from __future__ import annotations


class TorchairError(Exception):
    """Base of all torchair errors.

    Args:
        what: what went wrong, one sentence.
        expected: what would have been right.
        found: what was there instead.
        op: the operator concerned, e.g. ``aten.add.Tensor`` or a GE node name.
        loc: the user's source position ``file:line``.
        hint: what the reader can do; printed as the last line, ``Try: <hint>``.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        op: str | None = None,
        loc: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.expected = expected
        self.found = found
        self.op = op
        self.loc = loc
        self.hint = hint
        super().__init__(self.message())

    def message(self) -> str:
        """The full text: what, expected, found, operator, source, and the ``Try:`` line."""
        lines = [self.what]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.found is not None:
            lines.append(f"  found:    {self.found}")
        if self.op is not None:
            lines.append(f"  operator: {self.op}")
        if self.loc is not None:
            lines.append(f"  source:   {self.loc}")
        if self.hint is not None:
            lines.append(f"Try: {self.hint}")
        return "\n".join(lines)


class UnsupportedOpError(TorchairError):
    """The model uses an operator that has no converter."""


class ConversionError(TorchairError):
    """The operator is supported, but not this call of it."""


class VerifyError(TorchairError):
    """The IR is malformed."""


class ConfigError(TorchairError, ValueError):
    """An option has a wrong name or value."""


class EngineError(TorchairError):
    """The device, GE or ACL refused or failed."""


class ArtifactError(TorchairError):
    """A file is not what it says it is."""
