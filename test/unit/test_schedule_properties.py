"""The stream passes against a model of their own: happens-before by transitive closure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from torchair.dialects import aten
from torchair.dialects.stream import RecordOp, WaitOp
from torchair.dialects.stream.order import minimal_waits
from torchair.errors import VerifyError
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.private import append_op, create_op
from torchair.ir.verify import verify_module
from torchair.passes.schedule_streams import ScheduleStreamsPass
from torchair.passes.verify_schedule import VerifySchedulePass

TENSOR = interned.tensor([512, 512], interned.f16)
VIEWS = ("aten.view", "aten.alias")
EXAMPLES = settings(max_examples=150, deadline=None)


def random_module(r: random.Random, size: int, labels: int) -> ModuleOp:
    """Uses, views, writes to inputs and random numbers, on labels at random."""
    function, block = build_function("forward", [TENSOR] * 3, [TENSOR])
    values: list[SSAValue] = list(block.args)
    for _ in range(size):
        label = r.randrange(labels)
        attributes = {"stream.label": StringAttr(f"s{label}")} if label else {}
        values.append(append_random_op(r, block, values, attributes))
    append_op(block, create_op(ReturnOp, [values[-1]], [], {}))
    return ModuleOp([function])


def append_random_op(
    r: random.Random, block: Block, values: list[SSAValue], attributes: dict
) -> SSAValue:
    first, second = r.choice(values), r.choice(values)
    kind = r.random()
    if kind < 0.45:
        name, arguments = "aten.mm", [first, second]
    elif kind < 0.7:
        name, arguments = "aten.exp", [first]
    elif kind < 0.8:
        name, arguments = "aten.alias", [first]
    elif kind < 0.9:
        name, arguments = "aten.copy_", [r.choice(list(block.args)), second, False]
    else:
        name, arguments = "aten.rand_like", [first, None, None, None, None, None]
    cls = aten.lookup(name)
    assert cls is not None
    op = cls.build_call(arguments, [TENSOR], attributes=dict(attributes))
    append_op(block, op)
    return op.results[0]


def add_random_events(r: random.Random, block: Block) -> None:
    """Records and waits between operations, some of them useless, some missing."""
    labels = {label(op) for op in block.ops}
    tokens: list[SSAValue] = []
    for op in list(block.ops):
        if tokens and r.random() < 0.6:
            chosen = r.sample(tokens, r.randint(1, min(2, len(tokens))))
            block.insert_op_before(WaitOp.make(label(op), chosen), op)
        if r.random() < 0.6:
            record = RecordOp.make(r.choice(sorted(labels)))
            block.insert_op_before(record, op)
            tokens.append(record.token)


def label(op: Operation) -> str:
    found = op.attributes.get("stream.label")
    return found.data if isinstance(found, StringAttr) else ""


# ---------------------------------------------------------------- the model


@dataclass
class Model:
    """What a block means, worked out the slow way.

    Args:
        behind: per operation, everything that happens before it.
        required: pairs that must be ordered for the results to be right.
        streams: the operations of each stream, in order.
    """

    behind: dict[Operation, set[Operation]] = field(default_factory=dict)
    required: list[tuple[Operation, Operation]] = field(default_factory=list)
    streams: dict[str, list[Operation]] = field(default_factory=dict)

    def is_ordered(self, first: Operation, second: Operation) -> bool:
        return first in self.behind[second]

    def is_safe(self) -> bool:
        return all(self.is_ordered(a, b) for a, b in self.required)


def model_of(block: Block) -> Model:
    model = Model()
    for op in block.ops:
        sources = {token.owner for token in op.operands} if isinstance(op, WaitOp) else set()
        line = model.streams.setdefault(label(op), [])
        if line:
            sources.add(line[-1])
        line.append(op)
        model.behind[op] = set(sources)
        for source in sources:
            model.behind[op] |= model.behind[source]
    tasks = [op for op in block.ops if not isinstance(op, RecordOp | WaitOp)]
    for number, later in enumerate(tasks):
        model.required += [(e, later) for e in tasks[:number] if conflict(e, later)]
        model.required += [(e, later) for e in tasks[:number] if later is tasks[-1]]
    return model


def conflict(earlier: Operation, later: Operation) -> bool:
    """Whether the order of two operations shows in the results."""
    if any(operand.owner is earlier for operand in later.operands):
        return True
    if earlier.name == later.name == "aten.rand_like":
        return True
    if writes(earlier) & (reads(later) | writes(later)):
        return True
    return bool(reads(earlier) & writes(later))


def reads(op: Operation) -> set[SSAValue]:
    return {memory_of(operand) for operand in op.operands}


def writes(op: Operation) -> set[SSAValue]:
    return {memory_of(op.operands[0])} if op.name == "aten.copy_" else set()


def memory_of(value: SSAValue) -> SSAValue:
    while not isinstance(value, BlockArgument) and value.owner.name in (*VIEWS, "aten.copy_"):
        value = value.owner.operands[0]
    return value


def has_forked(block: Block) -> bool:
    """Whether each stream begins with a wait that leads back to the main stream."""
    inside, events = {""}, {}
    for op in block.ops:
        if isinstance(op, RecordOp):
            events[op.token] = label(op) in inside
        elif isinstance(op, WaitOp):
            if any(events[token] for token in op.operands):
                inside.add(label(op))
        elif label(op) not in inside:
            return False
    return True


def finishes(block: Block) -> bool:
    """Whether in-order streams that take turns at random get to the end."""
    queues = {name: list(line) for name, line in model_of(block).streams.items()}
    done: set[Operation] = set()
    progress = True
    while progress and any(queues.values()):
        progress = False
        for line in queues.values():
            if not line:
                continue
            waits = line[0].operands if isinstance(line[0], WaitOp) else ()
            if all(token.owner in done for token in waits):
                done.add(line.pop(0))
                progress = True
    return not any(queues.values())


def block_of(module: ModuleOp) -> Block:
    return module.body.block.first_op.body.block


def is_accepted(module: ModuleOp) -> bool:
    try:
        VerifySchedulePass().apply(Context(), module)
    except VerifyError:
        return False
    return True


# ---------------------------------------------------------------- properties


@EXAMPLES
@given(st.randoms(use_true_random=False), st.integers(1, 12), st.integers(1, 3))
def test_verifier_accepts_exactly_what_the_model_finds_safe(
    r: random.Random, size: int, labels: int
) -> None:
    module = random_module(r, size, labels)
    add_random_events(r, block_of(module))
    verify_module(module)
    model = model_of(block_of(module))
    expected = model.is_safe() and has_forked(block_of(module))
    assert is_accepted(module) == expected


@EXAMPLES
@given(st.randoms(use_true_random=False), st.integers(1, 14), st.integers(1, 4))
def test_schedules_by_labels_are_safe_and_need_every_event(
    r: random.Random, size: int, labels: int
) -> None:
    module = random_module(r, size, labels)
    ScheduleStreamsPass(sync="events").apply(Context(), module)
    check_schedule(module)


@EXAMPLES
@given(st.randoms(use_true_random=False), st.integers(1, 20), st.integers(1, 2), st.integers(2, 4))
def test_automatic_schedules_are_safe_and_need_every_event(
    r: random.Random, size: int, labels: int, streams: int
) -> None:
    module = random_module(r, size, labels)
    options = {"min_gain": 0.0, "min_gain_us": 0.0}
    ScheduleStreamsPass(streams=str(streams), sync="events", **options).apply(Context(), module)
    check_schedule(module)


def check_schedule(module: ModuleOp) -> None:
    verify_module(module)
    assert is_accepted(module)
    block = block_of(module)
    assert model_of(block).is_safe() and has_forked(block) and finishes(block)
    for wait in [op for op in block.ops if isinstance(op, WaitOp)]:
        tokens = list(wait.operands)
        for token in tokens:
            others = [t for t in tokens if t is not token]
            before = wait.next_op
            assert before is not None
            wait.detach()
            kept = WaitOp.make(label(wait), others)
            if others:
                block.insert_op_before(kept, before)
            assert not (model_of(block).is_safe() and has_forked(block))
            if others:
                kept.detach()
            block.insert_op_before(wait, before)


@EXAMPLES
@given(st.randoms(use_true_random=False), st.integers(1, 30), st.integers(1, 5))
def test_minimal_waits_are_the_transitive_reduction(
    r: random.Random, size: int, count: int
) -> None:
    streams = [r.randrange(count) for _ in range(size)]
    before = [sorted(r.sample(range(n), r.randint(0, min(3, n)))) for n in range(size)]
    direct = [set(earlier) for earlier in before]
    for number, stream in enumerate(streams):
        direct[number].update([n for n in range(number) if streams[n] == stream][-1:])
    behind: list[set[int]] = []
    for earlier in direct:
        behind.append(set(earlier).union(*[behind[n] for n in earlier]))
    expected = [
        sorted(
            n
            for n in earlier
            if streams[n] != streams[number]
            and not any(n in behind[other] for other in earlier if other != n)
        )
        for number, earlier in enumerate(direct)
    ]
    assert minimal_waits(streams, before, count) == expected


def test_random_schedules_are_both_safe_and_unsafe() -> None:
    accepted = 0
    for seed in range(200):
        r = random.Random(seed)
        module = random_module(r, r.randint(1, 5), 2)
        add_random_events(r, block_of(module))
        accepted += is_accepted(module)
    assert 10 <= accepted <= 190
