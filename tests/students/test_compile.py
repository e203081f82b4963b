"""torch.compile of a student, once its kernel maps are there: one graph, equal numbers."""

import pytest
import torch

from pcpt.ops._library import COMPILED
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet


@pytest.mark.skipif(not COMPILED, reason="the references look at the data, which breaks the graph")
@pytest.mark.parametrize("training", [False, True])
def test_one_graph(training: bool) -> None:
    torch.manual_seed(0)
    torch.compiler.reset()
    planes = [8, 8, 8, 8, 8, 8, 8, 8]
    config = SparseUNet.Config(variant="res16unet14", planes=planes, stem_channels=8)
    network = SparseUNet(config).train(training)
    cells = torch.randperm(24**3)[:1500]
    axes = torch.stack([cells * 0, cells // 576, cells // 24 % 24, cells % 24], 1)
    voxels = SparseTensor(torch.randn(1500, 3), axes.int())
    expected = network(voxels).features  # makes the maps, with those of the gradient
    expected.square().sum().backward()
    gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()

    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    out = compiled(voxels).features
    assert torch.equal(out, expected)
    out.square().sum().backward()
    got = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(got) == len(gradients)
    for ours, theirs in zip(got, gradients):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
