"""A CLAP checkpoint becomes both models of the repository, and answers as transformers does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast
from typer.testing import CliRunner, Result

from export.cli import app
from export.contract import parameters, read_config, signature
from export.vatt.tokenizer import PATH
from tests.sounds import clip

AUDIO = {
    "patch_embeds_hidden_size": 8,
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "hidden_size": 16,
    "spec_size": 64,
    "num_mel_bins": 16,
    "window_size": 4,
}
TEXT = {
    "vocab_size": 30_522,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
}
SOUND = {"feature_size": 16, "sampling_rate": 8_000, "hop_length": 80, "max_length_s": 2, "fft_window_size": 256}


def save(folder: Path, *, fusion: bool = False) -> Path:
    torch.manual_seed(0)
    channels = {"enable_fusion": True, "fusion_type": "aff_2d", "patch_embed_input_channels": 4} if fusion else {}
    config = ClapConfig(text_config=TEXT, audio_config=AUDIO | channels, projection_dim=24)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(frequency_max=4_000, truncation="rand_trunc", **SOUND).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(PATH)), pad_token="[PAD]", model_max_length=64
    ).save_pretrained(folder)
    return folder


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def repository(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repository")
    result = export("embeddings", "--from-hf", checkpoint, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def run(repository: Path, model: str, inputs: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(repository / model / "1" / "model.onnx", options, providers=["CPUExecutionProvider"])
    (embedding,) = session.run(["embedding"], inputs)
    return embedding


def unit(output: object) -> NDArray[np.float32]:
    vectors = output if isinstance(output, torch.Tensor) else output.pooler_output  # type: ignore[attr-defined]
    return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@torch.no_grad()
def test_sound_is_embedded_as_transformers_does_it(checkpoint: Path, repository: Path) -> None:
    model, extractor = ClapModel.from_pretrained(checkpoint).eval(), ClapFeatureExtractor.from_pretrained(checkpoint)
    sounds = [clip("grappling-hook")[::2], clip("vm-deleted")[:9_000:2]]
    sounds = [sound[: 2 * 8_000] for sound in sounds]  # a window: longer ones transformers cuts at random
    inputs = extractor(sounds, sampling_rate=8_000, return_tensors="pt")
    expected = unit(model.get_audio_features(**inputs))
    features = inputs["input_features"][:, 0].numpy().astype(np.float32)
    assert features.shape == (2, 201, 16)
    np.testing.assert_allclose(run(repository, "audio_embedder", {"input_features": features}), expected, atol=1e-5)


@torch.no_grad()
def test_text_is_embedded_as_transformers_does_it(checkpoint: Path, repository: Path) -> None:
    model, tokenizer = ClapModel.from_pretrained(checkpoint).eval(), Tokenizer.from_file(str(PATH))
    rows = [tokenizer.encode(text).ids for text in ("a dog barks", "cross the lava with the grappling hook")]
    ids = np.full((2, 16), 1, np.int32)
    for row, pieces in zip(ids, rows, strict=True):
        row[: len(pieces)] = pieces
    mask = np.array([[place < len(row) for place in range(16)] for row in rows], np.int32)
    expected = unit(model.get_text_features(torch.from_numpy(ids).long(), torch.from_numpy(mask).long()))
    answer = run(repository, "text_embedder", {"input_ids": ids, "attention_mask": mask})
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_configurations_state_what_the_gateway_must_compute(repository: Path) -> None:
    audio, text = (read_config(repository / name / "config.pbtxt") for name in ("audio_embedder", "text_embedder"))
    stated = parameters(audio)
    assert {name: spec.dims for name, spec in signature(audio).inputs.items()} == {"input_features": (-1, 201, 16)}
    expected = {
        "frontend": "mel",
        "sample_rate": "8000",
        "window_samples": "16000",
        "hop_samples": "8000",
        "n_fft": "256",
        "hop_length": "80",
        "n_mels": "16",
        "f_max": "4000",
        "mel_scale": "slaney",
        "mel_norm": "slaney",
        "padding": "repeatpad",
        "dims": "24",
        "licence": "unknown",
    }
    assert {name: stated[name] for name in expected} == expected
    assert parameters(text)["space_id"] == stated["space_id"]
    assert parameters(text)["token_buckets"] == "16 32 64"
    assert (repository / "text_embedder" / "tokenizer.json").exists()


def test_torchscript_of_half_precision_is_proven_too(checkpoint: Path, tmp_path: Path) -> None:
    result = export("--from-hf", checkpoint, "--out", tmp_path, "--format", "torchscript", "--precision", "fp16")
    assert result.exit_code == 0, result.output
    assert result.output.count("smallest cosine") == 2


def test_a_checkpoint_that_looks_at_random_parts_or_is_none_is_refused(tmp_path: Path) -> None:
    fused = save(tmp_path / "fused", fusion=True)
    for source, message in ((fused, "without fusion"), (tmp_path / "nothing", "cannot load")):
        result = export("--from-hf", source, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert message in result.output
    assert not (tmp_path / "out").exists()
