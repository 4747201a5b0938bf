"""The option tree below CompilerConfig: every group, every option, its default and what it does.

Paths, types and defaults are those of the public option tree; `own=True` marks torchair's own.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from torchair.config.option_group import CAPTURE_MODES, GE_MODE, Option, OptionGroup, Subgroup
from torchair.config.options import (
    INT64_MAX,
    Choice,
    Dictionary,
    Directory,
    File,
    Flag,
    FrozenDict,
    Function,
    GraphPool,
    IntList,
    IntRange,
    OutputPath,
    PassInsertions,
    PassNames,
    Text,
)

GE = (GE_MODE,)
CAPTURE = CAPTURE_MODES


class OptionTraits(TypedDict, total=False):
    """The keyword arguments of `Option` that `flag` and `choice` pass on."""

    modes: tuple[str, ...]
    in_cache_key: bool
    own: bool


def flag(default: bool | None, doc: str, **traits: Unpack[OptionTraits]) -> Option:
    """Declares a bool option; None is accepted when it is the default."""
    return Option(Flag(none_ok=default is None), default, doc, **traits)


def choice(
    values: tuple[str, ...], default: str | None, doc: str, **traits: Unpack[OptionTraits]
) -> Option:
    """Declares an option with a few allowed strings; None is accepted when it is the default."""
    return Option(Choice(values=values, none_ok=default is None), default, doc, **traits)


def function(doc: str, **traits: Unpack[OptionTraits]) -> Option:
    """Declares an option that takes a callable or None."""
    return Option(Function(none_ok=True), None, doc, **traits)


def output_path(doc: str, *, own: bool = False) -> Option:
    """Declares an option that takes a directory to write to, or None."""
    return Option(OutputPath(none_ok=True), None, doc, in_cache_key=False, own=own)


def integer(
    low: int, high: int, default: int | None, doc: str, **traits: Unpack[OptionTraits]
) -> Option:
    """Declares an int option; None is accepted when it is the default."""
    kind = IntRange(low=low, high=high, none_ok=default is None)
    return Option(kind, default, doc, **traits)


class GraphDumpConfig(OptionGroup):
    """Dump of the original and the optimised graph."""

    type = choice(
        ("txt", "pbtxt", "py"),
        None,
        "Format in which the original and the optimised graph are written; None writes nothing.",
        in_cache_key=False,
    )
    path = output_path("Directory of the graph dump; None is the current directory.")


class DataDumpConfig(OptionGroup):
    """Dump of every operator's inputs and outputs."""

    type = choice(
        ("npy",),
        None,
        "Runs the graph op by op and saves each op's inputs and outputs in this format.",
    )
    filter = function("Called with each FX node; a node for which it returns None is not dumped.")
    path = output_path("Directory of the data dump; None is the current directory.")


class FxSummaryConfig(OptionGroup):
    """Summary of which operators are supported."""

    type = choice(("csv",), None, "Writes a summary of op support in this format.", modes=GE)
    skip_compile = flag(True, "With a summary: return the eager graph, compile nothing.", modes=GE)


class AclgraphDebugConfig(OptionGroup):
    """Debugging of graph capture."""

    disable_mempool_reuse_in_same_fx = flag(
        False, "Gives each capture of one FX graph memory of its own.", modes=CAPTURE
    )
    enable_output_clone = flag(
        False, "Returns clones of outputs that alias nothing.", modes=CAPTURE
    )
    static_capture_size_limit = integer(
        1,
        INT64_MAX,
        64,
        "Live captures per FX graph; beyond it the graph runs eagerly.",
        modes=CAPTURE,
    )
    clone_input = flag(
        True, "Copies user inputs to buffers of the graph before each replay.", modes=CAPTURE
    )
    disable_reinplace_inplaceable_ops_pass = flag(
        False, "Keeps functional ops on intermediates functional.", modes=CAPTURE
    )
    disable_reinplace_input_mutated_ops_pass = flag(
        False, "Keeps functional the ops whose result is copied into a graph input.", modes=CAPTURE
    )
    remove_cat_ops = flag(True, "Removes cat ops that can write in place.", modes=CAPTURE)


