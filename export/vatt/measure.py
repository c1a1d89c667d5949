"""How far exported embeddings are from PyTorch's."""

from collections.abc import Sequence

from export.entries import Case, Measure, Precision, ServedGraph


def measure(graph: ServedGraph, cases: Sequence[Case], precision: Precision) -> list[Measure]:
    """Of vectors of length 1: the largest difference in float32, the smallest cosine in float16."""
    pairs = [(graph(**case.inputs), case.answer["embedding"]) for case in cases]
    if precision == "fp16":
        least = min(float((expected * answer).sum(-1).min()) for expected, answer in pairs)
        return [Measure("smallest cosine", least, 0.999, at_least=True)]
    return [Measure("largest difference", max(float((a - b).abs().max()) for a, b in pairs), 1e-4)]
