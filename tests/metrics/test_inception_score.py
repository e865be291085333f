import numpy as np
import pytest
import torch

from metrics.distances import inception_score


def test_sure_and_even_predictions_score_the_number_of_classes():
    onehot = torch.eye(8).repeat(50, 1)  # every part has every class equally often
    mean, std = inception_score(onehot)
    assert mean == pytest.approx(8, rel=1e-12) and std == pytest.approx(0, abs=1e-12)


def test_a_single_class_and_no_idea_at_all_score_1():
    assert inception_score(torch.eye(8)[:1].repeat(100, 1)) == pytest.approx((1, 0))
    assert inception_score(torch.full([100, 8], 1 / 8)) == pytest.approx((1, 0))


def test_parts_are_scored_by_themselves_in_order():
    """Two parts of one class each score 1, where all together would score 2."""
    onehot = torch.eye(2).repeat_interleave(10, dim=0)
    assert inception_score(onehot, splits=2)[0] == pytest.approx(1)
    assert inception_score(onehot, splits=1)[0] == pytest.approx(2)


def test_agrees_with_the_definition_in_numpy():
    p = torch.randn(103, 7, generator=torch.Generator().manual_seed(0)).mul(2).softmax(dim=1)
    scores = []
    for i in range(10):
        part = p[i * 103 // 10 : (i + 1) * 103 // 10].double().numpy()
        divergence = (part * (np.log(part) - np.log(part.mean(axis=0)))).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    assert inception_score(p) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-12)


def test_refuses_fewer_samples_than_parts():
    message = r"^an inception score in 10 parts needs as many samples, got 9$"
    with pytest.raises(ValueError, match=message):
        inception_score(torch.eye(9))