class IrDumpConfig(OptionGroup):
    """Dump of the IR between stages."""

    path = output_path(
        "Directory for every stage's .mlir, .pbtxt and .svg; None writes nothing.", own=True
    )


class DebugConfig(OptionGroup):
    """Debugging."""

    run_eagerly = flag(False, "Runs all passes, then runs the optimised FX graph eagerly.")
    deadlock_check = flag(
        False, "On an NPU, lists the tasks of static and captured graphs.", in_cache_key=False
    )
    verify = flag(True, "Runs the IR verifier after every pass.", in_cache_key=False, own=True)
    check_replay = flag(
        False,
        "Checks that frozen parameters do not move, and poisons what a replay must refresh.",
        modes=CAPTURE,
        in_cache_key=False,
        own=True,
    )
    graph_dump = Subgroup(GraphDumpConfig)
    data_dump = Subgroup(DataDumpConfig)
    fx_summary = Subgroup(FxSummaryConfig)
    aclgraph = Subgroup(AclgraphDebugConfig)
    ir_dump = Subgroup(IrDumpConfig)


class AclgraphExperimentalConfig(OptionGroup):
    """Static kernels and super kernels of captured graphs."""

    _aclnn_static_shape_kernel = flag(
        False, "Compiles static-shape kernels before capture.", modes=CAPTURE
    )
    _aclnn_static_shape_kernel_build_dir = Option(
        Text(none_ok=True),
        None,
        "Build directory of static-shape kernels.",
        modes=CAPTURE,
        in_cache_key=False,
    )
    _aclnn_static_shape_kernel_sym_value_range = Option(
        IntList(none_ok=True),
        None,
        "Compiles static-shape kernels only when the symbol has one of these values.",
        modes=CAPTURE,
    )
    _aclnn_static_shape_kernel_sym_index = integer(
        0, INT64_MAX, 0, "Index of the symbol that the value range is about.", modes=CAPTURE
    )
    _super_kernel_optimize = flag(
        False, "Optimises the captured graph with super kernels.", modes=CAPTURE
    )
    _super_kernel_optimize_options = Option(
        Dictionary(none_ok=True), None, "Options of the super kernel optimiser.", modes=CAPTURE
    )
    _super_kernel_debug_options = Option(
        Dictionary(none_ok=True),
        None,
        "Debug options of the super kernel optimiser.",
        modes=CAPTURE,
    )


class ExperimentalConfig(OptionGroup):
    """Graph compilation."""

    cc_parallel_enable = flag(False, "Overlaps collectives with computation.", modes=GE)
    keep_inference_input_mutations = flag(
        True, "Keeps mutations of inputs inside the inference graph."
    )
    memory_efficiency = flag(
        False, "Allocates and frees the feature memory on every run.", modes=GE
    )
    frozen_parameter = flag(
        False, "Parameters keep their addresses: not updated after the first run."
    )
    static_model_ops_lower_limit = integer(
        -1,
        INT64_MAX,
        None,
        "Ops that a static sub-graph of a dynamic graph must have; -1 keeps all dynamic.",
        modes=GE,
    )
    jit_compile = choice(("auto",), "auto", "When kernels are compiled at run time.", modes=GE)
    npu_fx_pass = flag(False, "Enables the pattern passes on the joint graph.")
    aot_config_enable_joint_graph = flag(False, "Compiles forward and backward as one graph.")
    aot_config_output_loss_index = integer(
        0, INT64_MAX, 0, "Index of the loss among the outputs of a joint graph."
    )
    topology_sorting_strategy = choice(
        ("BFS", "DFS", "RDFS", "StableRDFS"), "DFS", "Order in which GE visits the graph.", modes=GE
    )
    enable_ref_data = flag(False, "Mutated graph inputs become RefData nodes.", modes=GE)
    enable_view_optimize = flag(True, "Folds chains of views.", modes=GE)
    remove_noop_ops = flag(True, "Removes ops that do nothing.")
    tiling_schedule_optimize = flag(
        False, "Computes tiling on the device for static shapes.", modes=GE
    )
    pattern_fusion_pass = flag(True, "Replaces patterns of ops by fused ops.")
    aclgraph = Subgroup(AclgraphExperimentalConfig)


