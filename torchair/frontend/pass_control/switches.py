"""GE's fusion switches, as far as they are about passes of this compiler.

``fusion_config.fusion_switch_file`` is JSON, ``{"Switch": {"GraphFusion": {"NAME": "off"}}}``;
``ge_config.optimization_switch`` is ``NAME:off;NAME:on`` and wins over the file. A pass may be
named as torchair names it (``fuse-rms-norm``), in snake case, or by its class
(``FuseRmsNormPass``). ``ALL`` is every fusion. Names of GE's own passes mean nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchair.config import Snapshot
from torchair.errors import ConfigError

_GROUPS = ("GraphFusion", "UBFusion")
_FUSION = "fuse-"
_EXAMPLE = '{"Switch": {"GraphFusion": {"FuseRmsNormPass": "off"}}}'


def switched_off(config: Snapshot, names: Sequence[str]) -> list[str]:
    """Those of the named passes that a switch turns off, each once.

    ``experimental_config.pattern_fusion_pass = False`` turns all fusions off.

    Raises:
        ConfigError: the switch file is not what it should be.
    """
    file = config.fusion_config.fusion_switch_file
    switches = {} if file is None else read_switch_file(Path(file))
    switches.update(read_switches(config.ge_config.optimization_switch or ""))
    if not config.experimental_config.pattern_fusion_pass:
        switches = {"all": False}
    return [name for name in dict.fromkeys(names) if not _is_on(name, switches)]


def _is_on(name: str, switches: dict[str, bool]) -> bool:
    default = switches.get("all", True) if name.startswith(_FUSION) else True
    return switches.get(_folded(name), default)


def _folded(name: str) -> str:
    """One spelling for ``fuse-rms-norm``, ``fuse_rms_norm`` and ``FuseRmsNormPass``."""
    return name.lower().replace("-", "").replace("_", "").removesuffix("pass")


def read_switches(text: str) -> dict[str, bool]:
    """The switches in ``NAME:on;NAME:off``, which the option has checked, by folded name."""
    pairs = (entry.partition(":") for entry in text.split(";") if entry)
    return {_folded(name): value == "on" for name, _, value in pairs}


def read_switch_file(path: Path) -> dict[str, bool]:
    """The switches of a file by folded name.

    Raises:
        ConfigError: it is no JSON, or JSON of another form.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"fusion_config.fusion_switch_file: {path} cannot be read as JSON",
            expected=_EXAMPLE,
            found=str(error),
        ) from error
    switch = content.get("Switch", {}) if isinstance(content, dict) else None
    groups = [switch.get(group, {}) for group in _GROUPS] if isinstance(switch, dict) else [None]
    found: dict[str, bool] = {}
    for group in groups:
        if not isinstance(group, dict):
            raise _wrong_form(path, group)
        for name, value in group.items():
            if value not in ("on", "off"):
                raise _wrong_form(path, f"{name}: {value!r}")
            found[_folded(name)] = value == "on"
    return found


def _wrong_form(path: Path, found: object) -> ConfigError:
    return ConfigError(
        f"fusion_config.fusion_switch_file: {path} is JSON of another form",
        expected=_EXAMPLE,
        found=found,
        hint="each pass is on or off",
    )
