"""Graph files: binary (``.pb``, ``.air``) and protobuf text (``.pbtxt``, ``.txt``).

Both hold a ``ModelDef`` or a bare ``GraphDef``. The text is protobuf's own text format, so it reads
back; TensorFlow-like ``node { op: ... }`` dumps have lost what a graph needs and are refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from torchair.backend_ge import proto
from torchair.backend_ge.constants import PROTOBUF_LIMIT, read_file, serialize, write_file
from torchair.errors import ArtifactError

_MessageT = TypeVar("_MessageT", bound=Message)
BINARY_SUFFIXES: Final = (".pb", ".air")
TEXT_SUFFIXES: Final = (".pbtxt", ".txt")
_LOSSY: Final = re.compile(r"^\s*node\s*:?\s*\{", re.MULTILINE)
_GRAPH_FIELD: Final = re.compile(r"^\s*op\s*:?\s*\{", re.MULTILINE)
_MODEL_FIELD: Final = re.compile(r"^\s*graph\s*:?\s*\{", re.MULTILINE)


def read_graph_file(path: Path | str) -> proto.ModelDef:
    """The model in a graph file; a bare graph becomes a model of that name.

    Args:
        path: a file whose suffix names its format.

    Raises:
        ArtifactError: the file is missing, too large, or not a graph.
    """
    path = Path(path)
    suffix = _checked_suffix(path)
    data = read_file(path, PROTOBUF_LIMIT)
    if suffix in BINARY_SUFFIXES:
        return _from_binary(path, data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{path} is not text", hint="a binary graph has the suffix .pb or .air"
        ) from error
    return _from_text(path, text)


def write_graph_file(model: proto.ModelDef, path: Path | str) -> None:
    """Write a model in the format that the suffix names; the file is complete or absent.

    Raises:
        ArtifactError: unknown suffix, model too large, or the folder cannot be written.
    """
    path = Path(path)
    if _checked_suffix(path) in BINARY_SUFFIXES:
        write_file(path, [serialize(model)])
    else:
        write_file(path, [graph_text(model).encode("utf-8")])


def graph_text(message: Message) -> str:
    """Protobuf text of a model or graph, which reads back as the same message."""
    return text_format.MessageToString(message, as_utf8=False)


def _checked_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (*BINARY_SUFFIXES, *TEXT_SUFFIXES):
        raise ArtifactError(
            f"{path} has no suffix of a graph file",
            expected=", ".join((*BINARY_SUFFIXES, *TEXT_SUFFIXES)),
            found=suffix or "none",
        )
    return suffix


def _from_binary(path: Path, data: bytes) -> proto.ModelDef:
    """A model, or the graph that the bytes are when they are no model."""
    model = _decoded(proto.ModelDef(), data)
    if model is not None and model.graph:
        return model
    graph = _decoded(proto.GraphDef(), data)
    if graph is not None and graph.op:
        return proto.ModelDef(name=graph.name, graph=[graph])
    raise ArtifactError(
        f"{path} is neither a GE ModelDef nor a GraphDef",
        found=f"{len(data)} bytes",
        hint="the file may be truncated; write it again",
    )


def _decoded(message: _MessageT, data: bytes) -> _MessageT | None:
    try:
        message.MergeFromString(data)
    except DecodeError:
        return None
    return message


def _from_text(path: Path, text: str) -> proto.ModelDef:
    is_graph = _GRAPH_FIELD.search(text) and not _starts_model(text)
    message = proto.GraphDef() if is_graph else proto.ModelDef()
    try:
        text_format.Parse(text, message)
    except (text_format.ParseError, RecursionError, ValueError) as error:
        if _LOSSY.search(text):
            raise ArtifactError(
                f"{path} is a TensorFlow-like dump, which cannot be read back",
                hint="dump the graph as .txt or .pb",
            ) from error
        raise ArtifactError(
            f"{path} is not the protobuf text of a GE graph: {str(error)[:200]}",
            hint="check the line named above; the file may be truncated",
        ) from error
    if isinstance(message, proto.GraphDef):
        return proto.ModelDef(name=message.name, graph=[message])
    if not message.graph:
        raise ArtifactError(f"{path} holds no graph")
    return message


def _starts_model(text: str) -> bool:
    """Whether a ``graph`` field opens before the first ``op``: the text is a ModelDef."""
    graph, op = _MODEL_FIELD.search(text), _GRAPH_FIELD.search(text)
    return graph is not None and (op is None or graph.start() < op.start())
