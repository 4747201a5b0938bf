"""``custom_op``: a node of any GE type; operators and host kernels that users add."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xdsl.ir import Attribute

from torchair.dialects.ge import dialect, registry
from torchair.errors import ArtifactError, ConfigError
from torchair.ge import attr as attrs_of
from torchair.ge.errors import ArgumentCountError, ArgumentTypeError
from torchair.ge.nodes import add_node, operator_class
from torchair.ge.tensor import Tensor
from torchair.ir.values import encode_list, encode_scalar

_NODE_ATTRIBUTE = "ge.attr."


def custom_op(
    op_type: str,
    *args: Any,
    inputs: Mapping[str, Any] | None = None,
    outputs: Sequence[str | tuple[str, int]] | None = None,
    attrs: Mapping[str, attrs_of.Attr | None] | None = None,
    node_name: str | None = None,
) -> Any:
    """Append a node of any GE type.

    Two forms. By position: all registered inputs, then all registered attributes as plain values,
    in order; ``None`` leaves an optional input or an attribute out. By name: `inputs` (None and
    lists allowed), `attrs` with ``torchair.ge.attr`` values, and `outputs`, where a dynamic output
    is ``("y", count)``. These three are ignored when there are positional arguments.

    Returns:
        The output tensor (a list for a dynamic output), a tuple of these when there are several,
        None when there are none.

    Raises:
        OperatorError: GE's registry does not have the operator (a RuntimeError).
        ArgumentCountError: wrong number of positional arguments (an IndexError).
        ArgumentTypeError: an argument of the wrong kind (a TypeError).
    """
    if args:
        return _by_position(op_type, args, node_name)
    return _by_name(op_type, inputs or {}, outputs or (), attrs or {}, node_name)


def _by_position(op_type: str, args: Sequence[Any], node_name: str | None) -> Any:
    spec = operator_class(op_type).spec
    names = [*(port.name for port in spec.inputs), *spec.attrs]
    if len(args) != len(names):
        raise ArgumentCountError(
            f"custom_op('{op_type}') takes all inputs and attributes by position",
            expected=f"{len(names)}: {', '.join(names)}",
            found=len(args),
            hint="pass None for what is left out, or use inputs=, outputs= and attrs=",
        )
    given = list(args[: len(spec.inputs)])
    for port, value in zip(spec.inputs, given, strict=True):
        _check_kind(op_type, port, value)
    values = {
        name: attrs_of.from_value(known.type, value, name)
        for (name, known), value in zip(spec.attrs.items(), args[len(spec.inputs) :], strict=True)
        if value is not None
    }
    return _results(add_node(op_type, given, values, node_name=node_name))


def _by_name(
    op_type: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[str | tuple[str, int]],
    attrs: Mapping[str, attrs_of.Attr | None],
    node_name: str | None,
) -> Any:
    wanted = [_output(entry) for entry in outputs]
    spec = operator_class(op_type, _definition(op_type, inputs, wanted, attrs)).spec
    _check_names(op_type, "input", inputs, spec.input_index)
    _check_names(op_type, "output", dict(wanted), spec.output_index)
    given = [inputs.get(port.name) for port in spec.inputs]
    for port, value in zip(spec.inputs, given, strict=True):
        _check_kind(op_type, port, value)
    values: dict[str, Any] = {}
    extra: dict[str, Attribute] = {}
    for name, attribute in attrs.items():
        if attribute is None:
            continue
        if not isinstance(attribute, attrs_of.Attr):
            raise ArgumentTypeError(
                f"attribute '{name}' of {op_type} has no type",
                expected=", ".join(attrs_of.__all__[1:]),
                found=f"{attribute!r} ({type(attribute).__name__})",
                hint=f"attrs={{'{name}': torchair.ge.attr.Int(...)}}",
            )
        if name in spec.attrs:
            values[name] = attribute.as_property(spec.attrs[name].type)
        elif name.startswith("_"):
            extra[_NODE_ATTRIBUTE + name] = _discardable(attribute)
        else:
            values[name] = attribute.value  # refused by add_node, which names the known ones
    counts = {name: count for name, count in wanted if count >= 0}
    results = add_node(op_type, given, values, counts, node_name=node_name, extra=extra)
    by_name = dict(zip((port.name for port in spec.outputs), results, strict=True))
    return _results([by_name[name] for name, _ in wanted])


def _results(results: list[Any]) -> Any:
    if not results:
        return None
    return results[0] if len(results) == 1 else tuple(results)


def _output(entry: Any) -> tuple[str, int]:
    if isinstance(entry, str):
        return entry, -1
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], int):
        return str(entry[0]), entry[1]
    raise ArgumentTypeError("an output is a name, or (name, count) when dynamic", found=repr(entry))


def _check_names(
    op_type: str, what: str, given: Mapping[str, Any], known: Mapping[str, int]
) -> None:
    for name in given:
        if name not in known:
            raise ArgumentTypeError(
                f"{op_type} has no {what} '{name}'", expected=", ".join(known) or f"no {what}"
            )


def _check_kind(op_type: str, port: registry.Port, value: Any) -> None:
    """Inputs of custom operators are tensors: nothing is converted silently."""
    where = f"input '{port.name}' of {op_type} ({port.kind})"
    if port.kind == "dynamic":
        if not isinstance(value, list | tuple) or not all(isinstance(v, Tensor) for v in value):
            raise ArgumentTypeError(f"{where} takes a list of tensors", found=repr(value))
    elif not isinstance(value, Tensor) and not (value is None and port.kind == "optional"):
        raise ArgumentTypeError(
            f"{where} takes a tensor of the graph",
            found=f"{value!r} ({type(value).__name__})",
            hint="make a constant with torchair.ge.Const",
        )


def _discardable(attribute: attrs_of.Attr) -> Attribute:
    value = attribute.as_property(attrs_of.registry_type(attribute))
    return (
        encode_list(value, single=True) if isinstance(value, list) else encode_scalar(value, True)
    )


def _definition(
    op_type: str,
    inputs: Mapping[str, Any],
    outputs: Sequence[tuple[str, int]],
    attrs: Mapping[str, Any],
) -> str:
    """A definition of an unknown operator that fits this call, for the reader to correct."""
    marks = [
        f"{name}{'?' if value is None else '*' if isinstance(value, list | tuple) else ''}: any"
        for name, value in inputs.items()
    ]
    results = [f"{name}{'*' if count >= 0 else ''}: any" for name, count in outputs]
    kinds = [
        f"{name}: {attrs_of.registry_type(value)}"
        for name, value in attrs.items()
        if isinstance(value, attrs_of.Attr)
    ]
    tail = f" {{{', '.join(kinds)}}}" if kinds else ""
    return f"{op_type}({', '.join(marks)}) -> ({', '.join(results)}){tail}"


def define_operator(text: str, *, replace: bool = False) -> None:
    """Declare a GE operator that the registry lacks, e.g. one of a custom operator package.

        define_operator("AddCustom(x: float16|float32 as T, y?: float16|float32 as T) -> "
                        "(z: float16|float32 as T) {axis: Int = 0, mode: String}")

    ``?`` marks an optional port and ``*`` a dynamic one; types are listed, or ``any``. ``as T``
    gives ports one common type, ``from dtype`` takes an output's type from an attribute. Attributes
    have the types of ``torchair.ge.attr`` (``String`` and ``Type`` for ``Str`` and ``DataType``);
    those without a default are required. An output with the name of an input is written in place.

    Args:
        text: the declaration, on one or several lines.
        replace: whether a known operator with another signature is replaced.

    Raises:
        ArtifactError: the text is malformed.
        ConfigError: the operator is known with another signature.
    """
    try:
        dialect.define_op(text, replace=replace)
    except ArtifactError as error:
        raise ArtifactError(
            error.what.replace("in the GE registry", "in the definition of a GE operator"),
            expected='"MyOp(x: float16|float32 as T, y?: int64) -> (z: any as T) {axis: Int = 0}"',
            found=error.found,
            hint="see help(torchair.ge.define_operator) for the grammar",
        ) from error


def load_operators(path: str | os.PathLike[str], *, replace: bool = False) -> list[str]:
    """Declare all operators of a registry file (``python -m torchair.tools.reg_op`` writes them).

    Args:
        path: the file; nothing is declared when something in it is wrong.
        replace: whether known operators with another signature are replaced.

    Returns:
        The operators' GE types, in the order of the file.

    Raises:
        ArtifactError: the file cannot be read, or is no registry file.
        ConfigError: an operator is known with another signature.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return [cls.spec.name for cls in dialect.define_ops(text, replace=replace)]
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{os.fspath(path)} cannot be read", found=str(error)) from error
    except ArtifactError as error:
        raise ArtifactError(
            f"{os.fspath(path)} is no registry file: {error.what}",
            found=error.found,
            hint="write it with python -m torchair.tools.reg_op HEADER -o FILE",
        ) from error
    except ConfigError as error:
        raise ConfigError(
            f"{os.fspath(path)}: {error.what}",
            expected=error.expected,
            found=error.found,
            hint="leave the known ones out (reg_op --new), or pass replace=True",
        ) from error


def register_host_kernel(
    *names: str, metadata: bool = False, random: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the function computes a GE operator on the host device, in plain torch.

        @torchair.ge.register_host_kernel("AddCustom")
        def add_custom(x, y=None, axis=0):
            return x if y is None else x + y

    Parameters: the inputs in order (None when absent, a list when dynamic), then the attributes by
    name. The function is traced with fake tensors: it must not look at values nor write its inputs,
    unless the operator is declared in place. Several outputs are returned as a tuple.

    Args:
        names: GE types.
        metadata: the result follows from shapes alone.
        random: the operator draws numbers or has effects, and runs every time.
    """
    kernels = importlib.import_module("torchair.backend_ge.host.kernels.registry")
    kernels.kernels()  # the built-in ones are loaded first, so that a user's kernel wins
    return kernels.kernel(*names, metadata=metadata, random=random)
