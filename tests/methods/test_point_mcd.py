"""PointMCD: which codeword belongs to which view, what is cached, and what is learnt."""

import json
import logging
from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pcpt import registry
from pcpt.config import make_config
from pcpt.data.partly_labelled import PartlyLabelled
from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import Shapes
from pcpt.data.shape_views import ShapeViews, ViewConfig, ViewedDataConfig, whole_shape
from pcpt.data.sources.procedural_shapes import ProceduralShapeSet
from pcpt.engine.evaluation import comparison, evaluate_run
from pcpt.engine.export import export_student, load_student
from pcpt.engine.run import build, dry_run, train
from pcpt.engine.visualization import visualize_run
from pcpt.methods.codeword_bank import CodewordBank, codewords_of, weights_hash
from pcpt.methods.point_mcd import PointMCD
from pcpt.methods.point_mcd_heads import PartHead
from pcpt.metrics.codewords import codeword_figures, first_recall
from pcpt.ops import hidden_point_removal
from tests.data.shape_writers import write_npz_singles

VIEWS = {"num_views": 4, "elevations": [25.0], "image_size": [24, 24], "radius_pixels": 1}
SOURCE = {"name": "procedural_shapes", "per_class": 3, "classes": ["mug", "table", "knife"]}


class Corners(nn.Module):
    """A teacher whose codeword says what the picture shows: its four quarters' brightness."""

    channels, stride, offset, needs_calibration = 4, 8, 3.5, False

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.asked = 0

    codeword_channels = 4

    def codewords(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        rows = nn.functional.adaptive_avg_pool2d(images.float().mean(1) / 255, 2)
        return rows.flatten(1) * self.gain


def data(**options: Any) -> ViewedDataConfig:
    source = registry.get("datasets", "procedural_shapes").Config(
        **{**SOURCE, "surface_points": 200}
    )
    values = {"source": source, "num_points": 64, "views": ViewConfig(**VIEWS), "val_fraction": 0.0}
    return ViewedDataConfig(**{**values, **options})


def batch_of(config: ViewedDataConfig, numbers: range = range(4), seed: int = 0) -> ShapeBatch:
    shapes = Shapes(config, "train", seed)
    return collate_shapes([shapes[n] for n in numbers])


def method(teacher: Any = None, student: str = "pointnet", **options: Any) -> PointMCD:
    torch.manual_seed(0)
    network = registry.get("students", student)
    config = network.Config(width=0.125, **({"k": 6} if student == "dgcnn" else {}))
    made = options.pop("data", None) or data()
    return PointMCD(PointMCD.Config(hidden=16, **options), network(config), teacher, made)


def test_codewords_come_in_the_order_of_the_cameras() -> None:
    bank, teacher, batch = CodewordBank(data()), Corners(), batch_of(data())
    found = bank.codewords(batch.names, teacher)
    views = ShapeViews(ViewConfig(**VIEWS))
    for row, name in enumerate(batch.names):
        surface = views.surface(Shapes(data(), "train", 0, training=False), name)
        for view in range(4):
            alone = codewords_of(teacher, views.pictures(*surface, torch.tensor([view])))
            assert torch.allclose(found[row, view], alone[0], atol=1e-3)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-2)


@pytest.mark.parametrize("rotation", ["none", "up", "all"])
def test_visibility_follows_rotation_scale_and_translation(rotation: str) -> None:
    """What the bank says of the plain shape holds for the augmented one seen by moved cameras."""
    augment = {"rotation": rotation, "scale_axes": False, "translate": 0.3}
    config = data()
    config = replace(config, num_points=0, augment=replace(config.augment, **augment))
    batch, bank = batch_of(config), CodewordBank(config)
    cameras = bank.views.camera_to_world[:, :3, 3]
    moved = cameras @ batch.turn.mT + batch.shift[:, None]
    expected = hidden_point_removal(batch.points.double(), moved, 100.0)
    found = bank.visible(batch)
    # float32 points move a handful of decisions on the hull's rim
    assert float((found == expected).float().mean()) > 0.995
    assert not torch.equal(found[:, 0], found[:, 2])
    if rotation != "none":  # cameras that stay behind see something else
        still = hidden_point_removal(batch.points.double(), cameras.expand(4, 4, 3), 100.0)
        assert float((found == still).float().mean()) < 0.95


