"""A repository of small untrained models, exported once in both formats."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from export.bsq.model import SMALL
from export.entries import Entry, Measure, discover
from export.publish import publish
from export.vatt.config import AudioConfig, TextConfig, VattConfig
from export.vocoder.model import VocoderConfig
from export.weights import Weights
from tests.export.test_vggt_model import TINY

CONFIGS: dict[str, Any] = {
    "acoustic_maps": replace(
        TINY, audio_feature_dim=256, depth=1, layers=(0, 0, 0, 0), camera_iterations=1, enable_point=False
    ),
    "embeddings": VattConfig(
        AudioConfig(width=32, layers=1, heads=2, tokens_a_piece=4, bands=16),
        TextConfig(width=32, layers=1, heads=2, style="bert", embedding=32),
        fine_dims=32,
    ),
    "tokenizer": replace(SMALL, width=32, layers=1, heads=2, head_width=32),
    "vocoder": VocoderConfig(width=32, layers=1),
}


@dataclass(frozen=True)
class Exported:
    repository: Path
    entries: dict[str, Entry]
    weights: dict[str, Weights]  # by model
    measures: dict[str, list[Measure]]  # of ONNX, by model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    repository = tmp_path_factory.mktemp("exported")
    entries = discover()
    weights = {name: entry.untrained(CONFIGS[entry.weights]) for name, entry in entries.items()}
    measures = {
        name: publish(entry, weights[name], repository, shipped=False, format_name="onnx")
        for name, entry in entries.items()
    }
    for name, entry in entries.items():
        publish(entry, weights[name], repository, shipped=False, format_name="torchscript")
    return Exported(repository, entries, weights, measures)
