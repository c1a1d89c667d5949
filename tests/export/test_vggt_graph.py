"""The room model as it is served: any views, sizes and batch, sound where it is valid, and a proof that can fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from export import to_onnx
from export.contract import read_config
from export.entries import Case
from export.errors import ExportError
from export.publish import REVIEWED
from export.to_torchscript import Runner
from export.vggt_audio.graph import AcousticMapsGraph
from export.vggt_audio.model import VGGTAudio
from export.vggt_audio.poses import decode_poses, unproject
from tests.export.conftest import CONFIGS, Exported

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def graph(exported: Exported) -> AcousticMapsGraph:
    built = exported.entries["acoustic_maps"].build(exported.weights["acoustic_maps"])
    assert isinstance(built, AcousticMapsGraph)
    return built


@pytest.fixture(scope="module")
def session(exported: Exported) -> InferenceSession:
    path = exported.repository / "acoustic_maps" / "1" / "model.onnx"
    return InferenceSession(path, providers=["CPUExecutionProvider"])


def _inputs(batch: int, views: int, height: int, width: int, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    return {
        "images": random.integers(0, 256, (batch, views, height, width, 3), np.uint8),
        "audio_features": random.normal(size=(batch, views, 256)).astype(np.float32),
        "audio_valid": random.random((batch, views)) < 0.5,
    }


def _run(session: InferenceSession, inputs: Arrays) -> Arrays:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("shape", [(1, 1, 14, 14), (1, 1, 28, 98), (2, 5, 42, 14), (3, 2, 70, 56)])
def test_any_views_and_sizes_are_answered_as_pytorch_answers(
    graph: AcousticMapsGraph, session: InferenceSession, exported: Exported, shape: tuple[int, int, int, int]
) -> None:
    """None of these were traced: one view, one patch, wide, high."""
    inputs = _inputs(*shape)
    expected = graph.answer({name: torch.from_numpy(array) for name, array in inputs.items()})
    folder = exported.repository / "acoustic_maps"
    script = Runner(folder / "1" / "model.pt", read_config(folder / "configs" / "torchscript.pbtxt"))
    for answer in (_run(session, inputs), script(inputs)):
        assert answer.keys() == expected.keys()
        for name, array in answer.items():
            np.testing.assert_allclose(array, expected[name], atol=1e-4, rtol=1e-4, err_msg=name)


def test_maps_are_those_of_the_model_on_normalised_images(graph: AcousticMapsGraph, session: InferenceSession) -> None:
    inputs = _inputs(1, 2, 28, 42)
    images = torch.from_numpy(inputs["images"]).permute(0, 1, 4, 2, 3) / 255
    features, valid = torch.from_numpy(inputs["audio_features"]), torch.from_numpy(inputs["audio_valid"])
    with torch.inference_mode():
        expected = graph.model(images, audio_features=features, audio_valid=valid)
    answer = _run(session, inputs)
    np.testing.assert_allclose(answer["depth_map"], expected["depth"], atol=1e-5)
    np.testing.assert_allclose(answer["pose_enc"], expected["pose_enc"], atol=1e-5)
    np.testing.assert_allclose(answer["impedance"], expected["acoustic_properties"]["impedance"], atol=1e-5)


def test_points_are_those_of_their_head_or_else_of_depth_and_cameras(graph: AcousticMapsGraph) -> None:
    inputs = graph.example(2, 3, seed=1)
    answer = graph.answer(inputs)
    cameras = decode_poses(answer["pose_enc"], (answer["depth_map"].shape[2], answer["depth_map"].shape[3]))
    torch.testing.assert_close(answer["world_points"], unproject(answer["depth_map"], *cameras))
    assert torch.equal(answer["world_points_conf"], answer["depth_conf"])
    with_head = AcousticMapsGraph(VGGTAudio(replace(CONFIGS["acoustic_maps"], enable_point=True)))
    points = with_head.model.point_head
    assert points is not None
    points.scratch.output_conv2[2].weight.data.zero_()
    points.scratch.output_conv2[2].bias.data.copy_(torch.log1p(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    answer = with_head.answer(inputs)
    torch.testing.assert_close(answer["world_points"], torch.tensor([1.0, 2.0, 3.0]).expand_as(answer["world_points"]))
    assert torch.allclose(answer["world_points_conf"], torch.tensor(6.0))


def test_a_view_without_sound_is_not_one_with_features_of_zero(session: InferenceSession) -> None:
    inputs = _inputs(1, 2, 28, 28)
    deaf = inputs | {"audio_valid": np.zeros((1, 2), bool)}
    nonsense = deaf | {"audio_features": np.full((1, 2, 256), np.nan, np.float32)}
    zeros = {"audio_features": np.zeros((1, 2, 256), np.float32), "audio_valid": np.ones((1, 2), bool)}
    expected = _run(session, deaf)
    for name, array in _run(session, nonsense).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert np.abs(_run(session, inputs | zeros)["depth_map"] - expected["depth_map"]).max() > 1e-6


def test_rooms_of_a_batch_do_not_see_each_other(session: InferenceSession) -> None:
    inputs = _inputs(3, 2, 42, 28)
    together = _run(session, inputs)
    alone = _run(session, {name: array[1:2] for name, array in inputs.items()})
    for name, array in alone.items():
        np.testing.assert_allclose(together[name][1:2], array, atol=1e-5, rtol=1e-4, err_msg=name)


def test_absorbed_and_reflected_energy_never_exceed_what_arrives(session: InferenceSession) -> None:
    answer = _run(session, _inputs(2, 3, 42, 42))
    assert (answer["absorption"] + answer["reflection"] <= 1).all()


def test_half_precision_is_close_and_keeps_heads_and_norms_exact(exported: Exported, graph: AcousticMapsGraph) -> None:
    half = exported.entries["acoustic_maps"].build(exported.weights["acoustic_maps"]).half()
    dtypes = {name: parameter.dtype for name, parameter in half.named_parameters()}
    halved = {name for name, dtype in dtypes.items() if dtype == torch.float16}
    assert all(name.startswith("model.aggregator.") for name in halved)
    assert not any("norm" in name or "gamma" in name or "token" in name for name in halved)
    assert "model.aggregator.global_blocks.0.attn.qkv.weight" in halved
    inputs = graph.example(2, 3, seed=1)
    case = Case(inputs, half.answer(inputs))
    assert all(measure.holds for measure in graph.measure([case], "fp16"))
    assert {tensor.dtype for tensor in case.answer.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("output", "group"), [("impedance", "materials"), ("depth_conf", "geometry"), ("pose_enc", "cameras")]
)
@pytest.mark.parametrize("wrong", [0.01, float("nan"), float("inf")])
def test_one_wrong_value_breaks_the_proof_of_its_group(
    graph: AcousticMapsGraph, output: str, group: str, wrong: float
) -> None:
    inputs = graph.example(1, 2, seed=1)
    answer = graph.answer(inputs)
    assert all(measure.holds for measure in graph.measure([Case(inputs, answer)], "fp32"))
    answer[output] = answer[output].clone()
    answer[output].view(-1)[0] += wrong * answer[output].abs().max()
    broken = [measure.name for measure in graph.measure([Case(inputs, answer)], "fp32") if not measure.holds]
    assert broken == [f"largest difference of {group}"]


@pytest.mark.parametrize(
    "change", [{"enable_camera": False}, {"enable_acoustic": False}, {"enable_depth": False}, {"num_audio_tokens": 0}]
)
def test_a_model_that_lacks_what_is_served_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match="acoustic_maps"):
        AcousticMapsGraph(VGGTAudio(replace(CONFIGS["acoustic_maps"], **change)))


def test_the_configuration_states_what_the_weights_decide(graph: AcousticMapsGraph) -> None:
    assert graph.constants == {
        "image_size": "28",
        "patch_size": "14",
        "bands_hz": "125 250 500 1000 2000 4000 8000 16000",
        "audio_feature_dim": "256",
        "metric": "true",
    }
    torchscript = read_config(REVIEWED / "acoustic_maps" / "configs" / "torchscript.pbtxt")
    assert tuple(output.name for output in torchscript.output) == graph.outputs  # it knows them by their order


def test_weights_that_a_file_cannot_hold_lie_beside_it(exported: Exported, tmp_path: Path) -> None:
    graph = exported.entries["vocoder"].build(exported.weights["vocoder"])
    path = tmp_path / "model.onnx"
    to_onnx.build(graph, graph.example(2, 3, seed=0), {"preset": "custom"}, path, large=0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < (exported.repository / "vocoder" / "1" / "model.onnx").stat().st_size / 2
    model = onnx.load(path, load_external_data=False)
    assert {prop.key: prop.value for prop in model.metadata_props} == {"preset": "custom"}
    inputs = {name: tensor.numpy() for name, tensor in graph.example(1, 9, seed=1).items()}
    beside, whole = (
        InferenceSession(file, providers=["CPUExecutionProvider"])
        for file in (path, exported.repository / "vocoder" / "1" / "model.onnx")
    )
    np.testing.assert_array_equal(beside.run(None, inputs)[0], whole.run(None, inputs)[0])
