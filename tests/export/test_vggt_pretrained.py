"""Published weights by file, folder and hub id: what was loaded is told, what does not fit is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.errors import ExportError
from export.vggt_audio.model import VGGTAudio
from tests.export.test_vggt_model import TINY

VGGT = replace(TINY, num_audio_tokens=0, enable_acoustic=False)
HUB_ID = "someone/vggt-tiny"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return VGGTAudio(VGGT).state_dict()


def _hub_cache(folder: Path, filename: str) -> Path:
    """The file's place in a cache as huggingface_hub lays it out."""
    repository = folder / "models--someone--vggt-tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    return snapshot / filename


@pytest.mark.parametrize("place", ["file.safetensors", "file.pt", "model.safetensors", "model.pt", "hub"])
def test_every_source_loads_the_same_and_tells_what_is_new(
    published: dict[str, Tensor], tmp_path: Path, place: str
) -> None:
    hub = place == "hub"
    path = _hub_cache(tmp_path, "model.safetensors") if hub else tmp_path / place
    if path.suffix == ".pt":
        torch.save(published, path)
    else:
        save_file(published, path)
    source = HUB_ID if hub else tmp_path if place.startswith("model") else path
    model, report = VGGTAudio.from_pretrained_vggt(source, TINY, cache_dir=tmp_path, local_files_only=True)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in published.items())
    assert set(report.matched) == published.keys()
    assert set(report.new) == state.keys() - published.keys()
    assert report.missing == report.unused == report.unexpected == ()
    assert str(report) == f"{len(published)} matched, 0 missing, {len(report.new)} new, 0 unused, 0 unexpected"


def test_a_hub_repository_may_hold_a_pt_file_only(published: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(published, _hub_cache(tmp_path, "model.pt"))
    _, report = VGGTAudio.from_pretrained_vggt(HUB_ID, TINY, cache_dir=tmp_path, local_files_only=True)
    assert len(report.matched) == len(published)


@pytest.mark.parametrize("freeze_visual", [True, False])
def test_freezing_leaves_only_what_hears_to_training(
    published: dict[str, Tensor], tmp_path: Path, freeze_visual: bool
) -> None:
    save_file(published, tmp_path / "model.safetensors")
    model, _ = VGGTAudio.from_pretrained_vggt(tmp_path, TINY, freeze_visual=freeze_visual)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if freeze_visual:
        assert {"aggregator.audio_token", "aggregator.audio_proj.weight", "aggregator.audio_proj.bias"} < trained
        assert {name.split(".")[0] for name in trained} == {"aggregator", "acoustic_head"}
        assert not any(name in published for name in trained)
    else:
        assert trained == {name for name, _ in model.named_parameters()} - {"aggregator.patch_embed.mask_token"}
    model.train()
    answer = model(torch.rand(2, 3, 28, 28), audio_features=torch.randn(2, 6))
    answer["acoustic_properties"]["absorption"].mean().backward()
    assert model.aggregator.audio_proj is not None
    assert model.aggregator.audio_proj.weight.grad is not None


def test_without_audio_tokens_the_model_is_vggt_itself(published: dict[str, Tensor], tmp_path: Path) -> None:
    """Audio tokens take a share of every attention, however small they are."""
    save_file(published, tmp_path / "model.safetensors")
    vggt = VGGTAudio(VGGT).eval()
    vggt.load_state_dict(published)
    images = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = vggt(images)["depth"]
        without, _ = VGGTAudio.from_pretrained_vggt(tmp_path, replace(TINY, num_audio_tokens=0))
        assert torch.equal(without.eval()(images)["depth"], expected)
        with_tokens, _ = VGGTAudio.from_pretrained_vggt(tmp_path, TINY)
        assert (with_tokens.eval()(images)["depth"] - expected).abs().max() > 1e-5


def test_what_the_file_lacks_and_has_too_much_is_told(published: dict[str, Tensor], tmp_path: Path) -> None:
    state = dict(published)
    del state["camera_head.token_norm.weight"]
    save_file(state | {"teacher.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    _, report = VGGTAudio.from_pretrained_vggt(tmp_path, replace(TINY, enable_track=False))
    assert report.missing == ("camera_head.token_norm.weight",)
    assert report.unexpected == ("teacher.weight",)
    assert set(report.unused) == {name for name in published if name.startswith("track_head.")}


def test_weights_of_half_precision_are_loaded_as_they_are(published: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: tensor.bfloat16() for name, tensor in published.items()}, tmp_path / "model.safetensors")
    model, _ = VGGTAudio.from_pretrained_vggt(tmp_path, TINY)
    name = "aggregator.patch_embed.pos_embed"
    assert torch.equal(model.state_dict()[name], published[name].bfloat16().float())


def test_shapes_that_differ_are_refused_by_name(published: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(published, tmp_path / "model.safetensors")
    with pytest.raises(ExportError, match=r"pos_embed is \[1, 5, 32\], the model has \[1, 10, 32\]"):
        VGGTAudio.from_pretrained_vggt(tmp_path, replace(TINY, img_size=42))


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_files_that_are_not_weights_are_refused_and_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"aggregator.camera_token": Payload()}, tmp_path / "code.pt")
    torch.save({"aggregator": {"camera_token": torch.zeros(1)}}, tmp_path / "nested.pt")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.pt").write_bytes(b"")
    save_file({"encoder.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    messages = {
        "code.pt": "no weights that can be read",
        "nested.pt": "not a dictionary of tensors",
        "text.safetensors": "no weights that can be read",
        "empty.pt": "no weights that can be read",
        "other.safetensors": "no parameter of VGGT",
    }
    for name, message in messages.items():
        with pytest.raises(ExportError, match=message):
            VGGTAudio.from_pretrained_vggt(tmp_path / name, TINY)
    assert "code ran" not in capsys.readouterr().out


def test_sources_without_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"holds neither model\.safetensors nor model\.pt"):
        VGGTAudio.from_pretrained_vggt(tmp_path, TINY)
    with pytest.raises(ExportError, match="neither a file, nor a folder, nor an id"):
        VGGTAudio.from_pretrained_vggt(tmp_path / "absent.safetensors", TINY)
    with pytest.raises(ExportError, match="in its cache"):
        VGGTAudio.from_pretrained_vggt(HUB_ID, TINY, cache_dir=tmp_path, local_files_only=True)
