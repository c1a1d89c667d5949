"""What the room model takes and gives: any views and sizes, heads that are off, sound or none, physics that holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from export.vggt_audio.acoustic_head import AcousticHead
from export.vggt_audio.model import PRESETS, SMALL, VGGTAudio, VGGTAudioConfig
from export.weights import pack_weights, restore_config, unpack_weights

TINY = VGGTAudioConfig(
    img_size=28,
    embed_dim=32,
    vit_depth=1,
    vit_heads=2,
    depth=4,
    num_heads=2,
    layers=(0, 1, 2, 3),
    layer_scale=0.5,
    token_std=0.5,
    camera_depth=1,
    camera_heads=2,
    camera_layer_scale=0.5,
    camera_iterations=2,
    dpt_features=8,
    dpt_out_channels=(4, 4, 8, 8),
    acoustic_features=8,
    acoustic_out_channels=(4, 4, 8, 8),
    audio_feature_dim=6,
    track_features=8,
    track_hidden=16,
    track_depth=1,
    track_levels=2,
    track_radius=1,
)
QUERIES = torch.tensor([[3.0, 4.0], [20.0, 10.0], [0.0, 27.0]])


@pytest.fixture(scope="module")
def model() -> VGGTAudio:
    torch.manual_seed(0)
    return VGGTAudio(TINY).eval()


def _images(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _features(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tensors(answer: dict[str, Any]) -> dict[str, Tensor]:
    """Every map by name."""
    flat = {name: value for name, value in answer.items() if isinstance(value, Tensor)}
    return flat | {
        name: value for name, value in answer.get("acoustic_properties", {}).items() if name != "freq_centers"
    }


def _assert_same(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    actual, expected = _tensors(actual), _tensors(expected)
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(actual[name], values, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize(("frames", "size"), [(1, (28, 28)), (1, (56, 28)), (3, (28, 70)), (2, (14, 42))])
@torch.inference_mode()
def test_maps_have_the_size_of_the_images_for_any_number_of_views(
    model: VGGTAudio, frames: int, size: tuple[int, int]
) -> None:
    images = _images(2, frames, 3, *size)
    answer = model(images, audio_features=_features(2, frames, 6))
    pixels = (2, frames, *size)
    shapes = {name: tuple(value.shape) for name, value in _tensors(answer).items()}
    assert shapes == {
        "pose_enc": (2, frames, 9),
        "depth": (*pixels, 1),
        "depth_conf": pixels,
        "world_points": (*pixels, 3),
        "world_points_conf": pixels,
        "acoustic_conf": pixels,
        "absorption": (*pixels, 8),
        "reflection": (*pixels, 1),
        "scattering": (*pixels, 1),
        "impedance": (*pixels, 2),
    }
    assert answer["acoustic_properties"]["freq_centers"].tolist() == [125 * 2**band for band in range(8)]
    assert len(answer["pose_enc_list"]) == 2
    assert (answer["depth"] > 0).all()
    assert (answer["depth_conf"] >= 1).all()
    assert (answer["pose_enc"][..., 7:] >= 0).all()


@torch.inference_mode()
def test_a_batch_is_many_scenes_that_do_not_see_each_other(model: VGGTAudio) -> None:
    images, features, valid = _images(2, 3, 3, 28, 42), _features(2, 3, 6), torch.tensor([[1, 0, 1], [0, 1, 1]]).bool()
    together = model(images, QUERIES.expand(2, -1, -1), features, valid)
    for scene in range(2):
        alone = model(images[scene], QUERIES, features[scene], valid[scene])
        _assert_same(alone, {name: _row(value, scene) for name, value in together.items()})


def _row(value: Any, row: int) -> Any:
    if isinstance(value, Tensor):
        return value[row : row + 1] if value.ndim > 1 else value
    if isinstance(value, dict):
        return {name: _row(item, row) for name, item in value.items()}
    return [_row(item, row) for item in value]


@torch.inference_mode()
def test_tracks_start_where_they_are_asked(model: VGGTAudio) -> None:
    answer = model(_images(3, 3, 28, 28), QUERIES)
    assert answer["track"].shape == (1, 3, 3, 2)
    assert answer["vis"].shape == answer["conf"].shape == (1, 3, 3)
    torch.testing.assert_close(answer["track"][0, 0], QUERIES)
    assert not torch.equal(answer["track"][0, 1], QUERIES)


@torch.inference_mode()
def test_views_in_another_order_are_another_world_but_later_views_are_alike(model: VGGTAudio) -> None:
    images = _images(3, 3, 28, 28)
    answer, swapped, moved = (model(images[order]) for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2]))
    torch.testing.assert_close(swapped["depth"][:, [0, 2, 1]], answer["depth"], atol=1e-5, rtol=1e-5)
    assert (moved["depth"][:, [1, 0, 2]] - answer["depth"]).abs().max() > 1e-4


@torch.inference_mode()
def test_sound_reaches_every_view_and_silence_is_not_zeros(model: VGGTAudio) -> None:
    images, features = _images(2, 3, 28, 28), _features(2, 6)
    deaf, heard, zeros = model(images), model(images, None, features), model(images, None, torch.zeros(2, 6))
    nothing = torch.zeros(2).bool()
    _assert_same(model(images, None, torch.full((2, 6), torch.nan), nothing), deaf)
    _assert_same(model(images, None, features, ~nothing), heard)
    first_only = model(images, None, features, torch.tensor([True, False]))
    answers = [deaf, heard, zeros, first_only]
    for index, one in enumerate(answers):
        for other in answers[index + 1 :]:
            assert (one["depth"][0, 1] - other["depth"][0, 1]).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("camera", {"pose_enc"}),
        ("depth", {"depth", "depth_conf"}),
        ("point", {"world_points", "world_points_conf"}),
        ("track", {"track", "vis", "conf"}),
        ("acoustic", {"acoustic_conf", "absorption", "reflection", "scattering", "impedance"}),
    ],
)
@torch.inference_mode()
def test_a_head_that_is_off_has_no_parameters_and_changes_no_other(
    model: VGGTAudio, head: str, names: set[str]
) -> None:
    reduced = VGGTAudio(replace(TINY, **{f"enable_{head}": False})).eval()
    state = model.state_dict()
    reduced.load_state_dict({name: state[name] for name in reduced.state_dict()})
    assert state.keys() - reduced.state_dict().keys() == {n for n in state if n.startswith(f"{head}_head.")} != set()
    images, queries = _images(2, 3, 28, 28), QUERIES if head != "track" else None
    answer = _tensors(model(images, QUERIES))
    _assert_same(reduced(images, queries), {name: value for name, value in answer.items() if name not in names})


@torch.inference_mode()
def test_dense_heads_give_the_same_numbers_frame_by_frame(model: VGGTAudio) -> None:
    images = _images(2, 3, 3, 28, 28)
    expected = model(images, QUERIES.expand(2, -1, -1))
    model.chunk_frames(4)
    _assert_same(model(images, QUERIES.expand(2, -1, -1)), expected)
    model.chunk_frames(None)


def test_recomputing_activations_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    model = VGGTAudio(replace(TINY, enable_track=False))
    images, features = _images(1, 2, 3, 28, 28), _features(1, 2, 6)

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        answer = model(images, audio_features=features)
        maps = [*_tensors(answer).values(), *answer["pose_enc_list"]]
        torch.stack([value.mean() for value in maps]).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    assert expected.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    model.checkpoint_gradients()
    model.chunk_frames(1)
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-3)


@torch.inference_mode()
def test_heads_keep_their_precision_under_autocast(model: VGGTAudio) -> None:
    images = _images(2, 3, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        answer = model(images, QUERIES)
    assert {value.dtype for value in _tensors(answer).values()} == {torch.float32}
    error = (answer["depth"] - model(images)["depth"]).abs().max()
    assert 0 < error < 0.05  # the trunk did run in bfloat16


LOGITS = arrays(np.float32, (40, 12), elements=st.floats(-200, 200, width=32))


@settings(max_examples=200, deadline=None)
@given(LOGITS)
def test_absorbed_and_reflected_energy_never_exceed_what_arrives(logits: np.ndarray) -> None:
    head = AcousticHead(8, 14, 8, (4, 4, 4, 4), freq_bands=8, reflection_mode="conserving")
    maps = head.properties(torch.from_numpy(logits))
    assert (maps["absorption"] + maps["reflection"] <= 1).all()
    for name in ("absorption", "reflection", "scattering"):
        assert ((maps[name] >= 0) & (maps[name] <= 1)).all()


def test_independent_sigmoids_do_not_conserve_energy() -> None:
    head = AcousticHead(8, 14, 8, (4, 4, 4, 4), freq_bands=8, reflection_mode="sigmoid")
    maps = head.properties(torch.full((1, 12), 3.0))
    assert (maps["absorption"] + maps["reflection"] > 1.9).all()


def test_the_centre_of_each_band_is_an_octave_above_the_last() -> None:
    head = AcousticHead(8, 14, 8, (4, 4, 4, 4), freq_bands=10, reflection_mode="conserving")
    assert head.freq_centers.tolist() == [125, 250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]
    assert head.freq_centers.dtype == torch.int64


def test_reverberation_of_the_maps_is_sabines(model: VGGTAudio) -> None:
    assert model.acoustic_head is not None
    rt60 = model.acoustic_head.compute_rt60({"absorption": torch.full((1, 1, 2, 2, 8), 0.2)}, 100.0, 120.0)
    torch.testing.assert_close(rt60, torch.full((8,), 0.161 * 100 / (0.2 * 120)), atol=0, rtol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"images": torch.zeros(1, 3, 30, 28)}, "multiples of 14"),
        ({"images": torch.zeros(1, 4, 28, 28)}, "images are"),
        ({"images": torch.zeros(3, 28, 28)}, "images are"),
        ({"images": torch.zeros(2, 3, 28, 28), "audio_features": torch.zeros(3, 6)}, "do not fit"),
        ({"images": torch.zeros(2, 3, 28, 28), "audio_features": torch.zeros(2, 7)}, "do not fit"),
        ({"images": torch.zeros(2, 3, 28, 28), "audio_valid": torch.ones(3).bool()}, "does not fit"),
    ],
)
@torch.inference_mode()
def test_inputs_that_do_not_belong_together_are_named(model: VGGTAudio, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**inputs)


def test_inputs_that_the_configuration_has_no_use_for_are_refused() -> None:
    model = VGGTAudio(replace(TINY, num_audio_tokens=0, enable_track=False))
    with pytest.raises(ValueError, match="audio tokens"):
        model(torch.zeros(1, 3, 28, 28), audio_features=torch.zeros(1, 6))
    with pytest.raises(ValueError, match="track head"):
        model(torch.zeros(1, 3, 28, 28), QUERIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": 30}, "do not tile"),
        ({"layers": (0, 1, 2)}, "layers are four"),
        ({"layers": (0, 2, 1, 3)}, "layers are four"),
        ({"depth": 5}, "the last of them 4"),
        ({"embed_dim": 36}, "two axes"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_presets_survive_a_weights_file_and_the_small_one_is_small() -> None:
    for preset in PRESETS.values():
        packed = unpack_weights(pack_weights({}, preset))
        assert restore_config(VGGTAudioConfig, packed.config) == preset
    assert sum(parameter.numel() for parameter in VGGTAudio(SMALL).parameters()) < 35e6
