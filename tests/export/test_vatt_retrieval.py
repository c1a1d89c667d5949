"""What the table of retrieval is made of, on answers that are known."""

from pathlib import Path

import numpy as np
import pytest

from export.vatt.baselines import keyword_scores, mel_statistics, nearness
from export.vatt.held_out import pools, spread
from export.vatt.pairs import Pair
from export.vatt.retrieval import Retrieval, agreement, chance_agreement, places
from tests.export.test_vatt_data import tone


def test_places_are_of_the_best_true_item_and_ties_are_broken_by_chance() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    truth = np.array([[True, False, True], [True, False, False], [False, True, False], [False, False, False]])
    better, level = places(scores, truth)
    assert (better.tolist(), level.tolist()) == ([0, 2, 0], [0, 0, 2])
    found = Retrieval.of(scores, truth)
    assert found.recall == pytest.approx(((1 + 0 + 1 / 3) / 3, 1.0, 1.0))
    assert found.median_rank == 2.0


def test_recall_and_chance() -> None:
    truth = np.eye(20, dtype=bool)
    perfect = Retrieval.of(truth.astype(float), truth)
    assert (perfect.recall, perfect.median_rank) == ((1.0, 1.0, 1.0), 1.0)
    chance = Retrieval.chance(truth)
    assert chance.recall == pytest.approx((0.05, 0.25, 0.5))
    assert chance.median_rank == 10.5
    rng = np.random.default_rng(0)
    many = np.mean([Retrieval.of(rng.random((20, 20)), truth).recall for _ in range(300)], axis=0)
    assert many == pytest.approx(chance.recall, abs=0.03)
    several = truth.copy()
    several[:, 0] = True
    assert Retrieval.chance(several).recall[0] == pytest.approx((19 * 2 / 20 + 1 / 20) / 20)


def test_a_neighbour_is_another_of_the_same_class() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.5, 0.5]])
    classes = np.array([0, 0, 1, 1, 2])  # the last has nobody
    assert agreement(vectors @ vectors.T, classes) == 1.0
    assert agreement(-vectors @ vectors.T, classes) == 0.0
    assert chance_agreement(classes) == 0.25


def test_keywords_find_what_was_said_and_rare_ones_count_more() -> None:
    scores = keyword_scores(["The LAVA!", "nothing of it"], ["cross the lava", "the the hook", ""])
    assert scores[0].argmax() == 0
    assert scores[0, 0] > scores[0, 1] > scores[0, 2] == 0
    assert not scores[1].any()


def test_mel_statistics_tell_pitches_apart(tmp_path: Path) -> None:
    pairs = [
        Pair(tone(tmp_path / f"{n}.wav", 0.4, hz), 0.4, ("a tone",), "test") for n, hz in enumerate((300, 305, 3000))
    ]
    near = nearness(mel_statistics(pairs), mel_statistics(pairs))
    assert near.shape == (3, 3)
    assert near[0, 1] > near[0, 2]


def test_pools_are_by_what_is_searched_for_and_spread_over_packages() -> None:
    def pair(name: str, text: str, kind: str, lang: str, package: str) -> Pair:
        return Pair(Path(name), 1.0, (text,), "test", kind, lang, package)

    pairs = [pair(f"{n}.flac", "What is this?", "speech", "en", "abc"[n % 3]) for n in range(9)]
    pairs += [pair("x", "Wat is dit?", "speech", "nl", "a"), pair("y", "Waar is dat?", "speech", "nl", "a")]
    pairs += [
        pair("d", "door", "effect", "", "a"),
        pair("e", "Door", "effect", "", "b"),
        pair("w", "one", "speech", "en", "a"),
    ]
    found = {pool.name: pool for pool in pools(pairs, 6)}
    assert list(found) == ["English sentences", "sentences in other languages", "sounds by name"]
    assert sorted(one.package for one in found["English sentences"].pairs) == [*"aabbcc"]
    assert found["sounds by name"].texts == ["door"]
    assert found["sounds by name"].truth.tolist() == [[True, True]]
    assert found["sentences in other languages"].classes.tolist() == [0, 1]
    assert spread(pairs, 3) == spread(pairs[::-1], 3)
