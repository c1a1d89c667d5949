"""Recordings, what is true of them, and the batches that they are drawn into."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.corpus.manifest import Entry
from export.vatt.config import AudioConfig
from export.vatt.dataset import AudioTextBatches, Texts, stack
from export.vatt.pairs import Pair, read_pairs, texts_of, write_pairs
from export.vatt.tokenizer import PATH, digest, load_tokenizer, pad, tokenize

LANGUAGES_AND_SECONDS = (("en", 0.5), ("de", 0.5), ("en", 60.0))
AUDIO = AudioConfig(width=32, layers=1, heads=1, tokens_a_piece=4, window_samples=32_768)
STAMPS, PROMPTS = "usr/share/tuxpaint/stamps/animals", "usr/share/asterisk/sounds"


def entry(path: str, text: str | None, **other: str) -> Entry:
    about = {
        "package": "tuxpaint-stamps-default",
        "kind": "speech",
        "text_kind": "transcript",
        "split": "train",
    } | other
    return Entry(version="1", licence="GPL-2+", path=path, seconds=1.0, bandwidth_hz=8000, text=text, **about)  # type: ignore[arg-type]


def tone(path: Path, seconds: float, hz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 16_000)) / 16_000), 16_000)
    return path


def test_a_recording_in_another_language_is_known_by_what_it_means() -> None:
    english = {"animals/frog": "A frog."}
    assert texts_of(entry(f"{STAMPS}/frog_desc_ru.ogg", "Жаба.", lang="ru"), english) == ["Жаба.", "A frog."]
    assert texts_of(entry(f"{STAMPS}/frog_desc.ogg", "A frog.", lang="en"), english) == ["A frog."]
    assert texts_of(entry(f"{STAMPS}/frog.ogg", "A frog.", kind="effect", text_kind="caption"), english) == ["A frog."]
    assert texts_of(entry("a/Song_01.ogg", "Song_01", kind="music", text_kind="title"), {}) == ["Song", "music"]
    assert texts_of(entry("a/b.ogg", "b", package="klettres-data"), {}) == []  # a letter


def test_pairs_of_a_corpus_are_written_and_read_by_split(tmp_path: Path) -> None:
    package = "asterisk-core-sounds-es-g722"
    entries = [
        entry(f"{PROMPTS}/es_MX/digits/hi.g722", "Hola.", package=package, lang="es"),
        entry(
            f"{PROMPTS}/en_US/digits/hi.g722", "Hello.", package="asterisk-core-sounds-en-g722", lang="en", split="dev"
        ),
        entry("x.ogg", None, package="p"),
    ]
    lines = [
        {"path": one.output_path, "seconds": 1.0, "split": one.split, "kind": "speech", "lang": one.lang}
        | {"package": one.package, "speaker": None}
        for one in entries
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert write_pairs(tmp_path, entries) == 2
    (pair,) = read_pairs(tmp_path, "train")
    assert pair.texts == ("Hola.", "Hello.")
    assert pair.path == tmp_path / entries[0].output_path
    assert [one.lang for one in read_pairs(tmp_path / "pairs.jsonl", "dev")] == ["en"]
    with pytest.raises(ValueError, match="no recording with a text of the split test"):
        read_pairs(tmp_path, "test")


def test_lines_of_ones_own_need_a_path_and_a_text(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 0.5)
    manifest = tmp_path / "mine.jsonl"
    manifest.write_text('{"path": "a.wav", "text": "a tone"}\n{"path": "a.wav", "text": null}\n')
    assert read_pairs(manifest, "train") == [Pair(tmp_path / "a.wav", 0.5, ("a tone",), "train")]
    for line in ('{"text": "x"}', "no json", '{"path": "absent.wav", "text": "x"}', "[]"):
        manifest.write_text(f'{{"path": "a.wav", "text": "a tone"}}\n{line}\n')
        with pytest.raises(ValueError, match="line 2"):
            read_pairs(manifest, "train")
    with pytest.raises(FileNotFoundError):
        read_pairs(tmp_path / "nowhere", "train")


def test_the_vocabulary_neither_pads_nor_cuts_and_is_small() -> None:
    tokenizer = load_tokenizer()
    assert PATH.stat().st_size < 1 << 20
    assert len(digest(PATH.read_text())) == 64
    assert tokenizer.get_vocab_size() == 29_528
    assert tokenize(tokenizer, ["A dog barks."], 512) == [[2, 43, 2905, 10292, 1021, 18, 3]]
    (long,) = tokenize(tokenizer, ["dog " * 600], 512)
    assert (len(long), long[0], long[-1]) == (512, 2, 3)
    ids, mask = pad([[1, 2, 3], [4]])
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_texts_are_known_by_their_word_pieces() -> None:
    def pair(*texts: str) -> Pair:
        return Pair(Path("a"), 1.0, texts, "train")

    texts = Texts([pair("A Frog"), pair("a  frog", "Жаба"), pair("ㄅ")], load_tokenizer(), 512)
    assert texts.bags == [[0], [0, 1], []]  # what no word piece writes is no text
    assert len(texts.rows) == 2


def test_what_is_spoken_is_known_of_english_that_a_window_holds(tmp_path: Path) -> None:
    path = tone(tmp_path / "a.wav", 0.5)
    speech = [Pair(path, seconds, ("A frog.",), "train", "speech", lang) for lang, seconds in LANGUAGES_AND_SECONDS]
    texts = Texts(speech, load_tokenizer(), 16)
    (row,) = texts.rows
    assert texts.said == [row[1:-1], (), row[1:-1]]
    dataset = AudioTextBatches(speech, texts, AUDIO, size=3, drawn=1, views=1, seed="0")
    assert [item.said for item in dataset.items] == [row[1:-1], (), ()]
    said = next(iter(dataset))["said"]
    assert sorted(said.tolist()) == sorted([[*row[1:-1]], [0] * len(row[1:-1]), [0] * len(row[1:-1])])


def test_batches_hold_recordings_alike_in_length_with_their_texts(tmp_path: Path) -> None:
    pairs = [
        Pair(tone(tmp_path / f"{n}.wav", 0.5 + 0.1 * n, 200 + 50 * n), 0.5 + 0.1 * n, (f"tone {n}", "a tone"), "train")
        for n in range(8)
    ]
    texts = Texts(pairs, load_tokenizer(), 16)
    dataset = AudioTextBatches(pairs, texts, AUDIO, size=2, drawn=2, views=2, seed="0")
    batches = list(islice(dataset, 4))
    for batch in batches:
        assert batch["waveform"].shape[1] % AUDIO.step_samples == 0
        assert batch["waveform"].shape[1] < int(batch["valid_samples"].max()) + AUDIO.step_samples
        assert batch["said"].shape == (2, 0)  # no speech
        assert batch["input_ids"].shape == batch["attention_mask"].shape
        for row in range(2):
            drawn = batch["text"][2 * row : 2 * row + 2].tolist()
            assert set(drawn) == set(batch["bag"][row].tolist())
        assert not torch.equal(batch["waveform"][0, :4000], batch["other_waveform"][0, :4000])
        shortest, longest = batch["valid_samples"].aminmax()
        assert longest < 1.5 * shortest  # neighbours among lengths of 0.5 to 1.2 s, at speeds of 0.9 to 1.1
    again = next(iter(AudioTextBatches(pairs, texts, AUDIO, size=2, drawn=2, views=2, seed="0")))
    assert torch.equal(again["waveform"], batches[0]["waveform"])
    with pytest.raises(ValueError, match="no batch of 9"):
        AudioTextBatches(pairs, texts, AUDIO, size=9, drawn=1, views=1, seed="0")


def test_stacked_waveforms_end_in_zeros() -> None:
    stacked, lengths = stack([np.ones(5, np.float32), np.ones(0, np.float32)], 4)
    assert stacked.tolist() == [[1] * 5 + [0] * 3, [0] * 8]
    assert lengths.tolist() == [5, 1]
