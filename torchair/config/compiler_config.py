"""CompilerConfig: the root of the option tree and what the rest of the compiler asks of it."""

from __future__ import annotations

from typing import Any

from torchair.config import groups
from torchair.config.ge_keys import OptionDicts, local_and_global, split_for_ge
from torchair.config.option_group import (
    ALL_MODES,
    GE_MODE,
    Option,
    OptionGroup,
    Subgroup,
    nearest_path,
)
from torchair.config.options import Choice, ChoiceOrInt, IntRange
from torchair.config.snapshot import Snapshot
from torchair.errors import ConfigError


class CompilerConfig(OptionGroup):
    """All options of a compilation. Compiling never changes it: the compiler reads a snapshot.

    `config.mode = "x"` and `config.mode.value = "x"` set an option, `config.mode.get()` gives its
    plain value. Unknown options and wrong values raise ConfigError, which is a ValueError.
    """

    mode = groups.choice(ALL_MODES, GE_MODE, "How graphs run: by a graph engine, or captured.")
    numerics = groups.choice(
        ("fast", "eager"),
        "fast",
        "With eager only exact passes run: those that keep every bit of the results.",
        own=True,
    )
    streams = Option(
        ChoiceOrInt(choice=Choice(values=("user", "auto")), number=IntRange(low=1, high=8)),
        "user",
        "Who places ops on streams: user scopes, automatic, or automatic on so many streams.",
        own=True,
    )
    engine = groups.choice(
        ("auto", "host", "cann"), "auto", "What runs graphs; auto is cann if present.", own=True
    )
    post_grad_custom_pre_pass = groups.function(
        "Called with (graph module, example inputs, config) before all FX passes."
    )
    post_grad_custom_post_pass = groups.function(
        "Called with (graph module, example inputs, config) after all FX passes."
    )

    debug = Subgroup(groups.DebugConfig)
    experimental_config = Subgroup(groups.ExperimentalConfig)
    ge_config = Subgroup(groups.GeConfig)
    inference_config = Subgroup(groups.InferenceConfig)
    fusion_config = Subgroup(groups.FusionConfig)
    aoe_config = Subgroup(groups.AoeConfig)
    dump_config = Subgroup(groups.DumpConfig)
    export = Subgroup(groups.ExportConfig)
    aclgraph_config = Subgroup(groups.AclgraphConfig)
    npugraphex_config = Subgroup(groups.CaptureConfig)
    passes = Subgroup(groups.PassesConfig)
    device = Subgroup(groups.DeviceConfig)
    host = Subgroup(groups.HostConfig)

    def __init__(self) -> None:
        super().__init__()

    def snapshot(self) -> Snapshot:
        """Returns the frozen, hashable view that the compiler and the caches read."""
        return Snapshot.of(self)

    def as_dict(
        self, mode: str | None = None, *, world_size: int = 1, rank: int = 0
    ) -> OptionDicts:
        """Returns (local, global) option dicts of strings, as the public API does.

        They mix keys for GE with keys for the backend; `ge_options` has the former only. torchair's
        own options are not in them. No directory is created.

        Args:
            mode: the mode to answer for; None is the configured one.
            world_size, rank: of the process group; they name the dump directory of this rank.
        """
        chosen: str = self.mode.get() if mode is None else mode
        if chosen not in ALL_MODES:
            raise ConfigError("unknown mode", expected=", ".join(ALL_MODES), found=repr(mode))
        return local_and_global(self.snapshot(), chosen, world_size=world_size, rank=rank)

    def ge_options(self, *, world_size: int = 1, rank: int = 0) -> OptionDicts:
        """Returns the (local, global) options to hand to GE: the `ge.` keys of `as_dict`."""
        return split_for_ge(self.as_dict(world_size=world_size, rank=rank))

    def get_option(self, path: str) -> Any:
        """Returns the plain value at a dotted path, e.g. ``debug.graph_dump.type``."""
        group, name = self._group_of(path)
        return group.plain_values()[name]

    def set_option(self, path: str, value: object) -> None:
        """Sets the option at a dotted path."""
        group, name = self._group_of(path)
        setattr(group, name, value)

    def options_without_effect(self) -> list[str]:
        """Returns the paths of options that were changed but do nothing in the configured mode."""
        mode = self.mode.get()
        modes = {path: option.modes for path, option in self.walk()}
        return [path for path in self.changed_values() if mode not in modes[path]]

    def explain(self) -> str:
        """Returns one line for every option that differs from its default."""
        declared = dict(self.walk())
        idle = set(self.options_without_effect())
        lines: list[str] = []
        for path, value in self.changed_values().items():
            note = f", no effect in mode {self.mode}" if path in idle else ""
            lines.append(f"{path} = {value!r} (default {declared[path].default!r}{note})")
        return "\n".join(lines) if lines else "all options have their defaults"

    def _group_of(self, path: str) -> tuple[OptionGroup, str]:
        if path not in dict(self.walk()):
            near = nearest_path(path, tuple(self.paths()))
            raise ConfigError(
                f"no option '{path}' in CompilerConfig",
                hint=f"'{near}' (did you mean that?)" if near else None,
            )
        *parents, name = path.split(".")
        group: OptionGroup = self
        for parent in parents:
            group = group.children()[parent]
        return group, name