def test_visibility_is_of_the_points_of_the_sample() -> None:
    config = data()
    bank = CodewordBank(config)
    few, all_points = (
        batch_of(config),
        batch_of(replace(config, num_points=0, augment=config.augment)),
    )
    whole = bank.visible(all_points)
    found = bank.visible(few)
    assert few.names == all_points.names and found.shape == (4, 4, 64)
    for row in range(4):
        assert torch.equal(found[row], whole[row][:, few.point_number[row]])


def test_cache_is_read_and_shared(tmp_path: Path) -> None:
    teacher, names = Corners(), batch_of(data()).names
    first = CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    assert teacher.asked == 16
    again = CodewordBank(data(), str(tmp_path)).codewords([*names, names[0]], teacher)
    assert teacher.asked == 16 and torch.equal(again[:4], first) and torch.equal(again[4], first[0])
    assert torch.equal(CodewordBank(data()).codewords(names, teacher), first)  # rounded alike
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) == 4 and {p.suffix for p in files} == {".safetensors"}


def test_cache_changes_with_weights_and_cameras(tmp_path: Path) -> None:
    teacher, names = Corners(), batch_of(data()).names
    first = CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    louder = Corners(2.0)
    changed = CodewordBank(data(), str(tmp_path)).codewords(names, louder)
    assert louder.asked == 16 and torch.allclose(changed, 2 * first, atol=1e-2)
    for views in ({"elevations": [40.0]}, {"distance": 3.0}, {"image_size": [32, 32]}):
        other = data(views=ViewConfig(**{**VIEWS, **views}))
        assert not torch.equal(CodewordBank(other, str(tmp_path)).codewords(names, teacher), first)
    assert teacher.asked == 16 * 4
    other_rule = data(views=ViewConfig(**VIEWS, visibility="depth"))  # changes no picture
    CodewordBank(other_rule, str(tmp_path)).codewords(names, teacher)
    assert teacher.asked == 16 * 4
    CodewordBank(data(), str(tmp_path)).codewords(names, teacher)  # the first are still there
    assert teacher.asked == 16 * 4


def test_cache_changes_with_what_no_state_dict_holds(tmp_path: Path) -> None:
    class Flagged(Corners):
        def __init__(self, flag: bool = False, shift: float = 0.0) -> None:
            super().__init__()
            self.config = make_dataclass("Config", [("flag", bool), ("weights", str)])(flag, "x")
            self.register_buffer("shift", torch.tensor(shift), persistent=False)

        def codewords(self, images: torch.Tensor) -> torch.Tensor:
            return super().codewords(images) * (2 if self.config.flag else 1) + self.shift

    names = batch_of(data()).names
    first = CodewordBank(data(), str(tmp_path)).codewords(names, Flagged())
    doubled = CodewordBank(data(), str(tmp_path)).codewords(names, Flagged(flag=True))
    assert torch.allclose(doubled, 2 * first, atol=1e-2)
    moved = CodewordBank(data(), str(tmp_path)).codewords(names, Flagged(shift=1.0))
    assert torch.allclose(moved, first + 1, atol=1e-2)
    again = Flagged()
    again.config.weights = "y"  # from elsewhere, but the same
    assert torch.equal(CodewordBank(data(), str(tmp_path)).codewords(names, again), first)
    assert again.asked == 0


def test_other_shapes_of_the_same_name_are_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher, names = Corners(), batch_of(data()).names
    first = CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    source = registry.get("datasets", "procedural_shapes").Config(**SOURCE, seed=1)
    with caplog.at_level(logging.WARNING):
        other = CodewordBank(data(source=source), str(tmp_path)).codewords(names, teacher)
    assert not torch.equal(first, other) and "stale or damaged" in caplog.text


def test_a_damaged_cache_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    teacher, names = Corners(), batch_of(data()).names
    first = CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    files = sorted(p for p in tmp_path.rglob("*.safetensors"))
    files[0].write_bytes(files[0].read_bytes()[:-3])
    content = bytearray(files[1].read_bytes())
    content[-1] ^= 1
    files[1].write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    assert torch.equal(again, first) and teacher.asked == 16 + 8
    assert caplog.text.count("made anew") >= 2
    CodewordBank(data(), str(tmp_path)).codewords(names, teacher)
    assert teacher.asked == 16 + 8  # mended