class GeConfig(OptionGroup):
    """Graph Engine."""

    enable_single_stream = flag(False, "Runs static graphs on one stream.", modes=GE)
    oo_level = choice(
        ("O1", "O3"), "O3", "GE's optimisation level; O1 turns most fusions off.", modes=GE
    )
    oo_constant_folding = flag(
        None, "GE's constant folding; None leaves it to the level.", modes=GE
    )
    oo_dead_code_elimination = flag(
        None, "GE's dead code elimination; None leaves it to the level.", modes=GE
    )
    export_compile_stat = choice(
        ("0", "1", "2"),
        "2",
        "When GE writes fusion_result.json: 0 never, 1 at normal exit, 2 after compilation.",
        modes=GE,
        in_cache_key=False,
    )
    aicore_num = Option(
        Text(none_ok=True, pattern=r"\d+(\|\d*)?|\|\d+", example="24|48"),
        None,
        "Limit of AI cores and vector cores for the session.",
        modes=GE,
    )
    optimization_switch = Option(
        Text(none_ok=True, pattern=r"(\w+:(on|off);?)*", example="PassA:on;PassB:off"),
        None,
        "Switches GE passes on and off; wins over fusion_switch_file.",
        modes=GE,
    )


class InferenceConfig(OptionGroup):
    """Inference."""

    dynamic_gears_merge_policy = choice(
        ("zip", "product"), "zip", "How the gears of several dims combine."
    )


class FusionConfig(OptionGroup):
    """Fusion switches of GE."""

    fusion_switch_file = Option(
        File(none_ok=True), None, "JSON file that switches GE's graph and UB fusions.", modes=GE
    )


class AoeConfig(OptionGroup):
    """AOE tuning."""

    aoe_mode = choice(("2",), None, "Tunes static graphs; the cann engine refuses it.", modes=GE)
    work_path = Option(Directory(), "./", "Working directory of AOE.", modes=GE, in_cache_key=False)
    aoe_config_file = Option(File(none_ok=True), None, "Configuration file of AOE.", modes=GE)


class DumpConfig(OptionGroup):
    """Data dump by the engine."""

    enable_dump = flag(False, "Dumps tensor data while the graph runs.")
    dump_path = Option(
        Directory(),
        "./",
        "Directory of the dump; each rank writes to worldsize{N}_global_rank{R} below it.",
        in_cache_key=False,
    )
    dump_mode = choice(("all", "input", "output"), "all", "Which tensors of an op.", modes=GE)
    quant_dumpable = flag(False, "Also dumps the data before quantisation.", modes=GE)
    dump_step = Option(
        Text(none_ok=True, pattern=r"(\d+(-\d+)?(\|\d+(-\d+)?)*\|?)?", example="0|3|5-9"),
        "",
        "Steps to dump; empty dumps all.",
        modes=GE,
    )
    dump_layer = Option(
        Text(none_ok=True, pattern=r'[0-9a-zA-Z_ "/\\.]*', example="Add_1 MatMul_2"),
        "",
        "Names of the ops to dump, separated by spaces; empty dumps all.",
        modes=GE,
    )
    dump_data = choice(("tensor", "stats"), "tensor", "Full tensors or statistics.", modes=GE)
    dump_config_path = Option(
        File(none_ok=True, suffix=".json"), None, "Dump configuration file for ACL.", modes=GE
    )
    data_dump_stage = choice(
        ("optimized", "original"), "optimized", "Which FX graph is dumped.", modes=CAPTURE
    )


class ExportExperimentalConfig(OptionGroup):
    """Export, experimental."""

    auto_atc_config_generated = flag(
        False, "Writes model_relation_config.json and numa_config.json.", modes=GE
    )
    enable_record_nn_module_stack = flag(
        False, "Records each node's module stack as a node attribute.", modes=GE
    )
    enable_lite_export = flag(False, "Prefers the converters for lite devices.", modes=GE)


