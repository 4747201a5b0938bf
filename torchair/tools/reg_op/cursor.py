"""A position in the tokens of a header, and the errors that say where reading stopped."""

from __future__ import annotations

from collections.abc import Sequence

from torchair.errors import ArtifactError
from torchair.tools.reg_op.tokens import Place, Token

DEEPEST = 16
"""Nesting of braces and parentheses that is read."""


class Cursor:
    """Reads tokens one by one.

    Attributes:
        macro: the macro being read, for messages, e.g. ``INPUT``.
        operator: the operator being read, or an empty string.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self.macro = ""
        self.operator = ""

    @property
    def token(self) -> Token:
        """The next token."""
        return self._tokens[self._at]

    def take(self) -> Token:
        """The next token, which is passed; the end stays."""
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these names or signs."""
        return self.token.kind in ("name", "punctuation") and self.token.text in texts

    def accept(self, text: str) -> bool:
        """Pass the next token if it is this one."""
        found = self.at(text)
        if found:
            self.take()
        return found

    def expect(self, text: str) -> Token:
        """Pass the next token, which must be this one.

        Raises:
            ArtifactError: it is another one.
        """
        if not self.at(text):
            raise self.error("is malformed", expected=f"'{text}'")
        return self.take()

    def name(self, what: str) -> str:
        """Pass a name.

        Raises:
            ArtifactError: the next token is no name.
        """
        if self.token.kind != "name":
            raise self.error("is malformed", expected=what)
        return self.take().text

    def error(
        self,
        what: str,
        *,
        expected: object = None,
        found: object = None,
        at: Place | None = None,
        hint: str | None = None,
    ) -> ArtifactError:
        """An error about the macro being read, at the next token unless `at` says where."""
        owner = f"REG_OP({self.operator})" if self.operator else "REG_OP"
        macro = "" if self.macro in ("", "REG_OP") else f"{self.macro} of "
        shown = self.token.text if found is None else found
        return ArtifactError(
            f"{macro}{owner} {what}",
            expected=expected,
            found=str(shown)[:80],
            loc=str(at or self.token.place),
            hint=hint,
        )
