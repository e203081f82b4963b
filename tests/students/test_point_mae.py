"""The point transformer: tokens, masks that leak nothing, local attention, ways out, bad input."""

import pytest
import torch
from torch import nn

from pcpt.students.point_mae import PointMAE
from pcpt.students.point_tokens import points_of_tokens, token_scales, visible_in_all_scales
from pcpt.students.point_transformer import DropPath, GroupEmbedding, drop_path_rates

SIZES = {
    "num_tokens": [24, 12, 5], "group_sizes": [6, 4, 3], "dims": [8, 12, 16], "depths": [1, 2, 1],
    "heads": 2, "embed_channels": 4, "drop_path": 0.0,
}  # fmt: skip


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return PointMAE(PointMAE.Config(**(SIZES | changes)))


def cloud(shapes=2, count=60, seed=0):
    return torch.randn(shapes, count, 3, generator=torch.Generator().manual_seed(seed))


def warm(model):
    """In eval mode, with batch norms that have seen something: tokens then tell of their groups."""
    for number in range(20):
        model(cloud(seed=number))
    return model.eval()


def some_visible(scales, seed=0):
    """Two of five coarsest tokens in the first shape, one in the others."""
    visible = torch.zeros(scales[-1].centers.shape[:2], dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    for shape, row in enumerate(visible):
        row[torch.randperm(len(row), generator=generator)[: 2 if shape == 0 else 1]] = True
    return visible_in_all_scales(visible, scales)


def test_tokens_lie_at_points_and_hold_their_nearest_neighbours() -> None:
    points = cloud()
    scales = token_scales(points, [24, 12, 5], [6, 4, 3])
    before = points
    for scale, at in zip(scales, points_of_tokens(scales)):
        for shape in range(2):
            assert torch.equal(scale.centers[shape], points[shape, at[shape]])
            assert torch.equal(scale.centers[shape], before[shape, scale.chosen[shape]])
            offset = scale.centers[shape][:, None] - before[shape]
            distance = offset.double().square().sum(2)
            nearest = distance.sort(dim=1, stable=True).indices[:, : scale.members.shape[2]]
            assert torch.equal(scale.members[shape], nearest)
            assert (scale.members[shape][:, 0] == scale.chosen[shape]).all(), "itself first"
            assert len(set(at[shape].tolist())) == len(at[shape]), "no point twice"
        before = scale.centers


@pytest.mark.parametrize("seed", range(5))
def test_masks_propagate_as_a_loop_over_groups_says(seed) -> None:
    scales = token_scales(cloud(shapes=3, seed=seed), [24, 12, 5], [6, 4, 3])
    visible = some_visible(scales, seed)
    for fine in (0, 1):
        expected = torch.zeros_like(visible[fine])
        for shape in range(3):
            for token in visible[fine + 1][shape].nonzero()[:, 0].tolist():
                for member in scales[fine + 1].members[shape, token].tolist():
                    expected[shape, member] = True
        assert torch.equal(visible[fine], expected)


def test_the_released_fault_shows_the_first_token_of_the_first_shape_and_no_other() -> None:
    scales = token_scales(cloud(shapes=3), [24, 12, 5], [6, 4, 3])
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    # visible groups that do not contain the first token of their shape
    for shape in range(3):
        members = scales[2].members[shape]
        finest = scales[1].members[shape]
        clear = [t for t in range(5) if 0 not in finest[members[t]] and 0 not in members[t]]
        hidden[shape, clear[0]] = True
    mended = visible_in_all_scales(hidden, scales)
    released = visible_in_all_scales(hidden, scales, always_first=True)
    assert torch.equal(released[2], mended[2])
    for fine in (0, 1):
        assert not mended[fine][:, 0].any()
        assert released[fine][:, 0].tolist() == [True, False, False]
    assert (released[1] != mended[1]).sum() == 1
    everything = torch.ones(3, 5, dtype=torch.bool)
    for one, other in zip(
        visible_in_all_scales(everything, scales, always_first=True),
        visible_in_all_scales(everything, scales),
    ):
        assert one.all() or torch.equal(one, other)


def test_a_group_is_embedded_as_its_layers_say() -> None:
    torch.manual_seed(0)
    layer = GroupEmbedding(3, (4, 8), 5, narrow=False).eval()
    groups = cloud(7, 6)
    each = layer.first(groups.flatten(0, 1)).view(7, 6, 8)
    beside = torch.cat([each.amax(1, keepdim=True).expand(-1, 6, -1), each], 2)
    joint = nn.Linear(16, 16)
    joint.weight.data = torch.cat([layer.of_group.weight, layer.of_each.weight], 1)
    joint.bias.data = layer.of_each.bias
    expected = layer.last(joint(beside).flatten(0, 1)).view(7, 6, 5).amax(1)
    torch.testing.assert_close(layer(groups), expected)
    assert layer(groups[:0]).shape == (0, 5)


def test_visible_tokens_know_nothing_of_masked_ones() -> None:
    """Whatever lies at points of masked groups alone, the visible tokens stay as they are."""
    model, points = warm(make()), cloud(3)
    scales = model.scales(points)
    visible = some_visible(scales)
    tokens = model.tokens(points, scales, visible)
    used = torch.zeros(3, 60, dtype=torch.bool)
    for shape in range(3):
        used[shape, scales[0].members[shape][visible[0][shape]].flatten()] = True
    assert 0 < used.sum() < used.numel()
    changed = torch.where(used[..., None], points, points + 5)
    centers = [
        s._replace(centers=torch.where(v[..., None], s.centers, s.centers - 9))
        for s, v in zip(scales, visible)
    ]
    again = model.tokens(changed, centers, visible)
    for one, other, shown in zip(tokens, again, visible):
        assert torch.equal(one, other)
        assert (one[shown] != 0).any(1).all() and (one[~shown] == 0).all()
    moved = model.tokens(torch.where(used[..., None], points * 1.1, points), scales, visible)
    assert not torch.allclose(moved[-1], tokens[-1])


def test_a_shape_does_not_depend_on_the_others_of_its_batch() -> None:
    model, points = warm(make()), cloud(3)
    scales = model.scales(points)
    visible = some_visible(scales)
    together = model.tokens(points, scales, visible)
    alone = model.tokens(
        points[1:2], [type(s)(*(t[1:2] for t in s)) for s in scales], [v[1:2] for v in visible]
    )
    for one, other in zip(together, alone):
        torch.testing.assert_close(one[1:2], other, atol=1e-6, rtol=1e-5)


def test_all_visible_equals_no_mask() -> None:
    model, points = warm(make()), cloud()
    scales = model.scales(points)
    everything = [torch.ones(s.centers.shape[:2], dtype=torch.bool) for s in scales]
    for one, other in zip(model.tokens(points, scales, everything), model.tokens(points, scales)):
        assert torch.equal(one, other)


def test_local_attention_reaches_no_farther_than_its_radius() -> None:
    """Two clusters far apart: with a radius neither knows where the other is."""
    two = torch.cat([cloud(1, 30) * 0.1, cloud(1, 30, 1) * 0.1 + 5], 1)
    farther = torch.cat([two[:, :30], two[:, 30:] + 1], 1)
    first = torch.arange(30)

    def near_tokens(model, points):
        scales = model.scales(points)
        at = points_of_tokens(scales)
        tokens = model.tokens(points, scales)
        return [t[0][torch.isin(a[0], first)] for t, a in zip(tokens, at)]

    everywhere, local = warm(make()), make(local_radius=[2.0, 2.0, 2.0]).eval()
    local.load_state_dict(everywhere.state_dict())
    for one, other in zip(near_tokens(local, two), near_tokens(local, farther)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    differs = [
        not torch.allclose(one, other, atol=1e-5)
        for one, other in zip(near_tokens(everywhere, two), near_tokens(everywhere, farther))
    ]
    assert all(differs)
    wide = make(local_radius=[100.0, 100.0, 100.0]).eval()
    wide.load_state_dict(everywhere.state_dict())
    for one, other in zip(near_tokens(wide, two), near_tokens(everywhere, two)):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_pooled_is_the_maximum_and_point_carries_every_scale() -> None:
    model, points = warm(make()), cloud()
    features = model(points)
    tokens = model.tokens(points, model.scales(points))
    torch.testing.assert_close(features.pooled, tokens[-1].amax(1))
    assert (model.point_channels, model.pooled_channels) == (36, 16)
    assert features.point.shape == (2, 60, 36)
    # a point that is a coarsest centre takes that token, weighed against others far away
    at = points_of_tokens(model.scales(points))[-1][0, 0]
    torch.testing.assert_close(features.point[0, at, -16:], tokens[-1][0, 0], atol=1e-4, rtol=1e-3)
    both = make(pooling="max_mean").eval()
    both.load_state_dict(model.state_dict())
    pooled = both(points).pooled
    torch.testing.assert_close(pooled, torch.cat([tokens[-1].amax(1), tokens[-1].mean(1)], 1))
    assert both.pooled_channels == 32


def test_order_of_points_does_not_matter_but_for_the_first() -> None:
    """Sampling starts at the first point; with that kept, a shuffled cloud is the same shape."""
    model, points = warm(make()), cloud()
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(59)])
    one, other = model(points), model(points[:, order])
    torch.testing.assert_close(one.pooled, other.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.point[:, order], other.point, atol=1e-5, rtol=1e-4)


