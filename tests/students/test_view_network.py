"""MobileNetV2 as the image network of the view tasks: its norms and its random weights."""

import torch
from torch import nn

from pcpt.students.view_network import Lite0Trunk, ViewNetwork


def mobilenet(seed: int) -> ViewNetwork:
    torch.manual_seed(seed)
    return ViewNetwork(ViewNetwork.Config(backbone="mobilenet_v2", codeword_channels=4))


def test_norms_remember_more_than_the_last_batch() -> None:
    network = mobilenet(0)
    norms = [m for m in network.trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 50 and {norm.momentum for norm in norms} == {0.003}
    first = network.trunk.stem.first_conv.normalization
    before = first.running_mean.clone()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    network.train()(images)
    measured = network.trunk.stem.first_conv.convolution
    assert float((first.running_mean - before).abs().max()) > 0
    with torch.no_grad():
        rows = measured(nn.functional.pad(network.trunk.normalize(images), (0, 1, 0, 1)))
    mean = rows.mean((0, 2, 3))
    torch.testing.assert_close(first.running_mean, 0.003 * mean, rtol=1e-3, atol=1e-6)


def test_random_weights_follow_the_seed() -> None:
    one, same, other = (mobilenet(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    name = "trunk.final.convolution.weight"
    assert not torch.equal(one[name], other[name])


def test_the_default_network_draws_as_ever() -> None:
    torch.manual_seed(0)
    own = ViewNetwork(ViewNetwork.Config(codeword_channels=4)).state_dict()
    torch.manual_seed(0)
    trunk = Lite0Trunk()
    head = nn.Conv2d(trunk.channels[-1], 4, 1, bias=False)
    assert torch.equal(own["head.0.weight"], head.weight)
