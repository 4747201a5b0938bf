"""The stream dialect: a schedule on several streams as IR.

``stream.record`` and ``stream.wait`` order streams, discardable attributes place operations.
"""

from torchair.dialects.stream.attributes import MAIN, label_of, stream_of
from torchair.dialects.stream.dialect import RecordOp, TokenType, WaitOp, get_stream_dialect

__all__ = [
    "MAIN",
    "RecordOp",
    "TokenType",
    "WaitOp",
    "get_stream_dialect",
    "label_of",
    "stream_of",
]
