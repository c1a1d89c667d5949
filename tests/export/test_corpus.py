"""The corpus command rebuilds recordings from Debian packages that the test makes itself."""

import json
import struct
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from export.corpus.archives import open_recording
from export.corpus.audio import SAMPLE_RATE, decode
from export.corpus.build import build
from export.corpus.manifest import Entry, read_manifest
from export.corpus.packages import PackageError, unpack, unpacked

ENTRY = Entry("sounds", "1.0", "GPL-2+", "train", "speech", "usr/share/hello.ogg", 1.0, 8000, text="hello", lang="en")


def tone(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def encode_g722(path: Path, samples: np.ndarray) -> None:
    with av.open(path, "w", format="g722") as container:
        stream = container.add_stream("g722", rate=SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def loudest_hz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "packages" / "sounds"
    share = root / "usr/share"
    share.mkdir(parents=True)
    soundfile.write(share / "hello.ogg", np.stack([tone(1, 44_100)] * 2, axis=1), 44_100)
    soundfile.write(share / "music.flac", tone(70, 16_000), 16_000)
    encode_g722(share / "prompt.g722", tone(1, 16_000, 3000))
    with zipfile.ZipFile(share / "data.pk3", "w") as archive:
        archive.write(share / "hello.ogg", "sound/bang.ogg")
    speech = (share / "hello.ogg").read_bytes()
    table = struct.pack(">12scII", b"HELLO1.SB", b"0", 13 + 2 + 21, len(speech))
    (share / "queen.1c").write_bytes(b"QTBL".ljust(13, b"\0") + struct.pack(">H", 1) + table + speech)
    (share / "broken.ogg").write_bytes(b"not a sound")
    return root


def rebuild(entries: Iterable[Entry], package: Path, out: Path) -> list[dict[str, object]]:
    list(build(entries, {"sounds": package}, out, workers=1))
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("path", ["hello.ogg", "data.pk3!/sound/bang.ogg", "queen.1c!/HELLO1.SB"])
def test_recordings_in_files_and_in_archives_become_16_khz_mono(package: Path, path: str) -> None:
    with open_recording(package / "usr/share", path) as file:
        samples = decode(file, path)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=160)  # FFmpeg drops the last Vorbis block
    assert loudest_hz(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


def test_telephone_formats_without_a_header_are_known_by_their_name(package: Path) -> None:
    with open_recording(package, "usr/share/prompt.g722") as file:
        assert loudest_hz(decode(file, "prompt.g722")) == pytest.approx(3000, abs=5)


def test_a_missing_member_is_a_missing_file(package: Path) -> None:
    for path in ("data.pk3!/none.ogg", "queen.1c!/NONE.SB", "none.ogg"):
        with pytest.raises(FileNotFoundError):
            open_recording(package / "usr/share", path)


def test_the_corpus_holds_the_recordings_their_words_and_their_licence(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    [line] = rebuild([ENTRY], package, out)
    assert line["text"] == "hello"
    assert line["licence"] == "GPL-2+"
    assert line["seconds"] == pytest.approx(1.0, abs=0.01)
    assert soundfile.info(out / str(line["path"])).samplerate == SAMPLE_RATE
    assert str(line["path"]).startswith("train/speech/sounds/")
    assert (out / ".complete").exists()


def test_music_is_cut_to_its_first_minute(package: Path, tmp_path: Path) -> None:
    music = replace(ENTRY, kind="music", path="usr/share/music.flac", seconds=70.0)
    [line] = rebuild([music], package, tmp_path / "corpus")
    assert line["seconds"] == 60.0


def test_a_broken_recording_is_left_out_and_named(
    package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(ENTRY, path="usr/share/broken.ogg")
    absent = replace(ENTRY, path="usr/share/absent.ogg")
    [line] = rebuild([broken, absent, ENTRY], package, tmp_path / "corpus")
    assert line["path"] == ENTRY.output_path
    assert "broken.ogg" in caplog.text
    assert "absent.ogg" in caplog.text


def test_an_interrupted_build_goes_on_where_it_was(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    rebuild([ENTRY], package, out)
    written = (out / ENTRY.output_path).stat().st_mtime_ns
    with (out / "metadata.jsonl").open("a") as metadata:
        metadata.write('{"path": "train/spee')
    bang = replace(ENTRY, path="usr/share/data.pk3!/sound/bang.ogg")
    lines = rebuild([ENTRY, bang], package, out)
    assert [line["path"] for line in lines] == [ENTRY.output_path, bang.output_path]
    assert (out / ENTRY.output_path).stat().st_mtime_ns == written


@pytest.fixture
def deb(package: Path, tmp_path: Path) -> Path:
    control = package / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: sounds\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: sounds\n"
    )
    path = tmp_path / "sounds_1.0_all.deb"
    subprocess.run(["dpkg-deb", "--build", "-Znone", str(package), str(path)], check=True, capture_output=True)
    return path


def test_a_package_is_unpacked_whole_and_not_installed(deb: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/sounds"
    folder.parent.mkdir()
    unpack(deb, folder)
    assert (folder / "usr/share/hello.ogg").exists()
    assert unpacked("sounds", "1.0", folder.parent) == folder


def test_a_package_that_nobody_offers_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no-such-package"):
        unpacked("no-such-package", "1.0", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_is_defensible() -> None:
    entries = list(read_manifest())
    train = [entry for entry in entries if entry.split == "train"]
    assert len({entry.output_path for entry in entries}) == len(entries)
    assert not {entry.licence for entry in train} & {"freeware", ""}
    assert all(entry.bandwidth_hz >= 6000 for entry in train if entry.kind == "speech")
    speakers = {(entry.package, entry.speaker) for entry in train if entry.speaker}
    assert not speakers & {(entry.package, entry.speaker) for entry in entries if entry.split == "test"}
