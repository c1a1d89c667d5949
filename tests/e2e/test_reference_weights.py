"""What a new user does, with the weights that ship: a first start builds the models, a recording comes back."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from service.app import create_app
from service.dsp.mel import MelFrontEnd, MelParameters
from service.repository import load
from service.settings import Settings
from tests.api.conftest import in_memory
from tests.bench.views import photographs
from tests.conftest import StartTriton
from tests.e2e.conftest import ROOT, Service

pytestmark = pytest.mark.weights
RECORDING = (ROOT / "tests" / "data" / "grappling-hook.flac").read_bytes()  # training never saw its package


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model_repository/ as it is in git: nothing built."""
    out = tmp_path_factory.mktemp("reviewed") / "model_repository"
    shutil.copytree(ROOT / "model_repository", out, ignore=shutil.ignore_patterns("1", ".staging*"))
    return out


@pytest.fixture(scope="module")
def first_start(reviewed: Path) -> Iterator[Service]:
    service = Service(reviewed)
    yield service
    service.close()


async def round_trip(client: httpx.AsyncClient) -> tuple[dict[str, list[list[int]]], bytes]:
    tokens = await client.post("/v1/tokenize", content=RECORDING, headers={"Content-Type": "audio/flac"})
    assert tokens.status_code == 200, tokens.text
    wav = await client.post("/v1/detokenize", content=tokens.content, headers={"Content-Type": "application/json"})
    assert wav.status_code == 200, wav.text
    return tokens.json(), wav.content


async def acoustic_maps(client: httpx.AsyncClient) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Every map, and the summary, of three photographs of a furnished room."""
    files = [("images", (f"{k}.jpg", content, "image/jpeg")) for k, content in enumerate(photographs(3))]
    arrays = await client.post("/v1/acoustic-maps", params={"format": "npz"}, files=files)
    summary = await client.post("/v1/acoustic-maps", files=files)
    assert (arrays.status_code, summary.status_code) == (200, 200), arrays.text + summary.text
    with np.load(io.BytesIO(arrays.content), allow_pickle=False) as maps:
        return dict(maps), summary.json()


async def test_the_first_start_builds_the_models_and_a_recording_comes_back(
    first_start: Service, reviewed: Path
) -> None:
    assert any("Exporting" in line for line in first_start.lines)
    async with httpx.AsyncClient(base_url=first_start.url, timeout=60) as client:
        answer, wav = await round_trip(client)
    original, rate = soundfile.read(io.BytesIO(RECORDING), dtype="float32")
    sound, _ = soundfile.read(io.BytesIO(wav), dtype="float32")
    assert (rate, len(sound), answer["num_samples"]) == (16_000, len(original), len(original))
    front_end = MelFrontEnd(MelParameters.from_config(load(reviewed)["tokenizer_encoder"].parameters))
    before, after = front_end.mel_db(original), front_end.mel_db(sound)
    error = np.sqrt(np.square(before - after).mean())
    baseline = np.sqrt(np.square(before - before.mean(axis=0)).mean())  # what says nothing but the long-term spectrum
    assert error < 7.0
    assert error < 0.6 * baseline


@pytest.mark.tritonserver
def test_the_weights_that_ship_fit_the_reviewed_configuration_and_are_small(
    first_start: Service, reviewed: Path
) -> None:
    models = sorted(path.parent.name for path in reviewed.glob("*/config.pbtxt"))
    for model in models:
        for path in (reviewed / model).rglob("*.pbtxt"):
            assert path.read_bytes() == (ROOT / "model_repository" / path.relative_to(reviewed)).read_bytes()
    built = sorted(path.relative_to(reviewed).as_posix() for path in reviewed.rglob("model.onnx"))
    assert built == [f"{model}/1/model.onnx" for model in models]
    weights = [path.stat().st_size for path in (ROOT / "export" / "weights").glob("*.safetensors")]
    assert max(weights) <= 70e6
    assert sum(weights) <= 145e6


async def test_the_real_tritonserver_gives_equal_tokens_and_the_same_sound(
    first_start: Service, reviewed: Path, tritonserver: StartTriton
) -> None:
    async with httpx.AsyncClient(base_url=first_start.url, timeout=60) as client:
        here, sound_here = await round_trip(client)
    server = tritonserver(reviewed)
    async with in_memory(create_app(Settings(port=0, triton_url=server.url))) as client:
        there, sound_there = await round_trip(client)
    assert there == here
    samples = [soundfile.read(io.BytesIO(wav), dtype="int16")[0].astype(int) for wav in (sound_here, sound_there)]
    assert np.abs(samples[0] - samples[1]).max() <= 2


async def test_photographs_of_a_room_become_maps_that_conserve_energy(first_start: Service) -> None:
    async with httpx.AsyncClient(base_url=first_start.url, timeout=60) as client:
        maps, summary = await acoustic_maps(client)
    assert maps["absorption"].shape == (3, 192, 256, 8)
    assert all(np.isfinite(values).all() for values in maps.values())
    assert (maps["absorption"] + maps["reflection"]).max() <= 1
    assert 0.5 < np.median(maps["depth_map"]) < 10  # metres, in a room of 5.2 by 4.1
    assert summary["materials"]
    assert len(summary["views"]) == 3


@pytest.mark.tritonserver
async def test_the_real_tritonserver_gives_the_same_maps(
    first_start: Service, reviewed: Path, tritonserver: StartTriton
) -> None:
    async with httpx.AsyncClient(base_url=first_start.url, timeout=60) as client:
        here, summary_here = await acoustic_maps(client)
    server = tritonserver(reviewed)
    async with in_memory(create_app(Settings(port=0, triton_url=server.url))) as client:
        there, summary_there = await acoustic_maps(client)
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=1e-3, atol=1e-3, err_msg=name)
    assert [view["index"] for view in summary_there["views"]] == [view["index"] for view in summary_here["views"]]
    assert [m["label"] for m in summary_there["materials"]] == [m["label"] for m in summary_here["materials"]]


def test_the_container_goes_through_the_command_line(first_start: Service, reviewed: Path, tmp_path: Path) -> None:
    (tmp_path / "speech.flac").write_bytes(RECORDING)
    for arguments in (["tokenize", "speech.flac", "--out", "tokens"], ["detokenize", "tokens", "--out", "audio"]):
        subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=tmp_path,
            env={"AURICLE_MODEL_REPOSITORY": str(reviewed), "PYTHONPATH": str(ROOT)},
            check=True,
            timeout=120,
        )
    container = tmp_path / "tokens" / "speech.flac.aurt"
    seconds = soundfile.info(tmp_path / "speech.flac").duration
    assert container.stat().st_size < seconds * 900 / 8 + 300
    assert soundfile.info(tmp_path / "audio" / "speech.flac.wav").duration == pytest.approx(seconds, abs=1e-4)