def test_weights_hash() -> None:
    assert weights_hash(Corners()) == weights_hash(Corners())
    assert weights_hash(Corners()) != weights_hash(Corners(1.0000001))
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(2)
    before = weights_hash(norm)
    norm(torch.randn(9, 2))
    assert weights_hash(norm) != before  # statistics are part of what a network says


def test_a_name_of_two_splits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = data(splits={"train": {"split": "train"}, "val": {"split": "train"}})
    with pytest.raises(ValueError, match="in two splits"):
        bank = CodewordBank(config)
        bank.codewords(["a name of neither"], Corners())
    with pytest.raises(ValueError, match="no split"):
        CodewordBank(data()).codewords(["nobody"], Corners())


def two_splits(folder: Path) -> ViewedDataConfig:
    """Other shapes of the same names in train and test, of other numbers of points."""
    rng = np.random.RandomState(0)
    names = np.array([f"{number:04d}" for number in range(4)])
    for split, flat, count in (("train", (1, 1, 0.1), 60), ("test", (0.1, 1, 1), 90)):
        points = (rng.randn(4, count, 3) * flat).astype(np.float32)
        np.savez(folder / f"{split}.npz", points=points, label=np.arange(4) % 2, name=names)
    (folder / "classes.txt").write_text("plate\nwall\n")
    source = registry.get("datasets", "shape_npz").Config(root=str(folder))
    return data(source=source, num_points=50)


def test_shapes_of_one_name_in_two_splits_have_views_of_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = two_splits(tmp_path)
    samples = {
        split: collate_shapes([Shapes(config, split, 0, training=False)[n] for n in range(4)])
        for split in ("train", "test")
    }
    assert samples["train"].names == samples["test"].names
    both = collate_shapes([samples["test"], samples["train"]]).rows(torch.tensor([5, 1]))
    assert both.splits == ["train", "test"]
    teacher = Corners()
    bank = CodewordBank(config, str(tmp_path / "cache"))
    for split in ("train", "test"):
        batch, alone = samples[split], CodewordBank(config)  # which never saw the other split
        shapes = Shapes(config, split, 0, training=False)
        for row, name in enumerate(batch.names):
            seen = bank.views.visible(whole_shape(shapes, name))[:, batch.point_number[row]]
            assert torch.equal(bank.visible(batch)[row], seen)
            drawn = bank.views.pictures(*bank.views.surface(shapes, name))
            assert torch.equal(bank.pictures(name, split), drawn)
        expected = alone.codewords(batch.names, teacher, batch.splits)
        assert torch.equal(bank.codewords(batch.names, teacher, batch.splits), expected)
    assert not torch.equal(*(bank.codewords(both.names, teacher, [s, s]) for s in samples))
    with caplog.at_level(logging.WARNING):  # both are on disk, neither instead of the other
        again, asked = CodewordBank(config, str(tmp_path / "cache")), teacher.asked
        again.codewords(batch.names * 2, teacher, ["train"] * 4 + ["test"] * 4)
    assert teacher.asked == asked and not caplog.text
    with pytest.raises(ValueError, match=r"in two splits.*say the split"):
        bank.codewords(["0000"], teacher)


def test_figures_of_another_split_of_the_same_names(tmp_path: Path) -> None:
    config = two_splits(tmp_path)
    used, fresh = method(Corners(), data=config).eval(), method(Corners(), data=config).eval()
    train_batch, batch = (
        collate_shapes([Shapes(config, split, 0, training=False)[n] for n in range(4)])
        for split in ("train", "test")
    )
    used(train_batch)
    assert used.evaluate([batch]) == fresh.evaluate([batch])
    assert torch.equal(used.teacher_codewords(batch), fresh.teacher_codewords(batch))


