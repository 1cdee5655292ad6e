"""The classifier of kept features, beside MindSpore's own loss."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from nonlocal_core.training import classifier

RNG = np.random.default_rng(0)
LABEL_N = RNG.integers(0, 3, 60)
FEATURES_NC = RNG.normal(size=(60, 5)) + np.eye(3, 5)[LABEL_N]


def loss(weight_KC, bias_K, decay):
    logits = ms.Tensor(FEATURES_NC, ms.float64) @ weight_KC.T + bias_K
    return ops.cross_entropy(logits, ms.Tensor(LABEL_N, ms.int32)) + decay / 2 * (weight_KC**2).sum()


@pytest.mark.parametrize("decay", [0.01, 1.0])
def test_the_solution_is_where_the_loss_has_no_slope(decay):
    found = classifier.solve(FEATURES_NC, LABEL_N, 3, decay)
    weight, bias = (ms.Tensor(array, ms.float64) for array in found[:2])
    slopes = ms.grad(loss, (0, 1))(weight, bias, decay)
    assert max(float(np.abs(slope.asnumpy()).max()) for slope in slopes) < 1e-4
    steep = ms.grad(loss, (0, 1))(weight * 0, bias * 0, decay)
    assert max(float(np.abs(slope.asnumpy()).max()) for slope in steep) > 0.1
    assert found.lines[-1]["loss"] == pytest.approx(float(loss(weight, bias, decay)), rel=1e-6)


def test_a_balanced_loss_is_that_of_as_many_copies_of_the_rare_labels():
    label_N = np.repeat([0, 1, 2], [40, 10, 10])
    copies = np.repeat(np.arange(60), np.where(label_N == 0, 1, 4))
    found = classifier.solve(FEATURES_NC, label_N, 3, 0.1, 1.0)
    copied = classifier.solve(FEATURES_NC[copies], label_N[copies], 3, 0.1)
    np.testing.assert_allclose(found.weight_KC, copied.weight_KC, atol=1e-4)
    assert np.abs(found.weight_KC - classifier.solve(FEATURES_NC, label_N, 3, 0.1).weight_KC).max() > 0.01


def test_the_log_has_a_line_a_pass_and_the_loss_falls():
    lines = classifier.solve(FEATURES_NC, LABEL_N, 3, 0.1).lines
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["loss"] < lines[0]["loss"]
    logits = FEATURES_NC @ classifier.solve(FEATURES_NC, LABEL_N, 3, 0.1).weight_KC.T
    assert lines[-1]["top1"] >= np.mean(logits.argmax(1) == LABEL_N) - 0.1


def test_the_optimum_does_not_depend_on_the_order():
    found = classifier.solve(FEATURES_NC, LABEL_N, 3, 0.1)
    turned = classifier.solve(FEATURES_NC[::-1], LABEL_N[::-1], 3, 0.1)
    np.testing.assert_allclose(found.weight_KC, turned.weight_KC, atol=1e-4)
