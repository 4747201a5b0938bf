"""Write torchair/dialects/ge/registry.txt from a JSON-lines dump of GE operator prototypes.

Usage: python scripts/generate_ge_registry.py DUMP.jsonl [OUT.txt]

The dump has one object a line: ``op``, ``family``, ``inputs`` and ``outputs`` as ``[name, kind,
dtypes]`` with an optional type letter, ``attrs`` as ``[name, type, default]`` and, for control
flow, ``subgraphs``. It was collected from several sources and has broken entries; each is repaired
here, by a rule or by name, and anything odd that no repair covers stops the script.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

from torchair.dialects.ge import dtypes, registry


class RawOp(TypedDict, total=False):
    op: str
    family: str
    inputs: list[list[object]]
    outputs: list[list[object]]
    attrs: list[list[object]]
    subgraphs: list[list[str]]


@dataclass
class PortEntry:
    name: str
    kind: str
    dtypes: list[str]
    letter: str
    fact: str = ""


# Operators whose entry in the dump is a builder signature, not a prototype, or is too narrow to be
# of use, with operators that the dump lacks. Many carry any element type because they only move,
# name or describe data.
OVERLAY: Final = Path(__file__).with_name("ge_registry_overlay.txt").read_text("utf-8")

# The dump's prototypes trail the kernels: these list float16 and float32 but not bfloat16, although
# PyTorch runs the operators they stand for in bfloat16. Ports that take both get the third.
ACCEPTS_BFLOAT16_TEXT: Final = """
Acos AdaptiveAvgPool2dGrad ArgMinWithValue Asin Atan2 AtanGrad AvgPoolV2 AvgPoolV2Grad Axpy
BinaryCrossEntropy BinaryCrossEntropyGrad Cdist Ceil CeluV2 Conv2DBackpropFilter Conv2DBackpropInput
Conv3DBackpropFilter Conv3DBackpropInput Copy Cross CumulativeLogsumexp DivNoNan DropOutDoMask
DropOutDoMaskV3
Einsum Elu EluGradV2 EmbeddingBag Erf Erfc Erfinv Expand ExpandD ExpandDims Flatten FlattenV2 Floor
FloorMod GLU GLUGrad GridSampler2D GridSampler2DGrad GridSampler3D GroupNorm HardMax HardShrink
HardShrinkGrad HardSigmoid HardSigmoidGrad HardSwish HardSwishGrad HardtanhGrad IndexAdd
InplaceIndexAdd InstanceNorm IsInf IsNan KLDiv LeakyRelu LeakyReluGrad LinSpace LogSigmoid
LogSigmoidGrad MaskedScatter MaskedSelectV2 MaxPoolGradWithArgmaxV1 MaxPoolWithArgmaxV1 Maximum
MaximumGrad Minimum MinimumGrad MirrorPad Mish MishGrad Mod MseLoss MseLossGrad Muls
MultinomialWithReplacement NLLLoss NLLLossGrad PRelu PReluGrad Permute ReduceProdD ReduceStd Relu
ResizeNearestNeighborV2 ResizeNearestNeighborV2Grad ReverseV2 Rint Round Scatter ScatterAdd
ScatterUpdate SearchSorted SelectV2 Selu SigmoidCrossEntropyWithLogitsV2 Sign SmoothL1LossGradV2
SmoothL1LossV2 SoftShrink SoftShrinkGrad SoftmaxCrossEntropyWithLogits Softplus SoftplusGrad
SoftplusV2 SoftplusV2Grad Softsign Sort SplitD SquaredDifference StopGradient Tan ThresholdGradV2D
ThresholdV2 TransposeD TruncateDiv TruncateMod Unique Xlogy
"""
ACCEPTS_BFLOAT16: Final = frozenset(ACCEPTS_BFLOAT16_TEXT.split())

# Output -> attribute that names its type, where "one type attribute, one open output" says nothing.
TYPE_FROM_ATTR: Final = {
    ("Cast", "y"): "dst_type",
    ("AddRmsNormDynamicMxQuant", "y"): "dst_type",
    ("RmsNormDynamicMxQuant", "y"): "dst_type",
    ("SwigluMxQuant", "y"): "dst_type",
    ("DynamicMxQuantWithDualAxis", "y1"): "dst_type",
    ("DynamicMxQuantWithDualAxis", "y2"): "dst_type",
    ("FlatQuant", "out"): "dst_dtype",
    ("ListDiff", "idx"): "out_idx",
    ("Lu", "p"): "output_idx_type",
    ("QuantMax", "y"): "dst_type",
    ("Unique", "idx"): "out_idx",
    ("UniqueExt2", "idx"): "out_idx",
    ("UniqueWithCounts", "idx"): "out_idx",
    ("UniqueWithCounts", "count"): "out_idx",
    ("UniqueWithCountsExt2", "idx"): "out_idx",
    ("UniqueWithCountsExt2", "count"): "out_idx",
}
# One type attribute and one open output, but the attribute is about something else.
TYPE_ATTR_IS_NOT_THE_OUTPUT: Final = frozenset(
    ("IndexToAddr", "NonMaxSuppressionV5", "NonZeroWithValue", "RaggedTensorToSparse")
)

DTYPE_ALIASES: Final = {"float8_e4m3": "float8_e4m3fn", "fp16": "float16"}
PROMOTED: Final = 'promote({"t1", "t2"})'
CONST_EXPRESSIONS: Final = {"ge::UNKNOWN_RANK": [-2], "ge::UNKNOWN_SHAPE": [-1]}
EMPTY_DEFAULTS: Final[dict[str, object]] = {"Int": 0, "Bool": False, "ListBool": []}
LARGEST_INLINE_SET: Final = 4
ORDER: Final = {t.name: i for i, t in enumerate(dtypes.DATA_TYPES)}

HEADER: Final = """\
# GE operator prototypes, one a line. Written by scripts/generate_ge_registry.py: change that.
# Grammar: torchair/dialects/ge/registry.py. {count} operators.
"""


def main(argv: list[str]) -> None:
    source = Path(argv[1])
    target = Path(argv[2]) if len(argv) > 2 else registry.DATA_FILE
    raws = [cast("RawOp", json.loads(line)) for line in source.read_text("utf-8").splitlines()]
    target.write_text(registry_text(raws), "utf-8")


def registry_text(raws: Iterable[RawOp]) -> str:
    """The whole file: header, named type sets in order of first use, operators by name."""
    lines = {overlay_name(line): line for line in OVERLAY.splitlines()}
    sets = SetNames()
    for raw in sorted(raws, key=lambda r: r.get("op", "")):
        name = raw.get("op", "")
        if name not in lines:
            lines[name] = op_line(raw, sets)
    body = "\n".join(lines[name] for name in sorted(lines)) + "\n"
    text = HEADER.format(count=len(lines)) + sets.text() + body
    index = registry.index_text(text)
    for line in index.lines.values():
        registry.parse_line(line, index.sets)
    return text


def overlay_name(line: str) -> str:
    return line[line.index(" | ") + 3 : line.index("(")]


class SetNames:
    """Names of the type sets too long to spell out: T, the size, a letter per set of that size."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], str] = {}
        self._of_size: dict[int, int] = {}

    def spell(self, names: list[str]) -> str:
        members = tuple(sorted(set(names), key=ORDER.__getitem__))
        if not members:
            return "any"
        if len(members) <= LARGEST_INLINE_SET:
            return "|".join(members)
        if members not in self._names:
            nth = self._of_size.get(len(members), 0)
            self._of_size[len(members)] = nth + 1
            self._names[members] = f"T{len(members)}{suffix(nth)}"
        return self._names[members]

    def text(self) -> str:
        ordered = sorted(self._names.items(), key=lambda item: (len(item[0]), item[1]))
        return "".join(f"set {name} = {' '.join(members)}\n" for members, name in ordered)