def test_loss_is_the_weighted_sum() -> None:
    teacher, batch = Corners(), batch_of(data())
    model = method(teacher, label_weight=0.3, distill_weight=0.7, regulariser_weight=0.2)
    with torch.no_grad():
        model.student.feature_transform.matrix.bias.normal_()
    loss, logs = model(batch)
    parts = 0.3 * logs["loss_labels"] + 0.7 * logs["loss_views"] + 0.2 * logs["regulariser"]
    assert float(loss.detach()) == pytest.approx(float(parts), rel=1e-5)
    assert logs["num_labelled"] == 4 and logs["num_views"] == 16 and float(logs["regulariser"]) > 0


def test_mixed_precision_changes_no_codeword() -> None:
    lite0 = registry.get("teachers", "lite0")
    batch, seen = batch_of(data()), []
    for mixed in (False, True):
        model = method(lite0(lite0.Config(weights="random", stage=3)))
        model.prepare(iter([batch]))
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model(batch).loss
            seen.append(model.teacher_codewords(batch))
        loss.backward()
        assert loss.dtype == torch.float32 and bool(loss.isfinite())
    assert torch.equal(seen[0], seen[1])


def test_alone_is_the_same_student_without_a_teacher() -> None:
    batch = batch_of(data())
    alone, unweighted = method(None), method(Corners(), distill_weight=0.0)
    assert float(alone(batch).loss.detach()) == float(unweighted(batch).loss.detach())
    assert list(alone.state_dict()) == list(unweighted.state_dict())
    first = method(Corners()).state_dict()
    for name, value in method(None).state_dict().items():  # what teaches it changes no first weight
        assert torch.equal(first[name], value)


def test_views_that_show_nothing_have_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = method(Corners(), labels="none"), batch_of(data())
    plain = float(model(batch).logs["loss_views"])
    nothing = torch.zeros(4, 4, 64, dtype=torch.bool)
    monkeypatch.setattr(model.bank, "visible", lambda batch: nothing)
    loss, logs = model(batch)
    (loss + 0 * sum(p.sum() for p in model.parameters())).backward()
    assert plain > 0 and float(logs["loss_views"]) == 0 and logs["num_views"] == 0
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())
    paper = method(Corners(), labels="none", fidelity="paper")
    monkeypatch.setattr(paper.bank, "visible", lambda batch: nothing)
    assert float(paper(batch).logs["loss_views"]) > 0  # there, zeros are to meet the codewords


def test_fidelity_and_its_keys() -> None:
    assert PointMCD.Config().resolved() == ("exclude", "skip")
    assert PointMCD.Config(fidelity="paper").resolved() == ("multiply", "count")
    assert PointMCD.Config(fidelity="paper", masking="exclude").resolved() == ("exclude", "count")
    assert PointMCD.Config(empty_views="count").resolved() == ("exclude", "count")
    for wrong in ({"fidelity": "exact"}, {"masking": "and"}, {"distill_unlabelled": 1.0}):
        with pytest.raises(ValueError, match=rf"method\.{next(iter(wrong))}"):
            PointMCD.Config(**wrong)


def test_students_with_centres_see_with_their_centres() -> None:
    model, batch = method(Corners(), "pointnet2"), batch_of(data())
    encoded = model.encode(batch)
    visible = model.bank.visible(batch)
    codes = model.eval().view_codes(encoded, batch)
    for row in range(4):
        for view in range(4):
            seen = encoded.embedding[row][visible[row, view][encoded.index[row]]]
            rows = model.projection.linear(seen.max(0).values)[None]
            expected = model.projection.norm(rows).relu()[0]
            assert torch.allclose(codes.codeword[row, view], expected, atol=1e-5)


def test_any_teacher_gives_codewords() -> None:
    lite0 = registry.get("teachers", "lite0")
    model = method(lite0(lite0.Config(weights="random", stage=3)))
    batches = [batch_of(data(), range(n, n + 4)) for n in (0, 4)]
    model.prepare(iter(batches))
    assert not model.frozen["teacher"].needs_calibration
    seen = torch.cat([model.teacher_codewords(b) for b in batches]).flatten(0, 1)
    assert torch.allclose(seen.mean(0), torch.zeros(40), atol=1e-2)
    assert torch.allclose(seen.std(0), torch.ones(40), atol=1e-2)
    assert model(batches[0]).loss.isfinite()
    assert not any(name.startswith("teacher") for name in model.state_dict())


