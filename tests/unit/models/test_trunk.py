"""A network that is cut in two is the network."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from small import small_config

from nonlocal_core.models import parts, trunk
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise

NETS = {
    "resnet": small_config(),
    "inception": small_config(
        model__backbone="inception", model__width=8, model__stage_blocks=(3, 4, 6, 3), model__nl_res4=(4,),
        model__stem_stride_t=2, model__pool1_stride_t=2, model__head="two_frames", clip__clip_len=16,
    ),
}  # fmt: skip


@pytest.fixture(params=NETS, scope="module")
def net(request):
    ms.set_seed(1)
    made = I3D(NETS[request.param].model, 4)
    rng = np.random.default_rng(1)
    for parameter in made.get_parameters():  # blocks that begin as the identity would hide where they stand
        if parameter.ndim == 1:
            parameter.set_data(ms.Tensor(rng.uniform(0.5, 1, parameter.shape).astype(np.float32)))
    made.set_train(False)
    return made


@pytest.mark.parametrize("last", parts.PARTS)
def test_the_rest_takes_what_the_trunk_gives(net, last):
    clip = ms.Tensor(np.random.default_rng(2).integers(0, 256, (2, 3, 16, 32, 32)).astype(np.uint8))
    whole = net.features(normalise(clip, net.model)).asnumpy()
    kept = trunk.trunk(net, last)(clip)
    assert kept.ndim == (2 if last == "res5" else 5)
    np.testing.assert_allclose(trunk.features(net, last)(kept).asnumpy(), whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(trunk.features(net)(clip).asnumpy(), whole)


def test_the_digest_is_of_the_trunk_alone(net):
    digest = trunk.digest(net, "res3")
    for name, changes in (("head.fc.weight", False), ("res4.0", False), ("res3.0", True), ("stem", True)):
        parameter = next(p for p in net.get_parameters() if p.name.startswith(name))
        before = parameter.asnumpy().copy()
        parameter.set_data(ms.Tensor(before + 1))
        assert (trunk.digest(net, "res3") != digest) == changes, name
        parameter.set_data(ms.Tensor(before))
    assert trunk.digest(net, "res3") == digest
