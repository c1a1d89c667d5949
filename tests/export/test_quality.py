"""The quality table's clips, codec path and statistics, on real speech and small untrained models."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.bsq.clips import speech_clips, transcript_clips
from export.bsq.codec import Codec
from export.bsq.evaluate import load_codec
from export.bsq.model import SMALL, AudioBSQ
from export.bsq.quality import Scores, by_package, compare, examine, mean_scores, resynthesise
from export.bsq.statistics import code_use
from export.errors import ExportError
from export.mel import MelConfig
from export.metrics import stoi
from export.vocoder.model import Vocoder, VocoderConfig
from export.weights import save_weights
from tests.sounds import SAMPLE_RATE, clip

CONFIG = replace(SMALL, width=32, layers=1, heads=2, head_width=32, num_frames=128)
VOCODER_CONFIG = VocoderConfig(width=32, layers=1)
LINE = {"split": "test", "kind": "speech", "seconds": 2.5, "bandwidth_hz": 8000, "text": None, "text_kind": None}


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(AudioBSQ(CONFIG), Vocoder(VOCODER_CONFIG), MelConfig())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [LINE | {"path": f"many/{n}.flac", "package": "many", "lang": "fr"} for n in range(6)]
    lines += [LINE | {"path": "few/0.flac", "package": "few", "lang": "en", "text": "one two three four five"}]
    lines[-1]["text_kind"] = "transcript"
    for line in lines:
        path = tmp_path / str(line["path"])
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, clip(), SAMPLE_RATE)
    refused = ({"split": "train"}, {"kind": "music"}, {"seconds": 0.5}, {"bandwidth_hz": 4000})
    lines += [LINE | {"path": "none.flac", "package": "refused", "lang": "en"} | wrong for wrong in refused]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_clips_are_test_speech_spread_over_the_packages(corpus: Path) -> None:
    assert {one.package for one in speech_clips(corpus, 100)} == {"many", "few"}
    assert len(speech_clips(corpus, 100)) == 7
    assert sorted(one.package for one in speech_clips(corpus, 3)) == ["few", "many", "many"]
    assert speech_clips(corpus, 3) == speech_clips(corpus, 3)
    assert [one.text for one in transcript_clips(corpus, 9)] == ["one two three four five"]


def test_windows_are_coded_apart_and_joined_to_the_exact_length(codec: Codec) -> None:
    mel = codec.analyse(clip())
    assert mel.shape == (math.ceil(len(clip()) / 160), 128)
    windows = codec.encode(mel)
    assert [len(window) for window in windows] == [64, 64]  # 128 and 126 frames, 4 tokens each 8 frames
    whole = codec.decode(windows, len(mel))
    assert whole.shape == mel.shape
    assert torch.allclose(whole[:128], codec.decode(windows[:1], 128), atol=1e-4)
    assert codec.bits_per_second == 900


def test_griffin_lim_on_the_true_mel_is_intelligible_and_untrained_tokens_are_not(codec: Codec) -> None:
    speech = clip()
    good = resynthesise(codec, speech, coded=False, neural=False)
    bad = resynthesise(codec, speech, coded=True, neural=True)
    assert good.shape == bad.shape == speech.shape
    assert stoi(speech, good) > 0.9
    assert stoi(speech, bad) < 0.6


def test_one_clip_has_every_score(codec: Codec) -> None:
    scores = compare(codec.mel, clip(), (0.5 * clip()).astype(np.float32))
    assert 5 < scores.mel_rmse_db < 6.03  # half the level, but for what lies under -80 dB
    assert scores.stoi == pytest.approx(1)


def test_means_leave_out_clips_without_a_score(corpus: Path) -> None:
    one, other = Scores(1, 1, 1, 1, 1, 1), Scores(3, 1, 1, math.nan, 1, 1)
    assert mean_scores([one, other]) == Scores(2, 1, 1, 1, 1, 1)
    clips = sorted(speech_clips(corpus, 2), key=lambda clip: clip.package)  # "few" first
    assert by_package(clips, [one, other])["many"].mel_rmse_db == 3


def test_the_use_of_the_code_is_counted() -> None:
    spread = code_use(torch.arange(16), 4, 0.0)
    assert (spread.distinct, spread.dead_bits) == (16, 0)
    assert spread.bit_entropy == pytest.approx(4)
    stuck = code_use(torch.tensor([1, 3] * 8), 4, 0.0)  # bits 0001 and 0011: only one of four ever changes
    assert (stuck.tokens, stuck.distinct, stuck.dead_bits) == (16, 2, 3)
    assert stuck.bit_entropy == pytest.approx(1)


def test_statistics_are_of_real_tokens(codec: Codec, corpus: Path) -> None:
    use = examine(codec, speech_clips(corpus, 2))
    assert use.tokens == 2 * 128
    assert use.mel_rmse_db > 5


def test_weights_are_loaded_with_their_digests_and_others_refused(codec: Codec, tmp_path: Path) -> None:
    first, second = tmp_path / "tokenizer.safetensors", tmp_path / "vocoder.safetensors"
    save_weights(first, codec.tokenizer.state_dict(), CONFIG)
    save_weights(second, codec.vocoder.state_dict(), VOCODER_CONFIG)
    again, digests = load_codec(first, second)
    mel = codec.analyse(clip())
    assert torch.equal(again.encode(mel)[0], codec.encode(mel)[0])
    assert len(digests["tokenizer"]) == 64
    with pytest.raises(ExportError):
        load_codec(second, first)
