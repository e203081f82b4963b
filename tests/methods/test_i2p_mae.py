"""I2P-MAE against its definition: what guides the masks, what is to be predicted, what each mend
changes; resuming, exporting, reports."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcpt.config import load_config, make_config, to_yaml
from pcpt.data.shape_batch import collate_shapes
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.data.sources.procedural_shapes import ProceduralShapes
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint
from pcpt.engine.evaluation import evaluate_run
from pcpt.engine.export import export_student, load_student
from pcpt.engine.run import build, train
from pcpt.engine.visualization import visualize_run
from pcpt.losses import chamfer
from pcpt.methods.i2p_config import MENDS, I2PConfig, Masking, Targets, Views
from pcpt.methods.i2p_mae import I2PMAE, guidance
from pcpt.registry import register
from pcpt.students import SparseUNet
from pcpt.students.point_mae import PointMAE
from pcpt.students.point_tokens import points_of_tokens
from pcpt.teachers.base import Teacher, activation_energy
from tests.conftest import REPOSITORY
from tests.engine.test_resume import assert_same_run

SIZES = {
    "num_tokens": [48, 24, 10], "group_sizes": [6, 4, 3], "dims": [8, 12, 16], "depths": [1, 1, 1],
    "heads": 2, "embed_channels": 4, "drop_path": 0.1,
}  # fmt: skip


@register("teachers", "cell_means")
class CellMeans(Teacher):
    """Mean grey, its square and a constant over cells of 8 pixels; salient where it is bright."""

    class Config:
        name = "cell_means"

    def __init__(self, config=None) -> None:
        super().__init__()
        self.channels, self.stride, self.offset = 3, 8, 3.5
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.num_images = 0

    def features(self, images):
        self.num_images += len(images)
        x = F.avg_pool2d(images[:, :1].float() / 255 * self.weight, 8, ceil_mode=True)
        return torch.cat([x, x * x, torch.ones_like(x)], 1)

    def features_and_saliency(self, images):
        features = self.features(images)
        return features, activation_energy(features[:, :1])


def make_config_of(**sections):
    options = {"views": {"size": 40}, **sections}
    kinds = {"views": Views, "masking": Masking, "targets": Targets}
    for key, kind in kinds.items():
        options[key] = kind(**options.get(key, {}))
    return I2PConfig(**options)


def make(teacher=None, student=None, plain=False, **sections):
    torch.manual_seed(0)
    config = make_config_of(**sections)
    network = PointMAE(PointMAE.Config(**(SIZES | (student or {}))))
    return I2PMAE(config, network, None if plain else teacher or CellMeans())


def make_batch(count=3, split="train", points=96, **augment):
    source = ProceduralShapes.Config(per_class=1, surface_points=128)
    config = ShapeDataConfig(source=source, num_points=points, val_fraction=0.0)
    for key, value in augment.items():
        setattr(config.augment, key, value)
    data = Shapes(config, split, 0)
    return collate_shapes([data[n] for n in range(count)])


def seeded(call, seed=1):
    torch.manual_seed(seed)
    return call()


def bilinear(image, pixel, stride):
    """One feature map, (C, h, w), read at a pixel by hand; cells are centred, edges constant."""
    at = ((pixel + 0.5) / stride - 0.5).clamp(min=0)
    u, v = (min(float(x), n - 1.0) for x, n in zip(at, (image.shape[2], image.shape[1])))
    left, top = int(u), int(v)
    right, low = min(left + 1, image.shape[2] - 1), min(top + 1, image.shape[1] - 1)
    a, b = u - left, v - top
    upper = image[:, top, left] * (1 - a) + image[:, top, right] * a
    return upper * (1 - b) + (image[:, low, left] * (1 - a) + image[:, low, right] * a) * b


def test_both_losses_written_out_token_by_token() -> None:
    method, batch = make(student={"drop_path": 0.0}), make_batch()
    method.prepare([batch])
    with torch.no_grad():
        output = seeded(lambda: method(batch))
        masked = seeded(lambda: method.mask(batch))
        decoded = method.decode(batch, masked)
    teacher = method.frozen["teacher"]
    views = method.onlooker.views(batch)
    maps = teacher(views.rgb()).view(3, 3, 3, 5, 5)
    points, images = [], []
    scale, finer = masked.scales[1], masked.scales[0]
    for shape in range(3):
        for token in range(24):
            members = scale.members[shape, token]
            if not masked.visible[1][shape, token]:
                truth = finer.centers[shape, members] - scale.centers[shape, token]
                found = method.point_head(decoded[shape, token]).view(1, 4, 3)
                points.append(chamfer(found, truth[None])[0])
                continue
            found = method.image_head(decoded[shape, token]).view(4, 3, 3)
            for neighbor, member in enumerate(members.tolist()):
                point = finer.chosen[shape, member]
                for view in range(3):
                    if views.visible[shape, view, point]:
                        pixel = views.pixel[shape, view, point]
                        target = bilinear(maps[shape, view], pixel, 8)
                        target = (target - method.channel_mean) * method.channel_scale
                        images.append((found[neighbor, view] - target).square())
    expected = torch.stack(points).mean(), torch.stack(images).mean()
    assert output.logs["loss_points"].item() == pytest.approx(expected[0].item(), rel=1e-4)
    assert output.logs["loss_images"].item() == pytest.approx(expected[1].item(), rel=1e-4)
    assert output.loss.item() == pytest.approx(sum(expected).item(), rel=1e-4)
    assert output.logs["num_pairs"] == len(images)


def test_weights_weigh_the_losses() -> None:
    batch = make_batch()
    options = {"weight_points": 3.0, "weight_images": 0.25}
    output = seeded(lambda: make(targets=options, student={"drop_path": 0.0})(batch))
    expected = 3 * output.logs["loss_points"] + 0.25 * output.logs["loss_images"]
    assert output.loss.item() == pytest.approx(float(expected), rel=1e-6)


def test_the_salient_tokens_are_those_that_bright_views_show() -> None:
    method, batch = make(masking={"temperature": 0.01}), make_batch()
    masked = method.mask(batch)
    teacher, views = method.frozen["teacher"], method.onlooker.views(batch)
    bright = teacher.saliency(views.rgb()).view(3, 3, 1, 5, 5)
    at = points_of_tokens(masked.scales)[-1]
    for shape in range(3):
        expected = []
        for point in at[shape].tolist():
            seen = [
                float(bilinear(bright[shape, v], views.pixel[shape, v, point], 8))
                for v in range(3)
                if views.visible[shape, v, point]
            ]
            expected.append(sum(seen) / len(seen) if seen else float("nan"))
        expected = torch.tensor(expected)
        expected = expected.nan_to_num(float(expected.nanmean()))
        torch.testing.assert_close(masked.saliency[shape], expected, atol=1e-5, rtol=1e-4)
        best = expected.topk(method.num_visible).indices
        assert masked.visible[-1][shape][best].all(), "cold enough, the best are kept"
    assert (guidance(masked) > 1).all()


def test_guided_masks_beat_random_ones_and_paper_ones_in_guidance() -> None:
    batch = make_batch(8)

    def mean_guidance(**options):
        method = make(**options)
        masks = [guidance(method.mask(batch)).mean() for _ in range(40)]
        return float(torch.stack(masks).mean())

    mended = mean_guidance()
    raw = mean_guidance(masking={"temperature": 1.0, "standardize": False})
    assert mended > raw + 0.05
    assert raw < 1.1
    assert make(masking={"guided": False}).mask(batch).saliency is None


def departures(method):
    return {
        (section, key): getattr(getattr(method.config, section), key)
        for section, keys in MENDS.items()
        for key in keys
    }


def test_a_fidelity_sets_every_mend_and_a_given_key_wins(caplog) -> None:
    caplog.set_level("INFO")
    mended, paper = make(), make(fidelity="paper")
    for (section, key), value in departures(mended).items():
        assert value == MENDS[section][key][0]
        assert departures(paper)[section, key] == MENDS[section][key][1] != value
    assert "but for" not in caplog.text
    one = make(fidelity="paper", views={"size": 40, "depth": "z_buffer"})
    changed = [k for k, v in departures(one).items() if v != departures(paper)[k]]
    assert changed == [("views", "depth")]
    assert "method.fidelity=paper, but for views.depth=z_buffer" in caplog.text


@pytest.mark.parametrize(
    ("section", "key"), [(section, key) for section, keys in MENDS.items() for key in keys]
)
def test_every_mend_alone_changes_the_loss(section, key) -> None:
    """From the mended method, each key set to what was released."""
    batch, given = make_batch(4), MENDS[section][key][1]
    batch.points[0] *= 1.3
    losses = []
    for options in ({}, {key: given}):
        base = {"views": {"size": 40}}
        base.setdefault(section, {}).update(options)
        method = make(student={"drop_path": 0.0}, **base)
        method.prepare([batch])
        with torch.random.fork_rng():
            for head in (method.point_head, method.image_head):
                torch.manual_seed(5)
                nn.init.normal_(head.weight, std=0.1)
        losses.append([seeded(lambda m=method: m(batch).loss.item(), seed) for seed in range(6)])
    assert losses[0] != losses[1]


def test_released_views_are_sums_of_the_augmented_shape() -> None:
    batch = make_batch()
    assert not torch.allclose(batch.points, batch.plain_points(), atol=0.01)
    mended, paper = make(), make(fidelity="paper")
    empty = lambda views: views.images.flatten().mode().values  # noqa: E731
    assert empty(mended.onlooker.views(batch)) == 0
    assert empty(paper.onlooker.views(batch)) == 128
    again = make_batch()
    again.points, again.plain = again.plain_points(), None
    again.turn, again.shift = torch.eye(3).double().expand(3, 3, 3), torch.zeros(3, 3).double()
    images = mended.onlooker.views(again).images
    assert torch.equal(mended.onlooker.views(batch).images, images)
    assert not torch.equal(paper.onlooker.views(batch).images, paper.onlooker.views(again).images)


def test_the_first_token_is_always_visible_in_the_paper_and_not_by_default() -> None:
    batch = make_batch(4)
    shares = {}
    for fidelity in ("mended", "paper"):
        method = make(fidelity=fidelity)
        first = [method.mask(batch).visible[0][:, 0] for _ in range(30)]
        shares[fidelity] = torch.stack(first).float().mean(0)
    assert shares["paper"][0] == 1
    assert (shares["paper"][1:] < 1).all() and (shares["mended"] < 1).all()


def test_points_behind_a_surface_have_no_target_unless_released() -> None:
    batch = make_batch()
    counts = []
    for visibility in (True, False):
        method = make(targets={"visibility": visibility})
        masked = seeded(lambda m=method: m.mask(batch))
        with torch.no_grad():
            pairs = method.image_pairs(batch, masked, method.decode(batch, masked))
        counts.append(len(pairs.target))
        shown = int(masked.visible[1].sum())
    assert counts[1] == shown * 4 * 3
    assert 0.2 * counts[1] < counts[0] < 0.95 * counts[1]


def test_shapes_of_which_views_show_nothing_have_no_image_loss(monkeypatch) -> None:
    method, batch = make(), make_batch()
    real = method.onlooker.views

    def blind(batch):
        views = real(batch)
        views.visible = torch.zeros_like(views.visible)
        return views

    monkeypatch.setattr(method.onlooker, "views", blind)
    output = method(batch)
    output.loss.backward()
    assert output.logs["loss_images"] == 0 and output.logs["num_pairs"] == 0
    assert output.loss.item() == pytest.approx(float(output.logs["loss_points"]))
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert float(output.logs["entropy"]) == pytest.approx(1), "nothing to be guided by"


def test_standardised_targets_have_zero_mean_and_unit_deviation() -> None:
    method, batch = make(targets={"visibility": True}), make_batch(8)
    method.prepare([batch])
    known = method.onlooker.look(batch)
    shape = torch.arange(8)
    rows = known.features_at(
        shape, torch.arange(96).expand(8, 96), known.views.visible.transpose(1, 2)
    )
    rows = (rows - method.channel_mean) * method.channel_scale
    assert rows.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(rows.std(0)[:2], torch.ones(2), atol=1e-3, rtol=0)
    assert (rows[:, 2] == 0).all(), "a constant channel is no target, and no division by zero"
    raw = make(targets={"standardize": False})
    raw.prepare([batch])
    assert (raw.channel_mean == 0).all() and (raw.channel_scale == 1).all()


def test_a_plain_masked_autoencoder_takes_no_teacher() -> None:
    options = {"masking": {"guided": False}, "targets": {"images": False}}
    method, batch = make(plain=True, **options), make_batch()
    method.prepare([batch])
    output = method(batch)
    assert output.loss.item() == pytest.approx(float(output.logs["loss_points"]))
    assert method.onlooker is None and not method.frozen
    assert not any("image" in name or "channel" in name for name in method.state_dict())
    for still in ({"masking": {"guided": False}}, {"targets": {"images": False}}):
        with pytest.raises(ValueError, match=r"guided=false and method\.targets\.images=false"):
            make(plain=True, **still)


def test_teacher_and_decoder_stay_out_of_the_student() -> None:
    method = make()
    names = {name.split(".")[0] for name in method.state_dict()}
    assert names == {
        "student", "decoder", "point_head", "image_head", "channel_mean", "channel_scale"
    }  # fmt: skip
    assert all(p.requires_grad for p in method.parameters())
    assert method.double().frozen["teacher"].weight.dtype == torch.float64
    assert {n.split(".")[0] for n in method.student.state_dict()} == {
        "embeddings", "stages", "norms"
    }  # fmt: skip


def test_training_lowers_both_losses_and_leaves_the_teacher_bit_equal() -> None:
    method, batch = make(), make_batch(6)
    method.prepare([batch])
    before = method.frozen["teacher"].weight.clone()
    optimizer = torch.optim.Adam(method.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        output = method(batch)
        output.loss.backward()
        optimizer.step()
        losses.append([float(output.logs[name]) for name in ("loss_points", "loss_images")])
    early, late = (torch.tensor(part).mean(0) for part in (losses[:5], losses[-5:]))
    assert late[0] < 0.93 * early[0] and late[1] < 0.5 * early[1]
    assert torch.equal(method.frozen["teacher"].weight, before)


def test_what_is_remembered_equals_what_is_asked_bit_for_bit() -> None:
    batch = make_batch(4)
    remembering = make(views={"size": 40, "cache": 3})
    first, again = remembering.onlooker.look(batch), remembering.onlooker.look(batch)
    assert remembering.frozen["teacher"].num_images == 24, "4 do not fit into 3"
    assert torch.equal(first.features, again.features)
    ample = make(views={"size": 40, "cache": 4})
    kept = [ample.onlooker.look(make_batch(4)) for _ in range(2)]
    assert ample.frozen["teacher"].num_images == 12 and ample.onlooker.num_recalled == 4
    plain = make().onlooker.look(batch)
    for known in (first, *kept):
        torch.testing.assert_close(known.features, plain.features)
        torch.testing.assert_close(known.saliency, plain.saliency)
    other = make_batch(4)
    other.plain = other.plain + 0.1 * torch.randn(other.plain.shape)
    ample.onlooker.look(other)
    assert ample.frozen["teacher"].num_images == 24, "other pictures are looked at"


def test_augmented_samples_of_all_points_show_the_same_pictures() -> None:
    """What makes the cache worth having: the order of the points and their map change nothing."""
    source = ProceduralShapes.Config(per_class=1, surface_points=96)
    data = Shapes(ShapeDataConfig(source=source, num_points=96, val_fraction=0.0), "train", 0)
    method = make(views={"size": 40, "cache": 20})
    for epoch in range(2):
        samples = [data[epoch * len(data) + n] for n in range(len(data))]
        method.onlooker.look(collate_shapes(samples))
    assert method.onlooker.num_recalled == len(data)


@pytest.mark.parametrize(
    "extent", [(0, 0, 0), (1, 0, 0), (1, 1, 0)], ids=["one point", "line", "plane"]
)
def test_degenerate_shapes_have_losses(extent) -> None:
    batch = make_batch()
    batch.plain = None
    batch.points[1] *= torch.tensor(extent, dtype=torch.float32)
    batch.points[2, 10:] = batch.points[2, :10].repeat(9, 1)[:86]  # copies
    for fidelity in ("mended", "paper"):
        output = make(fidelity=fidelity)(batch)
        output.loss.backward()
        assert output.loss.isfinite() and output.logs["num_pairs"] > 0


def test_bad_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="40 points, but scale 1 makes 48 tokens"):
        make()(make_batch(points=40))
    bad = make_batch()
    bad.plain[0, 5] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        make()(bad)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fidelity": "papr"}, r"method\.fidelity"),
        ({"views": {"depth": "sum"}}, r"method\.views\.depth"),
        ({"views": {"directions": ["up"]}}, "direction is 'up'"),
        ({"views": {"directions": ["x", "x"]}}, "repeats"),
        ({"views": {"size": 5}}, r"method\.views\.size"),
        ({"views": {"margin": 0.5}}, r"method\.views\.margin"),
        ({"masking": {"ratio": 1.0}}, r"method\.masking\.ratio"),
        ({"masking": {"temperature": 0.0}}, r"method\.masking\.temperature"),
        ({"targets": {"weight_points": 0.0, "weight_images": 0.0}}, "no loss is left"),
        ({"targets": {"weight_points": 0.0, "images": False}}, "no loss is left"),
        ({"decoder_depths": [1, 1, 1, 1]}, r"method\.decoder_depths"),
        ({"masking": {"ratio": 0.05}}, r"method\.masking\.ratio"),
    ],
)
def test_keys_that_cannot_be_are_named(options, words) -> None:
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_students_without_tokens_and_teachers_without_saliency_are_refused() -> None:
    with pytest.raises(ValueError, match=r"SparseUNet has none; give student\.name point_mae"):
        I2PMAE(make_config_of(), SparseUNet(SparseUNet.Config(variant="small")), CellMeans())

    class Blind(CellMeans):
        features_and_saliency = Teacher.features_and_saliency

    with pytest.raises(ValueError, match=r"no saliency.*masking\.guided=false"):
        make(Blind())(make_batch())
    make(Blind(), masking={"guided": False})(make_batch())


@pytest.mark.parametrize("depths", [[1], [1, 1, 1]])
def test_the_decoder_may_end_at_any_scale(depths) -> None:
    method, batch = make(decoder_depths=depths), make_batch()
    output = method(batch)
    output.loss.backward()
    assert output.logs["num_pairs"] > 0
    without = [n for n, p in method.named_parameters() if p.grad is None]
    # without a stage at the finest scales their norms are not asked
    allowed = {f"student.norms.{n}.{k}" for n in range(3 - len(depths)) for k in ("weight", "bias")}
    assert set(without) == allowed


def test_figures_of_evaluation() -> None:
    method = make().train()
    batches = [make_batch(1) for _ in range(3)]
    method.prepare(batches)
    figures = method.evaluate(iter(batches))
    assert method.training, "evaluation leaves the mode as it was"
    assert figures == method.evaluate(iter(batches)), "the masks are always the same"
    assert figures["num_shapes"] == 3
    assert figures["points/explained"] == pytest.approx(0, abs=0.2), "heads begin at the centres"
    assert figures["images/explained"] == pytest.approx(0, abs=0.4), "and at the mean"
    assert 0 < figures["masks/entropy"] < 1 and figures["masks/guidance"] > 0.9
    assert figures["points/chamfer"] > 0 and 0 < figures["masks/visible"] < 1


def run_config(run: Path, **changes):
    values = {
        "run": str(run),
        "device": "cpu",
        "method": {"name": "i2p_mae", "views": {"size": 64, "cache": 5}},
        "student": {"name": "point_mae", **SIZES},
        "teacher": {"name": "lite0", "stage": 3},
        "data": {
            "source": {"name": "procedural_shapes", "per_class": 1, "surface_points": 96},
            "num_points": 96,
            "splits": {"val": {"split": "val"}},
        },
        "optim": {"lr": 1e-3},
        "train": {"steps": 4, "batch_size": 3, "checkpoint_every": 2, "log_every": 1},
    }
    for section, keys in changes.items():
        values[section] = {**values.get(section, {}), **keys} if keys is not None else None
    return make_config({k: v for k, v in values.items() if v is not None})


def test_resume_is_bit_equal(tmp_path) -> None:
    """The memory of a resumed run is empty: what it is told anew must be the same."""
    train(run_config(tmp_path / "whole"))
    halves = run_config(tmp_path / "halves")
    train(halves)
    train(halves, str(checkpoint_path(tmp_path / "halves", 2)))
    assert_same_run(tmp_path / "whole", tmp_path / "halves", 4)


def test_a_run_is_scored_drawn_and_exported(tmp_path) -> None:
    run = tmp_path / "run"
    train(run_config(run))
    figures = evaluate_run(run)
    assert figures["trained"]["num_shapes"] == 10 and "untrained" in figures
    record = json.loads((run / "metrics.json").read_text())
    assert record["split"] == "val" and record["teacher"] == "lite0"
    page = visualize_run(run).read_text()
    pictures = {path.stem for path in (run / "report").glob("*.png")}
    assert pictures == {"views", "reconstruction", "features", "loss"}
    assert "points/explained" in page
    with pytest.raises(ValueError, match="no shape 'chiar_0'"):
        visualize_run(run, scene="chiar_0")
    with pytest.raises(ValueError, match="give --scene"):
        visualize_run(run, frame=0)
    export_student(run, tmp_path / "export")
    points = make_batch().points
    loaded, own = PointMAE.from_pretrained(tmp_path / "export"), load_student(run)
    assert torch.equal(loaded.embed(points), own.embed(points))
    state = load_checkpoint(checkpoint_path(run, 4))["method"]
    assert not any("teacher" in name for name in state)


def test_a_run_without_a_teacher(tmp_path) -> None:
    plain = {"masking": {"guided": False}, "targets": {"images": False}}
    config = run_config(tmp_path / "run", method={"name": "i2p_mae", **plain}, teacher=None)
    train(config)
    figures = evaluate_run(tmp_path / "run")["trained"]
    assert "images/mse" not in figures and "masks/guidance" not in figures
    visualize_run(tmp_path / "run")
    assert not (tmp_path / "run" / "report" / "views.png").exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["teacher"] is None


def test_the_resolved_config_repeats_the_run(tmp_path) -> None:
    path = tmp_path / "config.yaml"
    config = run_config(tmp_path / "run", method={"name": "i2p_mae", "fidelity": "paper"})
    path.write_text(to_yaml(config))
    assert load_config([path]) == config
    assert config.method.views.depth == "summed"


@pytest.mark.parametrize("name", ["i2p_mae_small", "i2p_mae_modelnet40", "i2p_mae_shapenet55"])
def test_shipped_configs_are_valid(name) -> None:
    config = load_config([REPOSITORY / "configs" / "pretrain" / f"{name}.yaml"])
    assert config.method.fidelity == "mended" and config.data.num_points >= 1024
    if name != "i2p_mae_small":
        assert config.student == PointMAE.Config(), "the paper's network"


def test_a_real_shape_tells_trained_from_untrained(shared_data) -> None:
    """The small config on real shapes and a real teacher, some steps on one batch."""
    path = REPOSITORY / "configs" / "pretrain" / "i2p_mae_small.yaml"
    root = shared_data / "objects" / "modelnet10"
    overrides = ["data.source.name=shape_npz", f"data.source.root={root}"]
    config = load_config([path], overrides)
    method = build(config).method
    data = method.make_dataset(config.data, "val", 0)
    batch = collate_shapes([data[n * 50] for n in range(4)])
    method.prepare([batch])
    optimizer = torch.optim.Adam(method.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        output = method(batch)
        output.loss.backward()
        optimizer.step()
        losses.append([output.logs[name].item() for name in ("loss_points", "loss_images")])
    early, late = (torch.tensor(part).mean(0) for part in (losses[:2], losses[-2:]))
    assert (late < early).all()
    assert 1 < output.logs["guidance"] < 3 and 0.2 < output.logs["entropy"] < 0.95


def test_half_precision_changes_the_loss_but_little() -> None:
    method, batch = make(student={"drop_path": 0.0}), make_batch()
    exact = seeded(lambda: method(batch).loss.item())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = seeded(lambda: method(batch))
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(exact, rel=0.05)
