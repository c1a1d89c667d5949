"""Text in windows of tokens: which characters they cover, and what is no text for the model."""

from pathlib import Path

import numpy as np
import pytest

from service.errors import BackendUnavailable, InvalidInput, PayloadTooLarge
from service.models.embeddings import vocabulary as limits
from service.models.embeddings.vocabulary import TokenWindow, Vocabulary
from tests import tiny_embedders

FIRST, LAST = tiny_embedders.FIRST, tiny_embedders.LAST


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny_embedders.TOKENIZER)
    return path


@pytest.fixture
def vocabulary(path: Path) -> Vocabulary:
    return Vocabulary(path, tiny_embedders.TOKENIZER_SHA256, max_tokens=512, stride_tokens=448)


def windows(vocabulary: Vocabulary, text: str) -> list[TokenWindow]:
    (found,) = vocabulary.windows([text])
    return found


def test_a_short_text_is_one_window(vocabulary: Vocabulary) -> None:
    (window,) = windows(vocabulary, "  a dog barks ")
    word = tiny_embedders.WORDS.index
    assert window.ids.tolist() == [FIRST, 4 + word("a"), 4 + word("dog"), 4 + word("barks"), LAST]
    assert (window.char_start, window.char_end) == (2, 13)


@pytest.mark.parametrize("count", [510, 511, 958, 959, 2000])
def test_a_long_text_is_windows_of_512_tokens_every_448(vocabulary: Vocabulary, count: int) -> None:
    names = np.random.default_rng(0).choice(tiny_embedders.WORDS, count).tolist()
    text = " ".join(names)
    found = windows(vocabulary, text)
    starts = [0, *np.cumsum([len(name) + 1 for name in names]).tolist()]
    assert len(found) == max(1, -(-(count - 510) // 448) + 1)
    for index, window in enumerate(found):
        first, end = index * 448, min(index * 448 + 510, count)
        assert (window.char_start, window.char_end) == (starts[first], starts[end] - 1)
        assert window.ids[[0, -1]].tolist() == [FIRST, LAST]
        assert window.ids[1:-1].tolist() == [4 + tiny_embedders.WORDS.index(name) for name in names[first:end]]


def test_offsets_count_characters_and_not_bytes(vocabulary: Vocabulary) -> None:
    (window,) = windows(vocabulary, "\U0001f415 é dog")
    assert (window.char_start, window.char_end) == (0, 7)


def test_texts_keep_their_order_through_many_steps(vocabulary: Vocabulary) -> None:
    texts = ["a " * (index + 1) for index in range(200)]
    assert [len(found[0].ids) for found in vocabulary.windows(texts)] == [index + 3 for index in range(200)]


def test_nothing_to_read_is_refused_in_its_turn(vocabulary: Vocabulary) -> None:
    found = vocabulary.windows(["a dog", " \n"])
    next(found)
    with pytest.raises(InvalidInput, match="nothing"):
        next(found)


def test_too_much_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(PayloadTooLarge, match="characters"):
        vocabulary.windows(["x" * limits.MAX_CHARS, "x"])
    with pytest.raises(PayloadTooLarge, match="tokens"):
        list(vocabulary.windows(["a " * (limits.MAX_TOKENS // 4)] * 3 + ["a " * (limits.MAX_TOKENS // 4)]))


def test_ids_are_taken_as_they_are_within_the_vocabulary(vocabulary: Vocabulary) -> None:
    assert vocabulary.window([FIRST, 5, LAST]).ids.tolist() == [FIRST, 5, LAST]
    for ids in ([], [0] * 513, [vocabulary.size], [-1], [10**30]):
        with pytest.raises(InvalidInput, match="token id"):
            vocabulary.window(ids)


def test_a_missing_or_changed_file_is_a_fault_that_the_operator_can_read(path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"tokenizer\.json.*is not in this service's model repository"):
        Vocabulary(path.parent / "elsewhere" / path.name, tiny_embedders.TOKENIZER_SHA256, 512, 448)
    path.write_text(path.read_text() + " ")
    with pytest.raises(BackendUnavailable, match="not the one"):
        Vocabulary(path, tiny_embedders.TOKENIZER_SHA256, 512, 448)
