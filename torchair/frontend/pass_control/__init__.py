"""Which passes run: the usual list, changed by ``config.passes``, switches and numerics.

In this order: ``passes.order`` replaces the list; switched off and dropped passes go; passes are
inserted; with ``numerics = "eager"`` only exact passes stay. Where a pass runs several times,
``dce`` means all its places to ``drop`` and the first to insert at, ``dce#2`` the second place.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.passes import ModulePass

from torchair.config import Snapshot
from torchair.errors import ConfigError
from torchair.frontend.pass_control.switches import switched_off
from torchair.frontend.replacement.selection import prepared_alike, with_replacements
from torchair.frontend.stream_options import stream_options
from torchair.passes import ALL_PASSES, pipelines

REQUIRED = pipelines.LOWER
"""Passes without which there is no GE graph."""


@dataclass(frozen=True, slots=True)
class _Place:
    """One pass of the list; `label` is its name with the number of its place."""

    label: str
    item: ModulePass

    def is_named(self, name: str) -> bool:
        """Whether a name given by the user means this place: ``dce`` is any, ``dce#2`` one."""
        return name in (self.item.name, self.label)


def selected_passes(
    config: Snapshot,
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[ModulePass]:
    """The passes to run.

    Args:
        config: frozen options.
        names: the mode's usual passes in order.
        options: options by pass name, for passes that do not have their defaults.

    Raises:
        ConfigError: an option names a pass that does not exist or does not run here, or takes out
            a pass that no graph can do without.
    """
    order = names if config.passes.order is None else config.passes.order
    for name in order:
        _require_known(name, ALL_PASSES, "passes.order")
    for required in REQUIRED:
        if required in names and required not in order:
            raise _missing("passes.order", required)
        if required in order and required not in names:
            _require_known(required, names, "passes.order")
    places = _labelled(with_replacements(pipelines.build(tuple(order), options)))
    off = switched_off(config, [place.item.name for place in places])
    for name in (*off, *config.passes.drop):
        option = "passes.drop" if name in config.passes.drop else "a fusion switch"
        _require_known(name, _labels(places), option)
        if name.partition("#")[0] in REQUIRED:
            raise _missing(option, name)
    taken_out = {*off, *config.passes.drop}
    kept = [p for p in places if not any(p.is_named(name) for name in taken_out)]
    passes = prepared_alike(_with_insertions(kept, config, _labels(places)), config)
    exact_only = config.numerics == "eager"
    return [item for item in passes if not exact_only or numeric_class(item) == "exact"]


def max_autotune_passes(config: Snapshot) -> list[ModulePass]:
    """The passes of mode max-autotune, from the imported module to the ge module."""
    views = {"views": config.experimental_config.enable_view_optimize}
    options = {
        "canonicalize": views,
        "narrow-permutations": views,
        **stream_options(config, "data"),
    }
    return selected_passes(config, pipelines.MAX_AUTOTUNE, options)


def numeric_class(item: ModulePass) -> str:
    """What a pass may do to results: ``exact``, ``reassociates`` or ``approximates``.

    A pass that does not say is taken to approximate.
    """
    return getattr(item, "numeric_class", "approximates")


def _labelled(passes: Iterable[ModulePass]) -> list[_Place]:
    seen: Counter[str] = Counter()
    places: list[_Place] = []
    for item in passes:
        seen[item.name] += 1
        places.append(_Place(f"{item.name}#{seen[item.name]}", item))
    return places


def _labels(places: Sequence[_Place]) -> list[str]:
    """Everything a user may call these places."""
    return [*dict.fromkeys(p.item.name for p in places), *(p.label for p in places)]


def _with_insertions(
    places: Sequence[_Place], config: Snapshot, known: Sequence[str]
) -> list[ModulePass]:
    """The passes with those that the user inserts, each at the first place its anchor names."""
    before: dict[str, list[ModulePass]] = {}
    after: dict[str, list[ModulePass]] = {}
    for option, found in (("insert_before", before), ("insert_after", after)):
        for anchor, items in getattr(config.passes, option).items():
            _require_known(anchor, known, f"passes.{option}")
            label = next((p.label for p in places if p.is_named(anchor)), None)
            if label is None:
                raise ConfigError(
                    f"passes.{option} names '{anchor}', which does not run",
                    found="it is dropped or switched off",
                    hint="insert at another pass",
                )
            made = [_instance(item, f"passes.{option}") for item in items]
            found.setdefault(label, []).extend(made)
    passes: list[ModulePass] = []
    for place in places:
        passes += [*before.get(place.label, ()), place.item, *after.get(place.label, ())]
    return passes


def _instance(item: Any, option: str) -> ModulePass:
    if isinstance(item, str):
        _require_known(item, ALL_PASSES, option)
        return ALL_PASSES[item]()()
    if not isinstance(item, ModulePass):
        raise ConfigError(
            f"{option} holds what is no pass",
            expected="a name, or an instance of a subclass of xdsl.passes.ModulePass",
            found=repr(item),
        )
    return item


def _require_known(name: str, known: Iterable[str], option: str) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=3)
    shown = [label for label in names if not label.endswith("#1")]
    where = "there is no such pass" if name not in ALL_PASSES else "it does not run in this mode"
    raise ConfigError(
        f"{option} names '{name}': {where}",
        expected=", ".join(shown),
        found=name,
        hint=f"{' or '.join(repr(item) for item in near)} (did you mean that?)" if near else None,
    )


def _missing(option: str, name: str) -> ConfigError:
    return ConfigError(
        f"{option} takes out '{name}', without which there is no GE graph",
        expected=f"{', '.join(REQUIRED)} among the passes",
        hint="keep that pass; drop passes that optimise",
    )