def test_drop_path_keeps_the_mean_and_does_nothing_in_eval() -> None:
    torch.manual_seed(0)
    layer, ones = DropPath(0.3), torch.ones(20_000, 2)
    dropped = layer(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert torch.equal(dropped[:, 0], dropped[:, 1]), "a sample as a whole"
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(ones), ones)
    rates = drop_path_rates(0.3, [1, 2])
    assert [len(each) for each in rates] == [1, 2]
    assert [rate for each in rates for rate in each] == pytest.approx([0, 0.15, 0.3])


def test_every_parameter_has_a_gradient() -> None:
    model = make(drop_path=0.1)
    features = model(cloud(4))
    (features.pooled.sum() + features.point.square().sum()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without


def test_export_and_back(tmp_path) -> None:
    model, points = make(local_radius=[0.0, 1.0, 2.0], pooling="max_mean"), cloud()
    model(points)  # batch norms move
    model.eval()
    loaded = PointMAE.from_pretrained(model.save_pretrained(tmp_path / "export"))
    assert loaded.config == model.config
    assert torch.equal(loaded.embed(points), model(points).pooled)
    assert torch.equal(loaded.features_at(points[0]), model.features_at(points[0]))
    assert loaded.features_at(points[0]).shape == (60, 36)


@pytest.mark.parametrize(
    "shape",
    [
        torch.zeros(1, 40, 3),
        torch.linspace(-1, 1, 40)[None, :, None] * torch.tensor([1.0, 0, 0]),
        cloud(1, 40) * torch.tensor([1.0, 1, 0]),
        cloud(1, 8).repeat(1, 5, 1),
    ],
    ids=["one point", "line", "plane", "copies"],
)
def test_degenerate_shapes_have_features(shape) -> None:
    for training in (False, True):
        features = make().train(training)(torch.cat([shape, cloud(1, 40)]))
        assert features.pooled.isfinite().all() and features.point.isfinite().all()


def test_too_few_points_and_points_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match=r"23 points, but scale 1 makes 24 tokens.*num_points"):
        make()(cloud(1, 23))
    with pytest.raises(ValueError, match=r"not finite"):
        bad = cloud()
        bad[1, 7, 2] = torch.nan
        make()(bad)
    some = cloud()
    some[1, 10:] = torch.inf
    with pytest.raises(ValueError, match=r"shape 1 of the batch has 10 finite points.*24"):
        token_scales(some, [24, 12], [6, 4])
    with pytest.raises(ValueError, match="fewer than 11 neighbours"):
        token_scales(some, [5], [11])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dims": [8, 12]}, r"student\.dims"),
        ({"num_tokens": []}, r"student"),
        ({"num_tokens": [12, 24, 5]}, "cannot have more tokens"),
        ({"group_sizes": [6, 25, 3]}, "cannot have more tokens or neighbours"),
        ({"heads": 5}, r"multiples of student\.heads"),
        ({"drop_path": 1.0}, r"student\.drop_path"),
        ({"local_radius": [1.0]}, r"student\.local_radius"),
        ({"local_radius": [1.0, -1.0, 0.0]}, r"student\.local_radius"),
        ({"pooling": "mean"}, r"student\.pooling"),
        ({"mlp_ratio": 0.0}, r"student\.mlp_ratio"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        PointMAE.Config(**(SIZES | changes))