class ExportConfig(OptionGroup):
    """Export; all but `experimental` are set by `dynamo_export`."""

    export_mode = flag(False, "Exports the graph instead of running it.", modes=GE)
    export_path_dir = Option(Text(), "./", "Directory of the exported files.", modes=GE)
    export_name = Option(Text(none_ok=True), None, "Base name of the exported files.", modes=GE)
    weight_name = Option(
        Dictionary(none_ok=True),
        None,
        "Names of the weights by the id of the tensor.",
        modes=GE,
        in_cache_key=False,
    )
    inputs_name = Option(
        Dictionary(none_ok=True),
        None,
        "Names of the inputs by the id of the tensor.",
        modes=GE,
        in_cache_key=False,
    )
    experimental = Subgroup(ExportExperimentalConfig)


class AclgraphConfig(OptionGroup):
    """Memory of captured graphs."""

    use_custom_pool = Option(
        GraphPool(none_ok=True),
        None,
        "Handle of the memory pool that captures use; turns pool reuse in one FX graph off.",
        modes=CAPTURE,
        in_cache_key=False,
    )


class CaptureConfig(OptionGroup):
    """Options of graph capture that have no path in the other groups."""

    capture_error_mode = choice(
        ("global", "thread_local", "relaxed"),
        "global",
        "Which calls are errors during capture.",
        modes=CAPTURE,
    )
    force_recapture = flag(False, "Captures again on every call.", modes=CAPTURE)
    disable_static_kernel_compile_cache = flag(
        False, "Ignores the cache of static-shape kernels.", modes=CAPTURE
    )
    unsafe_skip_npugraph_capture_validation = flag(
        False, "Replays without checking whether a new capture is needed.", modes=CAPTURE
    )
    record_statistics_debug_info = flag(
        False, "Logs minimum, maximum, norm and mean of tensors.", modes=CAPTURE
    )


class PassesConfig(OptionGroup):
    """The passes that run; where one runs several times, `dce#2` is its second place."""

    order = Option(
        PassNames(none_ok=True), None, "All passes by name, instead of the usual list.", own=True
    )
    drop = Option(PassNames(), (), "Passes that do not run.", own=True)
    insert_before = Option(
        PassInsertions(), FrozenDict({}), "Passes to run before the named ones.", own=True
    )
    insert_after = Option(
        PassInsertions(), FrozenDict({}), "Passes to run after the named ones.", own=True
    )


class DeviceConfig(OptionGroup):
    """The device that schedules are planned for and checked against."""

    target = choice(
        ("auto", "host", "ascend310p", "ascend910b", "ascend910_93", "ascend950"),
        "auto",
        "Whose costs and limits hold; auto is the host on its engine, and ascend910b on others.",
        own=True,
    )
    stream_pool = integer(
        1, 64, 4, "Physical streams that labels share; automatic placement takes no more.", own=True
    )
    max_streams = integer(
        1, 65_536, None, "Streams of one graph at most, instead of the target's limit.", own=True
    )
    max_events = integer(
        1, 10**9, None, "Events of one graph at most, instead of the target's limit.", own=True
    )
    max_tasks = integer(
        1, 10**9, None, "Operations of one stream at most, instead of the target's limit.", own=True
    )


class HostConfig(OptionGroup):
    """The host device."""

    replay = choice(
        ("inline", "device"),
        "inline",
        "Captures run on the caller's thread, or on a stream, with fixed addresses as on an NPU.",
        modes=CAPTURE,
        in_cache_key=False,
        own=True,
    )

    max_programs = integer(
        1,
        4096,
        64,
        "Specialisations of a dynamic graph that are kept, least recently used dropped first.",
        in_cache_key=False,
        own=True,
    )
    threads = integer(
        0,
        1024,
        0,
        "Intra-op threads of the host device; 0 leaves torch's setting alone.",
        in_cache_key=False,
        own=True,
    )
