"""`auricle tokenize` and `detokenize`: on files and folders, resumed, and with files that fail."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from service.models.tokenizer import container
from tests import sounds
from tests.e2e.conftest import auricle


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.flac").write_bytes(sounds.encoded(sounds.clip(), "flac"))
    (folder / "deep" / "two.mp3").write_bytes(sounds.encoded(sounds.clip("vm-deleted"), "mp3"))
    (folder / "notes.txt").write_text("no audio, and not looked at")
    return folder


def test_a_folder_becomes_containers_and_audio_again(repository: Path, recordings: Path, tmp_path: Path) -> None:
    result = auricle(repository, "tokenize", recordings, "--out", tmp_path / "tokens")
    assert result.returncode == 0, result.stderr
    assert "2 done, 0 already there, 0 failed" in result.stderr
    packed = (tmp_path / "tokens" / "one.flac.aurt").read_bytes()
    assert (tmp_path / "tokens" / "deep" / "two.mp3.aurt").exists()
    tokens = container.unpack(packed)

    result = auricle(repository, "detokenize", tmp_path / "tokens", "--out", tmp_path / "audio", "--format", "flac")
    assert result.returncode == 0, result.stderr
    samples, rate = soundfile.read(tmp_path / "audio" / "one.flac.flac")
    assert (rate, len(samples)) == (16000, tokens.num_samples)
    assert np.abs(samples).max() > 0


def test_what_is_done_is_skipped_and_what_fails_stops_nothing(
    repository: Path, recordings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tokens"
    assert auricle(repository, "tokenize", recordings / "one.flac", "--out", out).returncode == 0
    before = (out / "one.flac.aurt").stat().st_mtime_ns
    (recordings / "broken.wav").write_bytes(b"RIFF and nothing more")

    result = auricle(repository, "tokenize", recordings, "--out", out)
    assert result.returncode == 1
    assert "1 done, 1 already there, 1 failed" in result.stderr
    assert "broken.wav" in result.stderr
    assert (out / "one.flac.aurt").stat().st_mtime_ns == before
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["one.flac.aurt", "two.mp3.aurt"]

    (recordings / "broken.wav").write_bytes(sounds.encoded(sounds.clip(), "wav"))
    (out / "one.flac.aurt").write_text("what is there, but is no container of these weights")
    result = auricle(repository, "tokenize", recordings, "--out", out)
    assert result.returncode == 0
    assert "2 done, 1 already there, 0 failed" in result.stderr
    before = (out / "one.flac.aurt").stat().st_mtime_ns

    assert auricle(repository, "tokenize", recordings, "--out", out, "--force").returncode == 0
    assert (out / "one.flac.aurt").stat().st_mtime_ns != before


def test_both_channels_survive(repository: Path, tmp_path: Path) -> None:
    stereo = np.stack([sounds.clip()[:16000], np.zeros(16000, np.float32)])
    (tmp_path / "stereo.wav").write_bytes(sounds.encoded(stereo, "wav", layout="stereo"))
    result = auricle(repository, "tokenize", tmp_path / "stereo.wav", "--out", tmp_path, "--channel", "each")
    assert result.returncode == 0, result.stderr
    result = auricle(repository, "detokenize", tmp_path / "stereo.wav.aurt", "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    wav = io.BytesIO((tmp_path / "stereo.wav.wav").read_bytes())
    assert soundfile.read(wav)[0].shape == (16000, 2)


def test_wrong_usage_exits_with_2(repository: Path, recordings: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert auricle(repository, "tokenize", tmp_path / "missing.wav").returncode == 2
    assert auricle(repository, "tokenize", empty, "--out", tmp_path).returncode == 2
    assert auricle(repository, "tokenize", recordings, "--channel", "middle").returncode == 2
    assert auricle(repository, "tokenize").returncode == 2
    twice = auricle(repository, "tokenize", recordings / "one.flac", recordings, "--out", tmp_path / "tokens")
    assert twice.returncode == 0, twice.stderr  # the same file named twice is one job


def test_a_container_of_another_model_is_reported(repository: Path, recordings: Path, tmp_path: Path) -> None:
    assert auricle(repository, "tokenize", recordings / "one.flac", "--out", tmp_path).returncode == 0
    packed = (tmp_path / "one.flac.aurt").read_bytes()
    (tmp_path / "damaged.aurt").write_bytes(packed[:-1])
    result = auricle(repository, "detokenize", tmp_path / "damaged.aurt", "--out", tmp_path)
    assert result.returncode == 1
    assert "damaged.aurt" in result.stderr
    assert not (tmp_path / "damaged.wav").exists()


def test_help_teaches_every_command(repository: Path) -> None:
    result = auricle(repository, "--help")
    assert result.returncode == 0
    for command in ("serve", "tokenize", "detokenize"):
        assert command in result.stdout
        page = auricle(repository, command, "--help")
        assert page.returncode == 0
        assert f"auricle {command}" in page.stdout  # an example
