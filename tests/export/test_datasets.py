"""Folder layouts, file formats, crops and augmentation."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.augment import mask_spectrogram
from export.datasets import Clip, Crops, audio_folder, common_voice, find_clips, librispeech, read_crop


def tone(path: Path, seconds: float, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path


def test_a_folder_finds_every_format_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b.wav", "a/c.flac", "a/d.mp3", "e.ogg"):
        tone(tmp_path / name, 0.5)
    (tmp_path / "notes.txt").write_text("not audio")
    clips = audio_folder(tmp_path)
    assert [clip.path.name for clip in clips] == ["c.flac", "d.mp3", "b.wav", "e.ogg"]
    for clip in clips:
        assert abs(len(read_crop(clip.path, 16_000, 16_000, 0.0)) - 8_000) < 2_500  # mp3 pads


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no audio"):
        audio_folder(tmp_path)


def test_librispeech_layout(tmp_path: Path) -> None:
    chapter = tmp_path / "84" / "121123"
    tone(chapter / "84-121123-0000.flac", 0.4)
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO DO YOU HEAR\n")
    assert librispeech(tmp_path) == [Clip(chapter / "84-121123-0000.flac", "GO DO YOU HEAR", "84")]
    assert find_clips(tmp_path) == librispeech(tmp_path)


def test_common_voice_layout(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "one.mp3", 0.4)
    (tmp_path / "train.tsv").write_text('client_id\tpath\tsentence\nabc\tone.mp3\tSay "hello"\n')
    assert common_voice(tmp_path) == [Clip(tmp_path / "clips" / "one.mp3", 'Say "hello"', "abc")]
    assert find_clips(tmp_path) == common_voice(tmp_path)


def test_crops_resample_mix_down_and_keep_the_pitch(tmp_path: Path) -> None:
    path = tone(tmp_path / "stereo.wav", 2.0, rate=44_100, channels=2)
    samples = read_crop(path, 16_000, 16_000, 0.5)
    assert samples.shape == (16_000,)
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_crops_join_short_clips_and_never_clip(tmp_path: Path) -> None:
    clips = [Clip(tone(tmp_path / f"{i}.wav", 0.3 + i / 10)) for i in range(4)]
    crops = list(itertools.islice(Crops(clips, 8_000, 16_000, seed=1), 6))
    assert all(crop.shape == (8_000,) and crop.abs().max() <= 1.0 for crop in crops)
    levels = {round(crop.abs().max().item(), 2) for crop in crops}
    assert len(levels) > 1  # the level varies
    again = list(itertools.islice(Crops(clips, 8_000, 16_000, seed=1), 6))
    assert all(torch.equal(a, b) for a, b in zip(crops, again, strict=True))


def test_spec_augment_masks_a_copy_with_silence() -> None:
    torch.manual_seed(0)
    mel = torch.rand(4, 100, 40)
    masked = mask_spectrogram(mel, probability=1.0)
    hidden = masked == -1
    assert not (mel == -1).any()
    assert 0 < hidden.float().mean() < 0.2
    assert torch.equal(masked[~hidden], mel[~hidden])
    assert torch.equal(mask_spectrogram(mel, probability=0.0), mel)