def test_random_control_of_the_view_teacher() -> None:
    family = registry.get("teachers", "view_codewords")
    made = family.Config(weights="random", codeword_channels=12)
    model = method(family(made))
    model.prepare(iter([batch_of(data())]))
    seen = model.teacher_codewords(batch_of(data()))
    assert seen.shape == (4, 4, 12) and bool((seen >= 0).all()) and float(seen.std()) > 0
    assert model(batch_of(data())).loss.isfinite()


def test_part_segmentation() -> None:
    model, batch = method(Corners(), "dgcnn", labels="part_segmentation"), batch_of(data())
    loss, logs = model(batch)
    loss.backward()
    assert float(logs["loss_labels"]) > 0 and model.head.last.weight.grad is not None
    figures = model.evaluate([batch])
    assert 0 <= figures["instance_miou"] <= 1 and "iou/mug" in figures
    with torch.no_grad():  # a head that says every part is the first: the rest of the class is lost
        model.head.last.weight.zero_()
        model.head.last.bias.zero_()
    assert model.evaluate([batch])["instance_miou"] < 0.7
    wrong = replace(batch, parts=batch.parts.clone())
    wrong.parts[1, 0] = len(model.part_names) - 1 if int(batch.label[1]) == 0 else 0
    with pytest.raises(ValueError, match=rf"{batch.names[1]} has part"):
        model(wrong)
    with pytest.raises(ValueError, match="label 7"):
        model(replace(batch, label=torch.full((4,), 7)))


def test_part_head_has_the_papers_widths() -> None:
    head = PartHead(192, 1024, 16, 50, 1.0)
    linear = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear[1:]] == [
        (1280, 256),
        (256, 256),
        (256, 128),
        (128, 50),
    ]


def test_views_may_speak_for_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = method(Corners(), label_views=True).eval(), batch_of(data())
    encoded = model.encode(batch)
    codes = model.view_codes(encoded, batch)
    views = codes.codeword.max(1).values @ model.view_classifier.weight.T
    assert torch.allclose(model.logits(encoded, batch), model.head(encoded) + views, atol=1e-6)
    assert torch.equal(model.logits(encoded, batch, codes), model.logits(encoded, batch))
    hidden = model.bank.visible(batch)
    hidden[1] = False
    monkeypatch.setattr(model.bank, "visible", lambda batch: hidden)
    assert torch.allclose(model.logits(encoded, batch)[1], model.head(encoded)[1], atol=1e-6)
    assert method(None, label_views=True).view_classifier is None
    assert method(Corners()).view_classifier is None


def test_unlabelled_shapes_have_no_label_loss() -> None:
    batch = batch_of(data())
    hidden = replace(batch, label=torch.full_like(batch.label, -1))
    for labels, student in (("classification", "pointnet"), ("part_segmentation", "dgcnn")):
        model = method(Corners(), student, labels=labels)
        some = replace(hidden, parts=torch.full_like(batch.parts, -1))
        loss, logs = model(some)
        loss.backward()
        assert float(logs["loss_labels"]) == 0 and float(logs["loss_views"]) > 0


def test_partly_labelled() -> None:
    config = data(limit=0.34)
    mixed = PartlyLabelled(config, 0, 0.75)
    samples = [mixed[n] for n in range(24)]
    known = [s for s in samples if int(s.label) >= 0]
    assert len(known) == 6 and [int(s.number) for s in samples] == list(range(24))
    labels_per_batch = [sum(int(s.label) >= 0 for s in samples[i : i + 8]) for i in (0, 8, 16)]
    assert labels_per_batch == [2, 2, 2]
    allowed = set(Shapes(config, "train", 0).names)
    assert {s.names[0] for s in known} == allowed and len(allowed) == 3
    others = [s for s in samples if int(s.label) < 0]
    assert {s.names[0] for s in others} == set(mixed.names) and len(mixed) == 9
    assert all(bool((s.parts == -1).all()) for s in others)
    again = PartlyLabelled(config, 0, 0.75)[17]
    assert torch.equal(again.points, samples[17].points) and again.names == samples[17].names
    assert all(int(PartlyLabelled(config, 0, 0.0)[n].label) >= 0 for n in range(5))
    model = method(Corners(), data=config, distill_unlabelled=0.5)
    assert isinstance(model.make_dataset(config, "train", 0), PartlyLabelled)
    with pytest.raises(ValueError, match="share"):
        PartlyLabelled(config, 0, 1.0)