def suffix(nth: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[nth] if nth < len(letters) else letters[nth // 26 - 1] + letters[nth % 26]


def op_line(raw: RawOp, sets: SetNames) -> str:
    name = raw.get("op", "")
    inputs = [port_entry(name, p) for p in raw.get("inputs", [])]
    outputs = [port_entry(name, p) for p in raw.get("outputs", [])]
    attrs = [cast("tuple[str, str, object]", tuple(a)) for a in raw.get("attrs", [])]
    repair(name, inputs, outputs, attrs)
    keep_useful_letters(inputs + outputs)
    add_type_facts(name, inputs, outputs, attrs)
    line = f"{raw.get('family', '')} | {name}({spell_ports(inputs, sets)})"
    line += f" -> ({spell_ports(outputs, sets)})"
    if attrs:
        line += " {" + ", ".join(spell_attr(name, *attr) for attr in attrs) + "}"
    if subgraphs := raw.get("subgraphs"):
        line += " [" + ", ".join(n + "*" * (kind == "dynamic") for n, kind in subgraphs) + "]"
    return line


def port_entry(op: str, raw: list[object]) -> PortEntry:
    names = [DTYPE_ALIASES.get(n, n) for n in cast("list[str]", raw[2])]
    if not names:
        raise SystemExit(f"{op}: port {raw[0]} lists no types; it needs an overlay line")
    if names == ["all"]:
        names = []
    elif op in ACCEPTS_BFLOAT16 and {"float16", "float32"} <= set(names):
        names.append("bfloat16")
    return PortEntry(str(raw[0]), str(raw[1]), names, str(raw[3]) if len(raw) > 3 else "")


def repair(
    op: str,
    inputs: list[PortEntry],
    outputs: list[PortEntry],
    attrs: list[tuple[str, str, object]],
) -> None:
    """Undo the errors of collection that a general rule cannot recognise."""
    if op == "HcomRemoteLookup":
        del inputs[1]  # `table_id` is an attribute
        attrs.insert(0, ("table_id", "Int", None))
    if op == "MoeUpdateExpert":
        outputs[1].name = "balanced_active_mask"
    for port in outputs:
        if port.dtypes == [PROMOTED]:  # letters T1 and T2 stand on the first two inputs
            port.dtypes = list(inputs[0].dtypes)
            port.fact = f" promotes {inputs[0].name} {inputs[1].name}"
    unknown = {n for port in inputs + outputs for n in port.dtypes} - ORDER.keys()
    if unknown:
        raise SystemExit(f"{op}: unknown element types {sorted(unknown)}")


def keep_useful_letters(ports: list[PortEntry]) -> None:
    """A type letter says something only if two ports carry it and list the same types."""
    for port in ports:
        alike = [p for p in ports if p.letter == port.letter and set(p.dtypes) == set(port.dtypes)]
        if port.letter and not port.fact and len(alike) > 1:
            port.fact = f" as {port.letter}"


def add_type_facts(
    op: str,
    inputs: list[PortEntry],
    outputs: list[PortEntry],
    attrs: list[tuple[str, str, object]],
) -> None:
    for port in outputs:
        if (op, port.name) in TYPE_FROM_ATTR:
            port.fact = f" from {TYPE_FROM_ATTR[op, port.name]}"
    naming = [name for name, kind, default in attrs if names_a_type(kind, default)]
    tied = {p.name for p in inputs}
    unsettled = [p for p in outputs if len(p.dtypes) != 1 and p.name not in tied and not p.fact]
    taken = any(p.fact == f" from {name}" for p in outputs for name in naming)
    is_the_output = op not in TYPE_ATTR_IS_NOT_THE_OUTPUT and not taken
    if is_the_output and len(naming) == len(unsettled) == 1:
        unsettled[0].fact = f" from {naming[0]}"


def names_a_type(kind: str, default: object) -> bool:
    return kind == "Type" or (isinstance(default, str) and default in dtypes.BY_SYMBOL)


def spell_ports(ports: list[PortEntry], sets: SetNames) -> str:
    mark = {"required": "", "optional": "?", "dynamic": "*"}
    return ", ".join(f"{p.name}{mark[p.kind]}: {sets.spell(p.dtypes)}{p.fact}" for p in ports)


def spell_attr(op: str, name: str, kind: str, default: object) -> str:
    kind = "Int" if kind == "int" else kind
    if kind not in registry.ATTR_TYPES:
        raise SystemExit(f"{op}: attribute {name} has type {kind}; it needs an overlay line")
    if default is None:
        return f"{name}: {kind}"
    return f"{name}: {kind} = {spell_default(f'{op}.{name}', kind, default)}"


def spell_default(where: str, kind: str, default: object) -> str:
    if isinstance(default, str) and default in dtypes.BY_SYMBOL:
        canonical = dtypes.BY_SYMBOL[default].name
        return canonical if kind == "Type" else f"dtype({canonical})"
    if kind == "Tensor" and default == "Tensor()":
        return "null"
    if isinstance(default, str) and kind != "String":
        default = parse_default(where, kind, default)
    value = typed_default(where, kind, default)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def parse_default(where: str, kind: str, default: str) -> object:
    """Defaults that the dump left as source text."""
    if default in CONST_EXPRESSIONS:
        return CONST_EXPRESSIONS[default]
    if default == "" and kind in EMPTY_DEFAULTS:
        return EMPTY_DEFAULTS[kind]
    if default.startswith("["):
        return cast(object, json.loads(default))
    raise SystemExit(f"{where}: cannot read the default {default!r} as {kind}")


def typed_default(where: str, kind: str, default: object) -> object:
    """`default` as exactly the JSON that `kind` stands for."""
    if kind.startswith("List") and isinstance(default, list):
        item = kind.removeprefix("List")
        return [typed_default(where, item, v) for v in cast("list[object]", default)]
    if kind == "Bool" and default in (0, 1):
        return bool(default)
    if kind == "Float" and isinstance(default, str):
        fraction = re.fullmatch(r"(\d+)\.f / (\d+)", default)
        if fraction is not None:
            return int(fraction[1]) / int(fraction[2])
    if kind == "Float" and isinstance(default, int | float):
        return float(default)
    if kind == "Int" and isinstance(default, int) and not isinstance(default, bool):
        return default
    if kind == "String" and isinstance(default, str):
        return default
    raise SystemExit(f"{where}: default {default!r} is not of type {kind}")


if __name__ == "__main__":
    main(sys.argv)
