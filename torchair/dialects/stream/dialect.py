"""Operations that order streams: an event is an SSA value.

    %e = stream.record {stream.label = "side"} : !stream.token
    stream.wait %e : !stream.token

A record covers every operation before it, in block order, on its own stream; a wait holds back
every operation after it on its own stream. Without ``stream.label`` that is the main stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    result_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from torchair.dialects.stream.attributes import LABEL, MAIN
from torchair.ir.private import UNKNOWN_LOCATION, create_op


@irdl_attr_definition
class TokenType(ParametrizedAttribute, TypeAttribute):
    """Type of an event: the point that a stream has reached at a ``stream.record``."""

    name = "stream.token"


token_type = TokenType()


@irdl_op_definition
class RecordOp(IRDLOperation):
    """Gives an event that happens when everything before it on its stream is over."""

    name = "stream.record"
    token = result_def(TokenType)
    assembly_format = "attr-dict `:` type($token)"

    @staticmethod
    def make(label: str, location: Attribute = UNKNOWN_LOCATION) -> RecordOp:
        """A record on a stream."""
        return create_op(RecordOp, [], [token_type], {}, location, _placed(label))


@irdl_op_definition
class WaitOp(IRDLOperation):
    """Holds back what follows on its stream until all given events have happened."""

    name = "stream.wait"
    tokens = var_operand_def(TokenType)
    assembly_format = "$tokens attr-dict `:` type($tokens)"

    @staticmethod
    def make(
        label: str, tokens: Sequence[SSAValue], location: Attribute = UNKNOWN_LOCATION
    ) -> WaitOp:
        """A wait on a stream."""
        return create_op(WaitOp, list(tokens), [], {}, location, _placed(label))

    def verify_(self) -> None:
        if not self.operands:
            raise VerifyException("a wait needs at least one event")
        for token in self.operands:
            if not isinstance(token.owner, RecordOp):
                raise VerifyException("a wait without record: its event is not a stream.record")


def _placed(label: str) -> dict[str, Attribute]:
    return {} if label == MAIN else {LABEL: StringAttr(label)}


def get_stream_dialect() -> Dialect:
    """The stream dialect."""
    return Dialect("stream", [RecordOp, WaitOp], [TokenType])