def test_unlabelled_shapes_need_distillation() -> None:
    for teacher, weight in ((Corners(), 0.0), (None, 1.0)):
        with pytest.raises(ValueError, match=r"method\.distill_unlabelled is 0\.5.*set it to 0"):
            method(teacher, distill_weight=weight, distill_unlabelled=0.5)
        method(teacher, distill_weight=weight)


def test_nothing_to_learn_and_wrong_parts() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        method(None, labels="none")
    with pytest.raises(ValueError, match="needs a point network"):
        PointMCD(PointMCD.Config(), nn.Linear(3, 3), None, data())
    with pytest.raises(ValueError, match=r"method\.labels"):
        PointMCD.Config(labels="boxes")


def test_splits_of_other_classes_are_refused_where_labels_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turned = data(splits={"test": {"split": "test", "classes": ["table", "mug", "knife"]}})
    for labels in ("classification", "part_segmentation"):
        with pytest.raises(ValueError, match=r"class 0 of split 'test' is 'table', but .* 'mug'"):
            method(labels=labels).evaluation_set(turned, "test")
    pretrained = method(Corners(), labels="none")
    assert len(pretrained.evaluation_set(turned, "test")) == 9
    monkeypatch.setattr(ProceduralShapeSet, "classes", (), raising=False)
    monkeypatch.setattr(ProceduralShapeSet, "__init__", _without_classes)
    assert pretrained.evaluation_set(data(), "test").classes == ()


def _without_classes(self: ProceduralShapeSet, config: Any) -> None:
    self._config, self.names, self.classes = config, ["mug_0"], ()


def test_first_recall() -> None:
    candidates = torch.eye(3)
    own = torch.eye(3).bool()
    assert first_recall(candidates, candidates, own) == 1
    assert first_recall(candidates[[1, 2, 0]], candidates, own) == 0
    assert first_recall(torch.ones(3, 3), candidates, own) == pytest.approx(1 / 3)  # ties: chance
    assert first_recall(candidates, torch.ones(3, 3), own) == pytest.approx(1 / 3)


def test_codeword_figures() -> None:
    torch.manual_seed(0)
    teacher, label = torch.randn(6, 2, 8), torch.tensor([0, 0, 1, 1, 2, -1])
    valid = torch.ones(6, 2, dtype=torch.bool)
    perfect = codeword_figures(teacher, teacher, valid, label)
    assert perfect["views/recall@1"] == 1 and perfect["chance/recall@1"] == pytest.approx(1 / 6)
    assert perfect["views/class_recall@1"] == pytest.approx(5 / 6)  # one has no class
    swapped = codeword_figures(teacher.flip(1), teacher, valid, label)
    assert swapped["views/recall@1"] < 0.6  # another view's codeword is not the view's own
    valid[:, 1] = False
    assert codeword_figures(teacher.flip(1), teacher, valid, label).keys() == perfect.keys()
    alike = torch.eye(3)[[0, 0, 1, 1, 2, 2]][:, None].repeat(1, 2, 1) + 0.01 * teacher[..., :3]
    assert codeword_figures(alike, alike, valid, label)["pictures/class_recall@1"] == pytest.approx(
        4 / 6
    )


def test_chance_of_pictures_leaves_the_shape_itself_out() -> None:
    """As the figure beside it does: with two shapes of each of ten classes it is 1 of 19."""
    label, valid = torch.arange(10).repeat(2), torch.ones(20, 1, dtype=torch.bool)
    blind = torch.ones(20, 1, 4)
    figures = codeword_figures(blind, blind, valid, label)
    assert figures["pictures/class_recall@1"] == pytest.approx(1 / 19)
    rows = comparison({"trained": figures})
    assert rows["pictures/class_recall@1"]["chance"] == pytest.approx(100 / 19)
    assert rows["views/class_recall@1"]["chance"] == pytest.approx(10)
    assert not any("chance" in name for name in rows)
    label[10:] = -1  # shapes without a class find none of theirs
    figures = codeword_figures(blind, blind, valid, label)
    assert figures["pictures/class_recall@1"] == figures["pictures/chance/class_recall@1"] == 0


