"""PointNet, PointNet++ and DGCNN: what they promise of any shape, and their layers one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcpt import registry
from pcpt.ops import nearest_neighbors
from pcpt.students.edge_conv import EdgeConv
from pcpt.students.point_network import RowNorm, SharedLayers, propagate, width_of
from pcpt.students.pointnet import Transform

OPTIONS: dict[str, dict[str, Any]] = {
    "pointnet": {"width": 0.125},
    "pointnet2": {"width": 0.125, "centers": [12, 5], "neighbors": [64, 64]},
    "dgcnn": {"width": 0.125, "k": 6},
}
NAMES = list(OPTIONS)


def network(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    student = registry.get("students", name)
    return student(student.Config(**{**OPTIONS[name], **options}))


def ball(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(*shape, 3, generator=generator)
    return F.normalize(points, dim=-1) * torch.rand(*shape, 1, generator=generator) ** 0.3


def settled(name: str, **options: Any) -> Any:
    """With norms that have seen data, and every parameter away from its special first value."""
    model = network(name, **options).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        for seed in range(3):
            normals = ball(4, 40, seed=50) if model.needs_normals else None
            model(ball(4, 40, seed=seed), normals)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_maximum(name: str) -> None:
    model, points = settled(name), ball(3, 40)
    encoded = model.encode(points, with_local=True)
    features = model(points)
    assert features.point.shape == (3, 40, model.point_channels)
    assert features.pooled.shape == (3, model.pooled_channels)
    assert encoded.local.shape == (3, 40, model.local_channels)
    assert torch.equal(encoded.pooled, encoded.embedding.amax(1))
    assert torch.allclose(features.point.amax(1), features.pooled, atol=1e-4)
    assert torch.equal(model.embed(points), features.pooled.detach())


@pytest.mark.parametrize("name", NAMES)
def test_follows_the_order_of_the_points(name: str) -> None:
    model, points = settled(name), ball(2, 40)
    order = torch.cat(
        [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(39)]
    )  # FPS starts at 0
    plain, moved = model(points), model(points[:, order])
    assert torch.allclose(plain.point[:, order], moved.point, atol=1e-4)
    assert torch.allclose(plain.pooled, moved.pooled, atol=1e-4)
    assert not torch.allclose(plain.point, moved.point, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_of_the_points_they_name(name: str) -> None:
    model, points = settled(name), ball(2, 40)
    encoded = model.encode(points)
    features = model(points).point
    if encoded.index is None:
        assert torch.equal(features, encoded.embedding)
    else:
        own = features.gather(1, encoded.index[..., None].expand_as(encoded.embedding))
        assert torch.allclose(own, encoded.embedding, atol=1e-4)
        assert encoded.index.shape[1] < points.shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model, points = settled(name), ball(2, 40)
    loaded = type(model).from_pretrained(model.save_pretrained(tmp_path / "export"))
    assert torch.equal(loaded.embed(points), model.embed(points))
    assert name in (tmp_path / "export" / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_features_at_normalises(name: str) -> None:
    model, points = settled(name), ball(30).double()
    features = model.features_at(points)
    moved = model.features_at(7 * points + torch.tensor([3.0, -9, 2]))
    assert features.shape == (30, model.point_channels)
    assert torch.allclose(features, moved, atol=1e-3)
    assert not torch.allclose(features, model.features_at(0.1 * points, normalise=False), atol=1e-2)
    assert model.features_at(torch.zeros(0, 3)).shape == (0, model.point_channels)


DEGENERATE = {
    "one point": torch.zeros(2, 1, 3),
    "fewer than k": ball(2, 3),
    "all in one place": torch.full((2, 9, 3), 0.25),
    "on a line": ball(2, 9) * torch.tensor([1.0, 0, 0]),
    "in a plane": ball(2, 9) * torch.tensor([1.0, 1, 0]),
    "each twice": ball(2, 9).repeat(1, 2, 1),
    "a batch of one": ball(1, 20),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_shapes_train(name: str, kind: str) -> None:
    model, points = network(name).train(), DEGENERATE[kind]
    features = model(points)
    (features.pooled.square().mean() + features.point.square().mean()).backward()
    assert bool(features.point.isfinite().all()) and bool(features.pooled.isfinite().all())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(bool(g.isfinite().all()) for g in gradients)


# DGCNN's graph counts copies among the neighbours, as the paper's does
@pytest.mark.parametrize("name", ["pointnet", "pointnet2"])
def test_copies_of_points_change_no_maximum(name: str) -> None:
    model, points = settled(name), ball(2, 20)
    again = torch.cat([points, points[:, :7]], 1)
    assert torch.allclose(model.embed(points), model.embed(again), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_refuses(name: str) -> None:
    model = settled(name)
    broken = ball(2, 20)
    broken[1, 3, 2] = torch.nan
    with pytest.raises(ValueError, match=r"points\[1, 3\]"):
        model(broken)
    with pytest.raises(ValueError, match="without a point"):
        model(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match=r"expected floating \(B, N, 3\)"):
        model(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="not finite"):
        model.features_at(broken[1])
    with pytest.raises(ValueError, match=r"student\.width"):
        network(name, width=0.0)


def test_points_too_far_for_distances() -> None:
    model, points = settled("pointnet2"), ball(2, 40)
    assert bool(model(1e18 * points).point.isfinite().all())
    for scale in (1e20, 1e30, 1e38):
        with pytest.raises(ValueError, match=r"points reach .*, too far .*data\.normalise"):
            model(scale * points)
        assert bool(model.embed(scale * points).isfinite().all())  # that of the centres


@pytest.mark.parametrize("name", NAMES)
def test_normals(name: str) -> None:
    model, points, normals = settled(name, normals=True), ball(2, 40), ball(2, 40, seed=9)
    with pytest.raises(ValueError, match=r"student\.normals"):
        model(points)
    with pytest.raises(ValueError, match="needs normals"):
        model(points, normals[:1])
    assert not torch.allclose(model(points, normals).pooled, model(points, -normals).pooled)


@pytest.mark.parametrize("name", NAMES)
def test_normals_of_any_kind(name: str) -> None:
    model, points, normals = settled(name, normals=True), ball(2, 40), ball(2, 40, seed=9)
    embedding, features = model.embed(points, normals), model.features_at(points[0], normals[0])
    swapped = normals.double().numpy().astype(">f8")
    for other in (normals.double(), normals.numpy(), swapped):
        assert torch.equal(model.embed(points, other), embedding)
        assert torch.equal(model.features_at(points[0], other[0]), features)
    assert torch.equal(model(points, normals.double()).pooled, model(points, normals).pooled)
    normals[1, 3, 2] = torch.nan
    for use in (model, model.embed):
        with pytest.raises(ValueError, match=r"normals\[1, 3\] is .*not finite"):
            use(points, normals)
    with pytest.raises(ValueError, match=r"normals\[0, 3\] is .*not finite"):
        model.features_at(points[1], normals[1])
    with pytest.raises(ValueError, match="needs normals"):
        model.features_at(points[0], normals[0, :5])


def test_options_are_checked() -> None:
    for options, complaint in (
        ({"k": 0}, r"student\.k"),
        ({"graph": "static"}, r"student\.graph"),
        ({"planes": []}, r"student\.planes"),
    ):
        with pytest.raises(ValueError, match=complaint):
            network("dgcnn", **options)
    with pytest.raises(ValueError, match=r"student\.radii"):
        network("pointnet2", radii=[0.2])
    with pytest.raises(ValueError, match="at most 128"):
        network("pointnet2", neighbors=[32, 129])


def naive_edge_conv(conv: EdgeConv, features: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Every edge in full, as the paper writes it."""
    rows = []
    for cloud, neighbors in zip(features, index):
        for point, own in zip(cloud, neighbors):
            rows.append(torch.stack([torch.cat([cloud[j] - point, point]) for j in own]))
    edges = torch.stack(rows)  # (B * N, k, 2C)
    out = edges @ conv.linear.weight.T
    norm = nn.BatchNorm1d(out.shape[2], dtype=out.dtype)
    norm.load_state_dict(conv.norm.state_dict())
    norm.weight, norm.bias = conv.norm.weight, conv.norm.bias
    norm.train(conv.training)
    out = F.leaky_relu(norm(out.flatten(0, 1)).view_as(out), conv.slope).amax(1)
    if conv.training:
        conv.norm.expected = (norm.running_mean, norm.running_var)
    return out.view(*features.shape[:2], -1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("points", "k", "channels"), [(1, 1, 3), (7, 3, 1), (12, 5, 4), (9, 9, 7)])
