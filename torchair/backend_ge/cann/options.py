"""The options that reach GE: of the process, of the session, of a graph.

The keys of `CompilerConfig` come from `torchair.config.ge_keys`; here those are added that depend
on the device, on torch's settings or on the graph. What is not GE's is left out, because GE gets no
key that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torchair.backend_ge.cann.signature import Signature
from torchair.errors import ConfigError

OptionPairs = list[tuple[str, str]]


@dataclass(frozen=True)
class TorchSettings:
    """What GE takes over from torch.

    Args:
        deterministic: ``torch.are_deterministic_algorithms_enabled()``.
        conv_hf32: convolutions may use HF32.
        matmul_hf32: products of matrices may use HF32.
    """

    deterministic: bool = False
    conv_hf32: bool = True
    matmul_hf32: bool = False


@dataclass(frozen=True)
class GeOptions:
    """Options of a compilation, as `CompilerConfig.as_dict` gives them.

    Args:
        local: of the graph.
        process: of the process and its session; fixed by the first graph.
    """

    local: Mapping[str, str] = field(default_factory=dict[str, str])
    process: Mapping[str, str] = field(default_factory=dict[str, str])

    def dump_file(self) -> str | None:
        """The ACL dump configuration, a JSON file."""
        return self.process.get("ge_dump_with_acl_config")

    def lists_tasks(self) -> bool:
        """Whether the tasks of a static graph are written to a file (``debug.deadlock_check``)."""
        return self.local.get("deadlock_check") == "1"

    def refuse_tuning(self) -> None:
        """Refuse the option that would need CANN's tuning library.

        Raises:
            ConfigError: ``aoe_config.aoe_mode`` is set.
        """
        if "aoe_mode" in self.local:
            raise ConfigError(
                "graphs are not tuned: the functions of CANN's libaoe_tuning.so have no public "
                "interface",
                found=f"aoe_config.aoe_mode = {self.local['aoe_mode']!r}",
                hint="tune the graph with CANN's aoe tool from a file that "
                "torchair.dynamo_export writes, and leave aoe_mode unset",
            )


_PROCESS_DEFAULTS = {
    "ge.exec.staticMemoryPolicy": "2",
    "ge.opSelectImplmode": "high_precision",
}
_GRAPH_DEFAULTS = {
    "ge.exec.atomicCleanPolicy": "1",
    "ge.exec.memoryOptimizationPolicy": "MemoryPriority",
    "ge.exec.reuseZeroCopyMemory": "1",
}


def _ge_only(options: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in options.items() if key.startswith("ge.")}


def process_options(options: GeOptions, device: int, torch: TorchSettings) -> dict[str, str]:
    """Options of ``GEInitialize``."""
    return {
        **_PROCESS_DEFAULTS,
        "ge.exec.deviceId": str(device),
        "ge.exec.allow_hf32": f"{torch.conv_hf32:d}{torch.matmul_hf32:d}",
        **_deterministic(torch),
        **_ge_only(options.process),
    }


def session_options(process: Mapping[str, str], device: int) -> dict[str, str]:
    """Options of the session: those of the process, with the device."""
    return {**process, "ge.session_device_id": str(device)}


def graph_options(
    options: GeOptions,
    signature: Signature,
    torch: TorchSettings,
    *,
    gives_outputs: bool,
    is_loaded: bool,
) -> dict[str, str]:
    """Options of a graph.

    Args:
        options: of the compilation.
        signature: of the graph.
        torch: settings of torch.
        gives_outputs: every run passes memory for the outputs; those that are the new value of an
            input then lie in the input's memory.
        is_loaded: GE learns of inputs on the host when the graph is loaded.
    """
    made = {**_GRAPH_DEFAULTS, **_deterministic(torch), **_ge_only(options.local)}
    made["ge.exec.allTensorNotEmpty"] = "0" if _may_be_empty(signature) else "1"
    if gives_outputs:
        made.update(_reuse_options(signature))
    host = [str(i) for i, port in enumerate(signature.inputs) if port.on_host]
    if host and signature.is_static and not is_loaded:
        made["ge.exec.hostInputIndexes"] = ";".join(host)
    return made


def gear_options(
    gears: Sequence[Mapping[int, Sequence[int]]], signature: Signature
) -> dict[str, str]:
    """Options that make GE compile a graph for the given sizes of its inputs, and no others.

    Args:
        gears: per combination, the shape of each input with dynamic sizes, by index.
        signature: of the graph.
    """
    if not gears:
        return {}
    ports = sorted(enumerate(signature.inputs), key=lambda entry: entry[1].name)
    shapes = [f"{port.name}:{','.join(map(str, port.shape or ()))}" for _, port in ports]
    places = [
        (index, dim)
        for index, port in ports
        for dim, size in enumerate(port.shape or ())
        if size < 0
    ]
    sizes = [",".join(str(shapes[index][dim]) for index, dim in places) for shapes in gears]
    return {
        "ge.inputShape": ";".join(shapes),
        "ge.dynamicDims": ";".join(dict.fromkeys(sizes)),
        "ge.dynamicNodeType": "1",
    }


def _deterministic(torch: TorchSettings) -> dict[str, str]:
    return {"ge.deterministic": f"{torch.deterministic:d}", "ge.deterministicLevel": "0"}


def _may_be_empty(signature: Signature) -> bool:
    ports = (*signature.inputs, *signature.outputs)
    return any(port.shape is None or any(size <= 0 for size in port.shape) for port in ports)


def _reuse_options(signature: Signature) -> dict[str, str]:
    written = {output for output, _ in signature.aliases}
    own = [str(i) for i in range(len(signature.outputs)) if i not in written]
    made: dict[str, str] = {}
    if own:
        made["ge.exec.outputReuseMemIndexes"] = ",".join(own)
    if signature.aliases:
        pairs = [f"{index},{output}" for output, index in signature.aliases]  # input first
        made["ge.exec.outputReuseInputMemIndexes"] = "|".join(pairs)
    return made


def check_same(first: Mapping[str, str], later: Mapping[str, str]) -> None:
    """Check that a later graph asks for nothing else than the process was started with.

    Raises:
        ConfigError: naming the keys that differ.
    """
    changed = {key: value for key, value in later.items() if first.get(key) != value}
    if not changed:
        return
    raise ConfigError(
        "GE takes the options of the process once, from the first graph",
        expected=", ".join(f"{key}={first.get(key, '(not set)')}" for key in changed),
        found=", ".join(f"{key}={value}" for key, value in changed.items()),
        hint="use one configuration, or call torchair.backend_ge.cann.process.close() before",
    )
