"""Without csrc everything runs on the PyTorch references, after one warning, to the same result."""

import subprocess
import sys

import pytest
import torch

from pcpt.ops._library import COMPILED
from pcpt.students import SparseUNet

SCRIPT = """
import sys, warnings
sys.modules["pcpt._C"] = None  # as if it had never been built
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import torch
    from pcpt.students import SparseUNet
    from pcpt.ops import match_points_to_pixels, sample_pixels, render_depth, voxelize
told = [str(w.message) for w in caught if "PyTorch references" in str(w.message)]
assert len(told) == 1 and "compiler" in told[0], told
model = SparseUNet.from_pretrained(sys.argv[1])
cloud = torch.load(sys.argv[2], weights_only=True)
torch.save(model.features_at(cloud["points"], cloud["colors"]), sys.argv[3])
x, _ = model.voxels(cloud["points"], cloud["colors"])
model.train()(x).features.square().mean().backward()
assert all(p.grad is not None and torch.isfinite(p.grad).all()
           for name, p in model.named_parameters() if not name.startswith("final"))
"""


@pytest.mark.skipif(not COMPILED, reason="csrc is not built: everything runs on the references")
def test_references_give_the_features_of_the_kernels(tmp_path):
    torch.manual_seed(0)
    model = SparseUNet(SparseUNet.Config(variant="small", voxel_size=0.05))
    model.save_pretrained(tmp_path / "model")
    cloud = {"points": torch.rand(2000, 3), "colors": torch.rand(2000, 3)}
    torch.save(cloud, tmp_path / "cloud.pt")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *(tmp_path / n for n in ("model", "cloud.pt", "out.pt"))],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = model.features_at(cloud["points"], cloud["colors"])
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
