"""What is exported equals PyTorch at sizes that were never traced; what does not is not written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from torch import Tensor

from export.contract import parameters, read_config, signature
from export.entries import Case, Entry, Measure
from export.errors import ExportError
from export.publish import REVIEWED, publish
from export.to_torchscript import Runner
from export.vocoder.graph import VocoderGraph
from export.vocoder.model import VocoderConfig
from tests.export.conftest import Exported


def _session(exported: Exported, model: str) -> InferenceSession:
    path = exported.repository / model / "1" / "model.onnx"
    return InferenceSession(path, providers=["CPUExecutionProvider"])


def _mel(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-80, 0, (*shape, 128)).astype(np.float32)


def _counts(*num_frames: int) -> NDArray[np.int32]:
    return np.array(num_frames, np.int32)[:, None]


def test_files_run_on_every_server_in_use_and_tell_nothing_of_the_exporting_machine(exported: Exported) -> None:
    for model, weights in exported.weights.items():
        path = exported.repository / model / "1" / "model.onnx"
        graph = onnx.load(path)
        assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18)]
        assert graph.ir_version <= 10
        assert {prop.key: prop.value for prop in graph.metadata_props}["weights_digest"] == weights.digest
        assert b".py" not in path.read_bytes()


def test_every_measure_of_the_proof_is_stated(exported: Exported) -> None:
    assert [measure.name for measure in exported.measures["tokenizer_encoder"]] == [
        "clear bits that differ",
        "share of bits that differ",
    ]
    assert all(measures and all(measure.holds for measure in measures) for measures in exported.measures.values())


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_a_measure_beyond_its_limit_or_undefined_does_not_hold(value: float) -> None:
    assert not Measure("error", value, 1.0).holds
    assert not Measure("agreement", 2.5 - value, 1.5, at_least=True).holds


def test_tokens_depend_neither_on_batch_mates_nor_on_padding(exported: Exported) -> None:
    session = _session(exported, "tokenizer_encoder")
    mel = _mel(3, 48)
    together = session.run(["tokens"], {"mel": mel, "num_frames": _counts(48, 20, 8)})[0]
    for row, num_frames in enumerate((48, 20, 8)):
        used = -(-num_frames // 8) * 4  # patches of 8 frames, 4 bands
        alone = session.run(["tokens"], {"mel": mel[row : row + 1, : used * 2], "num_frames": _counts(num_frames)})[0]
        assert np.array_equal(together[row, :used], alone[0])
        assert not together[row, used:].any()
        noisy = mel[row : row + 1].copy()
        noisy[:, num_frames:] = np.nan
        assert np.array_equal(
            session.run(["tokens"], {"mel": noisy, "num_frames": _counts(num_frames)})[0][0], together[row]
        )


def test_mels_depend_neither_on_batch_mates_nor_on_padding(exported: Exported) -> None:
    session = _session(exported, "tokenizer_decoder")
    tokens = np.random.default_rng(1).integers(0, 2**18, (2, 24))
    together = session.run(["mel"], {"tokens": tokens, "num_frames": _counts(48, 13)})[0]
    alone = session.run(["mel"], {"tokens": tokens[1:, :8], "num_frames": _counts(13)})[0]
    np.testing.assert_allclose(together[1, :13], alone[0, :13], atol=1e-3)
    assert (together[1, 13:] == -80).all()
    assert together.min() >= -80
    assert together.max() <= 0


def test_the_vocoder_needs_no_more_context_than_it_states(exported: Exported) -> None:
    session = _session(exported, "vocoder")
    context = int(parameters(read_config(exported.repository / "vocoder" / "config.pbtxt"))["context_frames"])
    mel = _mel(1, 200)
    whole = session.run(["waveform"], {"mel": mel})[0]
    first, last = 80, 120
    part = session.run(["waveform"], {"mel": mel[:, first - context : last + context]})[0]
    assert whole.shape == (1, 200 * 160)
    kept = part[:, context * 160 : (context + last - first) * 160]
    np.testing.assert_allclose(kept, whole[:, first * 160 : last * 160], atol=1e-5)


def test_torchscript_answers_as_onnx_does_and_is_bound_to_no_device(exported: Exported) -> None:
    for model, entry in exported.entries.items():
        folder = exported.repository / model
        path = folder / "1" / "model.pt"
        config = read_config(folder / "configs" / "torchscript.pbtxt")
        example = entry.build(exported.weights[model]).example(2, 11, seed=9)
        inputs = {name: tensor.numpy() for name, tensor in example.items()}
        session = _session(exported, model)
        answer = Runner(path, config)(inputs)
        for output, expected in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            np.testing.assert_allclose(answer[output.name], expected, atol=1e-3)
        assert b"torch.device(" not in b"".join(_code(path))


def test_weights_of_ones_own_are_described_by_the_copied_configuration(exported: Exported) -> None:
    for model, weights in exported.weights.items():
        for path in (REVIEWED / model).rglob("*.pbtxt"):
            copy = exported.repository / model / path.relative_to(REVIEWED / model)
            assert signature(read_config(copy)) == signature(read_config(path))
            stated = parameters(read_config(copy))
            assert stated["weights_digest"] == weights.digest
            assert stated["preset"] == "custom"


def test_half_precision_keeps_the_contract_and_most_tokens(exported: Exported, tmp_path: Path) -> None:
    model = "tokenizer_encoder"
    measures = publish(exported.entries[model], exported.weights[model], tmp_path, shipped=False, precision="fp16")
    assert [(measure.name, measure.holds) for measure in measures] == [("token agreement", True)]
    half, full = (root / model / "1" / "model.onnx" for root in (tmp_path, exported.repository))
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert {tensor.data_type for tensor in onnx.load(half).graph.initializer} >= {onnx.TensorProto.FLOAT16}


def _code(path: Path) -> Iterator[bytes]:
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        assert names
        yield from map(archive.read, names)


class Forgetful(VocoderGraph):
    """Right at the traced length only."""

    def forward(self, mel: Tensor) -> Tensor:
        return super().forward(mel) + 0.01 * int(mel.shape[1])


class Misnamed(VocoderGraph):
    """Its input has another name than config.pbtxt gives it."""

    def forward(self, spectrogram: Tensor) -> Tensor:
        return super().forward(spectrogram)

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"spectrogram": super().dynamic_shapes()["mel"]}

    def example(self, batch: int, steps: int, seed: int) -> dict[str, Tensor]:
        return {"spectrogram": super().example(batch, steps, seed)["mel"]}


@pytest.mark.parametrize(
    ("graph", "format_name", "message"),
    [(Forgetful, "torchscript", "is not what PyTorch computes"), (Misnamed, "onnx", "breaks its config")],
)
def test_a_proof_that_fails_leaves_the_repository_as_it_was(
    exported: Exported, tmp_path: Path, graph: Any, format_name: Any, message: str
) -> None:
    vocoder = exported.entries["vocoder"]
    broken = Entry("vocoder", "vocoder", vocoder.presets, vocoder.module, graph)
    with pytest.raises(ExportError, match=message):
        publish(broken, exported.weights["vocoder"], tmp_path, shipped=False, format_name=format_name)
    assert list(tmp_path.rglob("*")) == []


def test_weights_that_ship_must_be_described_by_the_reviewed_configuration(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"does not describe these weights: .*weights_digest"):
        publish(exported.entries["vocoder"], exported.weights["vocoder"], tmp_path, shipped=True)


def test_weights_of_ones_own_stay_out_of_the_reviewed_repository(exported: Exported) -> None:
    with pytest.raises(ExportError, match="--out"):
        publish(exported.entries["vocoder"], exported.weights["vocoder"], REVIEWED, shipped=False)


def test_weights_of_another_model_are_refused(exported: Exported) -> None:
    with pytest.raises(ExportError, match="needs weights of a VocoderConfig"):
        exported.entries["vocoder"].build(exported.weights["tokenizer_encoder"])
    deeper = exported.entries["vocoder"].untrained(VocoderConfig(width=32, layers=2))
    with pytest.raises(ExportError, match="do not fit"):
        exported.entries["vocoder"].build(
            type(deeper)(deeper.kind, exported.weights["vocoder"].config, deeper.state, deeper.digest)
        )


def test_tokens_that_differ_are_counted_bit_by_bit(exported: Exported) -> None:
    graph = exported.entries["tokenizer_encoder"].build(exported.weights["tokenizer_encoder"])
    inputs = graph.example(2, 64, seed=3)
    answer = graph(**inputs)
    flipped = answer.clone()
    flipped[0, 0] ^= 0b101
    for tokens, differing in ((answer, 0), (flipped, 2)):
        _, share = graph.measure([Case(inputs, {"tokens": tokens})], "fp32")
        assert share.value == differing / (answer.numel() * 18)
        (agreement,) = graph.measure([Case(inputs, {"tokens": tokens})], "fp16")
        assert agreement.value == 1 - (differing > 0) / answer.numel()