def run_tree(folder: Path, **sections: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": str(folder),
        "device": "cpu",
        "method": {"name": "point_mcd", "hidden": 16, "cache": str(folder.parent / "cache")},
        "teacher": {"name": "lite0", "weights": "random", "stage": 3},
        "student": {"name": "dgcnn", "width": 0.125, "k": 6},
        "data": {
            "source": {**SOURCE, "surface_points": 128},
            "num_points": 48,
            "val_fraction": 0.34,
            "views": VIEWS,
        },
        "optim": {"name": "adamw", "lr": 1e-3},
        "train": {"steps": 4, "batch_size": 3, "log_every": 1, "checkpoint_every": 2},
    }
    return {
        name: {**values[name], **sections[name]} if name in sections else values[name]
        for name in values
    }


def test_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    extra = {"distill_unlabelled": 0.5}
    train(make_config(run_tree(whole, method=extra)))
    name = "step_00000002.pt"
    (parts / "checkpoints").mkdir(parents=True)
    (parts / "checkpoints" / name).write_bytes((whole / "checkpoints" / name).read_bytes())
    assert train(make_config(run_tree(parts, method=extra)), resume="auto").step == 4
    states = [
        torch.load(folder / "checkpoints" / "step_00000004.pt", weights_only=True)["method"]
        for folder in (whole, parts)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_run_is_scored_shown_exported_and_taken_up(tmp_path: Path) -> None:
    config = make_config(run_tree(tmp_path / "run"))
    assert "method point_mcd" in dry_run(config)
    train(config)
    figures = evaluate_run(tmp_path / "run")
    assert set(figures) == {"untrained", "trained"} and figures["trained"]["num_shapes"] == 3
    assert {"accuracy", "views/recall@1", "chance/recall@1"} <= set(figures["trained"])
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["split"] == "val" and written["trained"] == figures["trained"]
    report = visualize_run(tmp_path / "run")
    pictures = {p.stem for p in report.parent.glob("*.png")}
    assert {"views", "codewords", "retrieval", "loss"} <= pictures
    folder = export_student(tmp_path / "run", tmp_path / "export")
    student = load_student(folder)
    assert type(student).__name__ == "DGCNN"

    tree = run_tree(tmp_path / "finetune")
    tree = {key: tree[key] for key in tree if key not in ("method", "teacher")}
    tree["data"] = {key: value for key, value in tree["data"].items() if key != "views"}
    made = make_config({**tree, "task": {"name": "classification"}, "init": str(folder)})
    train(replace(made, train=replace(made.train, steps=1)))
    report = json.loads((tmp_path / "finetune" / "init.json").read_text())
    own = [name for name in report["tensors"]["loaded"] if name.startswith("student.")]
    assert len(own) == len(student.state_dict()) and report["counts"]["loaded"] == len(own)


def test_unsupervised_run(tmp_path: Path) -> None:
    tree = run_tree(tmp_path / "run", method={"labels": "none"}, train={"steps": 1})
    train(make_config(tree))
    figures = evaluate_run(tmp_path / "run")["trained"]
    assert "accuracy" not in figures and "views/recall@1" in figures
    parts = build(make_config(tree))
    assert not any(name.startswith("head") for name in parts.method.state_dict())


def test_shapes_of_other_numbers_of_points_are_shown(tmp_path: Path) -> None:
    root = write_npz_singles(tmp_path / "cap")
    source = {"name": "shape_npz", "root": str(root), "files": "cap_*.npz", "classes": ["cap"]}
    tree = run_tree(tmp_path / "run", train={"steps": 1, "batch_size": 1})
    tree["data"] |= {"source": source, "num_points": 0, "val_fraction": 0.0}
    train(make_config(tree))
    report = visualize_run(tmp_path / "run", split="train")
    assert "cap_00, cap_01, cap_02" in report.read_text()
    assert (report.parent / "views.png").is_file()
