"""torch_npu's preparation of multi-head latent attention."""

from __future__ import annotations

from typing import Any

from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.npu_kv_cache import moved
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_mla_prolog"))
def npu_mla_prolog(kv_cache: Any, kr_cache: Any, out: Any, **named: Any) -> Any:
    caches: dict[str, Any] = {"kv_cache": moved(kv_cache), "kr_cache": moved(kr_cache)}
    return build("npu_mla_prolog", "MlaProlog", named, out, **caches)


@converts(listed("npu_mla_prolog_v2"))
def npu_mla_prolog_v2(kv_cache: Any, kr_cache: Any, out: Any, **named: Any) -> Any:
    caches: dict[str, Any] = {"kv_cache": moved(kv_cache), "kr_cache": moved(kr_cache)}
    return build("npu_mla_prolog_v2", "MlaPrologV2", named, out, **caches)


@converts(listed("npu_mla_prolog_v3_functional"))
def npu_mla_prolog_v3_functional(kv_cache: Any, kr_cache: Any, out: Any, **named: Any) -> Any:
    given = {"kv_cache": moved(kv_cache), "kr_cache": moved(kr_cache), **named}
    query, rope, kv, kr, *rest = _third("npu_mla_prolog_v3_functional", given, out)
    return [query, rope, *rest, kv, kr]


@converts(listed("npu_mla_prolog_v3"))
def npu_mla_prolog_v3(out: Any, **named: Any) -> Any:
    query, rope, _, _, *rest = _third("npu_mla_prolog_v3", named, out)
    return [query, rope, *rest]


def _third(name: str, named: dict[str, Any], out: Any) -> Any:
    caches = [named["kv_cache"].type, named["kr_cache"].type]
    return build(name, "MlaPrologV3", named, [*out[:2], *caches, *out[2:5]])
