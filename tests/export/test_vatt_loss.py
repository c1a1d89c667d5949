"""Contrastive losses against sums that are written out, and the memory that they look into."""

import math

import pytest
import torch

from export.vatt.bank import Bank
from export.vatt.loss import Negatives, Temperature, cosine_distance, mil_nce, shared, symmetric_nce


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_one_positive_is_cross_entropy_and_several_are_a_bag() -> None:
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    single = torch.eye(4, 6, dtype=torch.bool)
    torch.testing.assert_close(mil_nce(logits, single), torch.nn.functional.cross_entropy(logits, torch.arange(4)))
    bag = single.clone()
    bag[0, 5] = True
    expected = -math.log(float(logits[0, [0, 5]].exp().sum() / logits[0].exp().sum()))
    torch.testing.assert_close(mil_nce(logits[:1], bag[:1]), torch.tensor(expected))


def test_rows_without_a_positive_are_left_out() -> None:
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    positives = torch.eye(3, dtype=torch.bool)
    positives[1] = False
    torch.testing.assert_close(mil_nce(logits, positives), mil_nce(logits[[0, 2]], positives[[0, 2]]))
    assert float(mil_nce(logits, torch.zeros(3, 3, dtype=torch.bool))) == 0


def test_the_symmetric_loss_looks_both_ways_and_overlooks_what_says_the_same() -> None:
    audio, text = unit(3, 8).requires_grad_(), unit(3, 8, seed=1).requires_grad_()
    positives, temperature = torch.eye(3, dtype=torch.bool), Temperature()
    extra = unit(2, 8, seed=2)
    alike = torch.tensor([[True, False], [False, False], [False, False]])
    none = Negatives(extra[:0], alike[:, :0])
    loss = symmetric_nce(audio, text, positives, temperature(), none, Negatives(extra, alike))
    there = torch.cat([audio @ text.T, audio @ extra.T], dim=1) / 0.07
    there[0, 3] = -torch.inf
    target = torch.arange(3)
    expected = (
        torch.nn.functional.cross_entropy(there, target)
        + torch.nn.functional.cross_entropy((text @ audio.T) / 0.07, target)
    ) / 2
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(
        tensor.grad is not None and tensor.grad.isfinite().all() for tensor in (audio, text, temperature.logarithm)
    )


def test_what_has_a_text_in_common_is_alike_and_nothing_is_alike_to_nothing() -> None:
    bags = torch.tensor([[1, 2], [3, -1], [-1, -1]])
    others = torch.tensor([[2], [3], [-1]])
    assert shared(bags, others).tolist() == [[True, False, False], [False, True, False], [False, False, False]]


@pytest.mark.parametrize(("start", "end"), [(1e-4, 0.01), (5.0, 0.1)])
def test_the_temperature_is_kept_in_its_range_and_can_come_back(start: float, end: float) -> None:
    temperature = Temperature()
    with torch.no_grad():
        temperature.logarithm.fill_(math.log(start))
    value = temperature()
    assert value.item() == pytest.approx(end)
    value.backward()
    assert temperature.logarithm.grad is not None
    assert float(temperature.logarithm.grad) != 0


def test_a_bank_forgets_the_oldest_and_begins_empty() -> None:
    bank = Bank(4, 2)
    assert [len(part) for part in bank.contents()] == [0, 0]
    for number in range(3):
        bank.put(torch.full((2, 2), float(number)), torch.full((2, 1), number))
    vectors, numbers = bank.contents()
    assert sorted(numbers[:, 0].tolist()) == [1, 1, 2, 2]
    torch.testing.assert_close(vectors[:, 0], numbers[:, 0].float())
    Bank(0, 2).put(torch.ones(2, 2), torch.ones(2, 1).long())


def test_a_distance_is_of_directions() -> None:
    vectors = unit(3, 4)
    assert float(cosine_distance(vectors, vectors)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(vectors, -vectors)) == pytest.approx(2)
