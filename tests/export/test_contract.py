"""config.pbtxt is the contract: it describes front end and weights, alike in every variant, and rules exports."""

from pathlib import Path

import numpy as np
import pytest

from export.contract import (
    Signature,
    Tensor,
    check_answer,
    check_parameters,
    check_signature,
    parameters,
    parse_config,
    read_config,
    signature,
    with_parameters,
)
from export.entries import discover
from export.errors import ExportError
from export.mel import MelConfig
from export.publish import REVIEWED
from export.vggt_audio.audio_features import AudioFeatureExtractor
from export.vggt_audio.graph import MAX_VIEWS

ENCODER = (REVIEWED / "tokenizer_encoder" / "config.pbtxt").read_text()
MODELS = sorted(path.parent.name for path in REVIEWED.glob("*/config.pbtxt"))
OWN_PARAMETERS = {  # of the server's backend, not of the model
    "INFERENCE_MODE",
    "DISABLE_OPTIMIZED_EXECUTION",
    "INTRA_OP_THREAD_COUNT",
    "INTER_OP_THREAD_COUNT",
}


def test_every_model_of_the_repository_has_an_exporter() -> None:
    assert sorted(discover()) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_variants_differ_in_how_they_run_and_in_nothing_else(model: str) -> None:
    reviewed = read_config(REVIEWED / model / "config.pbtxt")
    assert reviewed.name == model
    for variant in ("torchscript", "gpu"):
        config = read_config(REVIEWED / model / "configs" / f"{variant}.pbtxt")
        assert signature(config) == signature(reviewed)
        assert _stated(parameters(config)) == _stated(parameters(reviewed))


@pytest.mark.parametrize("model", MODELS)
def test_configurations_load_without_a_gpu_and_bound_their_queue(model: str) -> None:
    for name in ("config.pbtxt", "configs/torchscript.pbtxt"):
        config = read_config(REVIEWED / model / name)
        (group,) = config.instance_group
        assert group.kind == group.KIND_AUTO
        assert group.count >= 1  # explicit: servers differ in what they take none for
    for path in (REVIEWED / model).rglob("*.pbtxt"):
        config = read_config(path)
        policy = config.dynamic_batching.default_queue_policy
        assert policy.max_queue_size > 0
        assert policy.default_timeout_microseconds > 0
        assert policy.timeout_action == policy.REJECT
        assert policy.allow_timeout_override
        assert {sample.batch_size for sample in config.model_warmup} >= {1}
        assert all(sample.batch_size <= config.max_batch_size for sample in config.model_warmup)


@pytest.mark.parametrize("model", ["tokenizer_decoder", "tokenizer_encoder", "vocoder"])
def test_the_front_end_in_the_configuration_is_the_one_of_training(model: str) -> None:
    stated = parameters(read_config(REVIEWED / model / "config.pbtxt"))
    mel = MelConfig()
    assert int(stated["sample_rate"]) == mel.sample_rate
    assert int(stated["hop_length"]) == mel.hop_length
    assert int(stated["n_mels"]) == mel.n_mels
    assert (float(stated["db_min"]), float(stated["db_max"])) == (mel.db_min, mel.db_max)
    if model != "vocoder":
        assert int(stated["n_fft"]) == int(stated["win_length"]) == mel.n_fft
        assert (float(stated["f_min"]), float(stated["f_max"])) == (mel.f_min, mel.f_max)
        assert stated["mel_scale"] == "htk"
        assert float(stated["db_reference"]) == pytest.approx(mel.db_reference, abs=1e-4)


def test_what_the_room_model_hears_is_what_it_was_trained_on() -> None:
    stated = parameters(read_config(REVIEWED / "acoustic_maps" / "config.pbtxt"))
    extractor = AudioFeatureExtractor()
    assert stated["audio_feature"] == "log_mel"
    assert int(stated["sample_rate"]) == extractor.sample_rate
    assert int(stated["n_fft"]) == extractor.n_fft
    assert int(stated["hop_length"]) == extractor.hop_length
    assert int(stated["n_mels"]) * 2 == int(stated["audio_feature_dim"]) == extractor.output_dim
    assert float(stated["audio_window_s"]) == 2 * extractor.reach_s
    assert int(stated["max_views"]) == MAX_VIEWS


def test_a_graph_with_other_names_dtypes_or_dims_is_refused() -> None:
    config = parse_config(ENCODER)
    promised = signature(config)
    check_signature(config, promised)
    mel = promised.inputs["mel"]
    faults = {
        "input mel is missing": promised.inputs.keys() - {"mel"},
        "input spectrogram is": {"spectrogram": mel},
        "float16": {"mel": Tensor(np.dtype(np.float16), mel.dims)},
        r"\[-1, -1, 80\]": {"mel": Tensor(mel.dtype, (-1, -1, 80))},
        r"\[2, -1, 128\]": {"mel": Tensor(mel.dtype, (2, -1, 128))},
    }
    for message, change in faults.items():
        inputs = promised.inputs | change if isinstance(change, dict) else {n: promised.inputs[n] for n in change}
        with pytest.raises(ExportError, match=message):
            check_signature(config, Signature(inputs, promised.outputs))


def test_an_answer_of_another_dtype_or_rank_is_refused() -> None:
    config = parse_config(ENCODER)
    check_answer(config, {"tokens": np.zeros((2, 5), np.int64)})
    for answer in (np.zeros((2, 5), np.int32), np.zeros((2, 5, 1), np.int64)):
        with pytest.raises(ExportError, match="tokenizer_encoder answers"):
            check_answer(config, {"tokens": answer})
    with pytest.raises(ExportError, match="tokenizer_encoder answers"):
        check_answer(config, {"ids": np.zeros((2, 5), np.int64)})


def test_parameters_are_replaced_and_every_other_character_stays() -> None:
    changed = with_parameters(ENCODER, {"bits": "36", "preset": "custom"})
    assert parameters(parse_config(changed)) == parameters(parse_config(ENCODER)) | {"bits": "36", "preset": "custom"}
    differing = [new for old, new in zip(ENCODER.splitlines(), changed.splitlines(), strict=True) if old != new]
    assert differing == [
        'parameters { key: "bits" value { string_value: "36" } }',
        'parameters { key: "preset" value { string_value: "custom" } }',
    ]
    with pytest.raises(ExportError, match="colour 0 times"):
        with_parameters(ENCODER, {"colour": "red"})


def test_parameters_that_do_not_describe_the_weights_are_refused() -> None:
    with pytest.raises(ExportError, match="bits is 18, the weights say 9"):
        check_parameters(parse_config(ENCODER), {"bits": "9"})


def test_a_file_outside_the_schema_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text('nmae: "x"')
    with pytest.raises(ExportError, match=r"config\.pbtxt"):
        read_config(tmp_path / "config.pbtxt")
    with pytest.raises(ExportError, match="cannot read"):
        read_config(tmp_path / "absent.pbtxt")


def _stated(values: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in OWN_PARAMETERS}