def test_edge_conv_is_that_of_the_paper(training: bool, points: int, k: int, channels: int) -> None:
    torch.manual_seed(points)
    conv = EdgeConv(channels, 6).double().train(training)
    with torch.no_grad():
        conv.norm.weight.copy_(torch.tensor([1.0, -1, 0.5, -2, 0.1, 3]))  # signs of both kinds
        conv.norm.bias.normal_()
        conv.norm.running_mean.normal_()
    features = torch.randn(2, points, channels, dtype=torch.float64, requires_grad=True)
    index = nearest_neighbors(features.detach(), features.detach(), k).index
    twin = torch.Generator().manual_seed(5)
    weight = torch.randn(2, points, 6, dtype=torch.float64, generator=twin)

    expected = naive_edge_conv(conv, features, index)
    (expected * weight).sum().backward()
    gradients = [features.grad, conv.linear.weight.grad, conv.norm.weight.grad, conv.norm.bias.grad]
    features.grad = None
    conv.zero_grad()
    found = conv(features, index)
    (found * weight).sum().backward()
    assert torch.allclose(found, expected, atol=1e-9)
    again = [features.grad, conv.linear.weight.grad, conv.norm.weight.grad, conv.norm.bias.grad]
    for own, other in zip(again, gradients):
        assert torch.allclose(own, other, atol=1e-8)
    if training:
        mean, variance = conv.norm.expected
        assert torch.allclose(conv.norm.running_mean, mean)
        assert torch.allclose(conv.norm.running_var, variance)


