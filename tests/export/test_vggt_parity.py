"""Numbers of the published VGGT and VGGT-Audio, made with small random weights; and VGGT-1B's list of parameters."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from export.vggt_audio.dpt_head import activate, position_embedding
from export.vggt_audio.model import VGGTAudio, VGGTAudioConfig
from export.vggt_audio.poses import (
    decode_poses,
    encode_poses,
    invert_poses,
    matrices_to_quaternions,
    quaternions_to_matrices,
    unproject,
)
from export.vggt_audio.rope import grid_positions, rotate, rotation
from export.vggt_audio.tracker import (
    correlate,
    feature_pyramid,
    flow_embedding,
    position_table,
    sample,
    sample_points,
)
from export.vggt_audio.vit import resize_grid

DATA = Path(__file__).parent / "data"
MODELS = load_file(DATA / "vggt_reference.safetensors")
FUNCTIONS = load_file(DATA / "vggt_functions.safetensors")
CPU = torch.device("cpu")

# Of the largest difference to the standard deviation: float32 alone gives 1e-5, the tanh form of GELU 4e-4.
CLOSE = 2e-4
# The tracker feeds sin(1000 x) of its own flow back to itself, so rounding grows with each iteration.
TRACK_CLOSE = {"track": 1e-3, "vis": 3e-2, "conf": 3e-2}

VGGT = VGGTAudioConfig(
    img_size=70,
    embed_dim=64,
    vit_depth=3,
    vit_heads=2,
    depth=4,
    num_heads=2,
    layers=(0, 1, 2, 3),
    camera_depth=2,
    camera_heads=4,
    dpt_features=16,
    dpt_out_channels=(16, 24, 32, 32),
    enable_acoustic=False,
    num_audio_tokens=0,
    track_features=16,
    track_hidden=48,
    track_depth=2,
    track_levels=3,
    track_radius=3,
)
AUDIO = VGGTAudioConfig(
    img_size=70,
    embed_dim=64,
    vit_depth=3,
    vit_heads=2,
    depth=4,
    num_heads=2,
    layers=(0, 1, 2, 3),
    enable_camera=False,
    enable_depth=False,
    enable_point=False,
    enable_track=False,
    acoustic_features=16,
    acoustic_out_channels=(16, 16, 24, 24),
    audio_feature_dim=20,
    reflection_mode="sigmoid",
)


@pytest.fixture(scope="module", autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def vggt() -> VGGTAudio:
    return _model(VGGT, "vggt.state.")


@pytest.fixture(scope="module")
def vggt_audio() -> VGGTAudio:
    return _model(AUDIO, "audio.state.")


def _model(config: VGGTAudioConfig, prefix: str) -> VGGTAudio:
    model = VGGTAudio(config).eval()
    model.load_state_dict({k.removeprefix(prefix): v for k, v in MODELS.items() if k.startswith(prefix)})
    return model


def error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.std())


@pytest.mark.parametrize("case", ["", "square."])
def test_every_head_gives_the_published_numbers_without_audio_tokens(vggt: VGGTAudio, case: str) -> None:
    answer = vggt(MODELS[f"vggt.{case}input.images"], MODELS[f"vggt.{case}input.query_points"])
    for name in ("pose_enc", "depth", "depth_conf", "world_points", "world_points_conf"):
        assert error(answer[name], MODELS[f"vggt.{case}output.{name}"]) < CLOSE, name
    for name, limit in TRACK_CLOSE.items():  # one frame has no flow
        assert error(answer[name], MODELS[f"vggt.{case}output.{name}"]) < (CLOSE if case else limit), name


def test_every_refinement_of_cameras_and_tracks_is_the_published_one(vggt: VGGTAudio) -> None:
    answer = vggt(MODELS["vggt.input.images"], MODELS["vggt.input.query_points"])
    for iteration in range(4):
        encoding, track = answer["pose_enc_list"][iteration], answer["track_list"][iteration]
        assert error(encoding, MODELS[f"vggt.output.pose_enc_list.{iteration}"]) < CLOSE
        limit = TRACK_CLOSE["track"] if iteration else 1e-5
        assert error(track, MODELS[f"vggt.output.track_list.{iteration}"]) < limit


def test_tokens_are_the_published_ones(vggt: VGGTAudio) -> None:
    images = MODELS["vggt.input.images"]
    tokens, patch_start = vggt.aggregator(images)
    assert patch_start == 5
    for layer, layer_tokens in enumerate(tokens):
        assert error(layer_tokens, MODELS[f"vggt.inter.agg_tokens.{layer}"]) < CLOSE
    assert vggt.track_head is not None
    features = vggt.track_head.feature_extractor.features(tokens, patch_start, (56, 84))
    assert error(features, MODELS["vggt.inter.track_features"]) < CLOSE
    normalised = (images[0] - vggt.aggregator._resnet_mean[0]) / vggt.aggregator._resnet_std[0]
    assert error(vggt.aggregator.patch_embed(normalised), MODELS["vggt.inter.patch_tokens"]) < CLOSE


def test_tokens_with_sound_are_the_published_ones(vggt_audio: VGGTAudio) -> None:
    tokens, patch_start = vggt_audio.aggregator(MODELS["audio.input.images"], MODELS["audio.input.audio_features"])
    assert patch_start == 7
    for layer, layer_tokens in enumerate(tokens):
        assert error(layer_tokens, MODELS[f"audio.inter.agg_tokens.{layer}"]) < CLOSE


@pytest.mark.parametrize("case", ["audio", "noaudio"])
def test_materials_are_the_published_ones_with_and_without_sound(vggt_audio: VGGTAudio, case: str) -> None:
    features = MODELS["audio.input.audio_features"] if case == "audio" else None
    answer = vggt_audio(MODELS["audio.input.images"], audio_features=features)
    assert error(answer["acoustic_conf"], MODELS[f"audio.output.{case}.acoustic_conf"]) < CLOSE
    if case == "noaudio":
        return
    absorption, reflection, scattering, impedance = MODELS["audio.output.audio.acoustic_raw"].split([8, 1, 1, 2], -1)
    expected = {
        "absorption": absorption.sigmoid(),
        "reflection": reflection.sigmoid(),
        "scattering": scattering.sigmoid(),
        "impedance": impedance,
    }
    for name, values in expected.items():
        assert error(answer["acoustic_properties"][name][:, :, ::2, ::2], values) < CLOSE, name


def test_the_full_size_model_has_the_parameters_of_vggt_1b_and_those_of_audio() -> None:
    with torch.device("meta"):
        model = VGGTAudio(VGGTAudioConfig())
    state = {name: [*tensor.shape] for name, tensor in model.state_dict().items()}
    published = json.loads(gzip.decompress((DATA / "vggt_1b_keys.json.gz").read_bytes()))
    assert published.items() <= state.items()
    new = state.keys() - published.keys()
    heard = {"aggregator.audio_token", "aggregator.audio_proj.weight", "aggregator.audio_proj.bias"}
    assert {name for name in new if not name.startswith("acoustic_head.")} == heard
    assert state["aggregator.audio_token"] == [1, 2, 2, 1024]
    assert (len(published), len(state)) == (1797, 1863)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_289_983_993
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == [
        "aggregator.patch_embed.mask_token"
    ]


@pytest.mark.parametrize("size", [(4, 6), (5, 5), (11, 3), (2, 40), (1, 1)])
def test_position_embeddings_are_resized_as_torch_resizes_with_antialiasing(size: tuple[int, int]) -> None:
    grid = torch.randn(1, 5, 5, 8, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(grid.permute(0, 3, 1, 2), size, mode="bicubic", antialias=True, align_corners=False)
    torch.testing.assert_close(resize_grid(grid, *size), expected.permute(0, 2, 3, 1), atol=1e-5, rtol=0)


def test_rotations_are_the_published_ones() -> None:
    positions, tokens = FUNCTIONS["rope2d.positions"][0], FUNCTIONS["rope2d.tokens"]
    assert torch.equal(positions, grid_positions(3, 4, 5, CPU))
    assert error(rotate(tokens, rotation(positions, 16, base=100.0)), FUNCTIONS["rope2d.out"]) < 1e-6


def test_position_embeddings_of_dense_maps_are_the_published_ones() -> None:
    expected = FUNCTIONS["uv_embed.embed"].permute(2, 0, 1)
    assert error(position_embedding(torch.zeros(24, 4, 7)), expected) < 1e-6


def test_activations_are_the_published_ones() -> None:
    for activation in ("exp", "inv_log", "linear"):
        values, confidence = activate(FUNCTIONS["activate_head.in"], activation, "expp1")
        assert error(values, FUNCTIONS[f"activate_head.{activation}.pred"]) < 1e-6
        assert error(confidence, FUNCTIONS["activate_head.conf_expp1.conf"]) < 1e-6
    _, confidence = activate(FUNCTIONS["activate_head.in"], "linear", "sigmoid")
    assert error(confidence, FUNCTIONS["activate_head.conf_sigmoid.conf"]) < 1e-6


def test_cameras_are_encoded_and_decoded_as_published() -> None:
    assert error(quaternions_to_matrices(FUNCTIONS["quat.quat"]), FUNCTIONS["quat.mat"]) < 1e-6
    assert error(matrices_to_quaternions(FUNCTIONS["quat.mat"]), FUNCTIONS["quat.back"]) < 1e-6
    extrinsics, intrinsics = FUNCTIONS["pose_encoding.extrinsics"], FUNCTIONS["pose_encoding.intrinsics"]
    encoding = FUNCTIONS["pose_encoding.enc"]
    assert error(encode_poses(extrinsics, intrinsics, (56, 84)), encoding) < 1e-6
    decoded, lenses = decode_poses(encoding, (56, 84))
    assert error(decoded, FUNCTIONS["pose_encoding.extr_back"]) < 1e-6
    assert error(lenses, FUNCTIONS["pose_encoding.intr_back"]) < 1e-6
    assert error(invert_poses(FUNCTIONS["inverse_se3.inp"]), FUNCTIONS["inverse_se3.out"][:, :3]) < 1e-6
    points = unproject(FUNCTIONS["unproject.depth"], extrinsics[0], intrinsics[0])
    assert error(points, FUNCTIONS["unproject.out"].float()) < 1e-6


def test_the_parts_of_the_tracker_are_the_published_ones() -> None:
    f = FUNCTIONS
    assert error(position_table(28, 5, 7, CPU), f["sincos2d_10000.out"]) < 1e-6
    assert error(flow_embedding(f["flow_embedding.xy"], 8), f["flow_embedding.out"]) < 1e-6
    maps, coordinates = f["bilinear_sampler.inp"], f["bilinear_sampler.coords"]
    for padding in ("zeros", "border"):
        assert error(sample(maps, coordinates, padding), f[f"bilinear_sampler.{padding}"]) < 1e-5
    points = sample_points(f["sample_features4d.inp"], f["sample_features4d.coords"])
    assert error(points, f["sample_features4d.out"]) < 1e-5
    pyramid = feature_pyramid(f["corr_block.fmaps"], 3)
    seen = correlate(pyramid, f["corr_block.targets"], f["corr_block.coords"], radius=2)
    assert error(seen, f["corr_block.out"]) < 1e-5