@pytest.mark.parametrize("name", NAMES)
def test_trains_in_mixed_precision(name: str) -> None:
    model, points = settled(name).train(), ball(4, 40)
    exact = model.encode(points, with_local=True)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.encode(points, with_local=True)
        mixed.pooled.float().square().mean().backward()
    scale = exact.pooled.detach().abs().mean()
    assert float((mixed.pooled.float() - exact.pooled).detach().abs().mean() / scale) < 0.2
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_embeds_in_half_precision(name: str, dtype: torch.dtype) -> None:
    model, points = settled(name), ball(4, 40)
    exact = model.embed(points)
    half = model.to(dtype).embed(points)
    assert float((half.float() - exact).abs().mean() / exact.abs().mean()) < 0.2


def test_graph_is_found_anew_in_features() -> None:
    points = ball(2, 30)
    dynamic, fixed = settled("dgcnn"), settled("dgcnn", graph="fixed")
    fixed.load_state_dict(dynamic.state_dict())
    assert not torch.allclose(dynamic.embed(points), fixed.embed(points))


def test_propagate_is_the_weighted_mean_of_three() -> None:
    points, centers = ball(2, 15), ball(2, 6, seed=3)
    features = torch.randn(2, 6, 4)
    found = propagate(points, centers, features)
    for cloud in range(2):
        for place, point in enumerate(points[cloud]):
            squared = (centers[cloud] - point).square().sum(1)
            nearest = squared.argsort()[:3]
            weight = 1 / squared[nearest]
            mean = (weight[:, None] * features[cloud, nearest]).sum(0) / weight.sum()
            assert torch.allclose(found[cloud, place], mean, atol=1e-4)
    assert torch.allclose(propagate(centers, centers, features), features, atol=1e-4)
    assert torch.allclose(propagate(points, centers[:, :1], features[:, :1])[:, 3], features[:, 0])


def test_pointnet_regulariser() -> None:
    model, points = network("pointnet"), ball(3, 20)
    assert model.encode(points).regulariser.item() == 0  # transforms start as the identity
    with torch.no_grad():
        model.feature_transform.matrix.bias.normal_()
    matrices: list[torch.Tensor] = []
    model.feature_transform.register_forward_hook(lambda m, i, out: matrices.append(out))
    found = model.encode(points).regulariser
    by_hand = torch.stack([(a @ a.T - torch.eye(len(a))).square().sum() for a in matrices[0]])
    assert torch.allclose(found, by_hand.mean())
    assert network("pointnet", transform_features=False).encode(points).regulariser is None


def test_transform_turns_normals_along() -> None:
    model = settled("pointnet", normals=True, transform_features=False)
    assert isinstance(model.input_transform, Transform)
    points, normals = ball(1, 20), ball(1, 20, seed=4)
    seen: list[torch.Tensor] = []
    model.first.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    model(points, normals)
    matrix = model.input_transform(points)
    assert torch.allclose(seen[0], torch.cat([points @ matrix, normals @ matrix], 2))


def test_a_single_row_has_running_statistics() -> None:
    norm = RowNorm(3).train()
    norm(torch.randn(50, 3) * 4 + 2)
    before = norm.running_mean.clone()
    row = torch.randn(1, 3)
    assert torch.allclose(norm(row), norm.eval()(row)) and torch.equal(norm.running_mean, before)


def test_widths() -> None:
    assert [width_of(64, w) for w in (1, 0.5, 0.25, 0.01, 2)] == [64, 32, 16, 8, 128]
    layers = SharedLayers(3, 8, 5, activate_last=False).eval()
    assert layers(torch.zeros(2, 4, 3)).shape == (2, 4, 5) and bool(
        (layers(torch.randn(50, 3)) < 0).any()
    )
