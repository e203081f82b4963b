"""PPKT against its definition, its frozen teacher, its open points, and learning at all."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pcpt.data.batch import collate
from pcpt.data.dataset import DataConfig, PosedFrames
from pcpt.data.transforms import rotation_to_z
from pcpt.losses import pp_nce
from pcpt.methods.ppkt import PPKT
from pcpt.metrics.pixel_point import evaluate_pixel_point
from pcpt.students import SparseUNet
from pcpt.teachers.base import Teacher
from tests.data.recordings import HEIGHT, WIDTH, MemorySource


class CellMeans(Teacher):
    """Mean colour and its square over cells of 8 pixels, displaced by ``shift`` pixels."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.channels, self.stride, self.offset = 6, 8, 3.5 - shift
        self.shift = shift
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)

    def features(self, images):
        x = images.float() / 255 * self.weight
        x = F.pad(x, (self.shift, 0, self.shift, 0), mode="replicate")
        x = F.avg_pool2d(x, 8, ceil_mode=True, count_include_pad=False)
        return torch.cat([x, x * x], 1)


def make_method(teacher=None, **changes):
    torch.manual_seed(0)
    student = SparseUNet(
        SparseUNet.Config(
            variant="small", planes=[8] * 8, blocks=[1] * 8, stem_channels=8, out_channels=8,
            voxel_size=0.05,
        )
    )  # fmt: skip
    return PPKT(PPKT.Config(**({"pairs": 256} | changes)), student, teacher or CellMeans())


def make_batch(count=2, split="train", **changes):
    source = MemorySource.Config(lengths=[8])
    config = DataConfig(source=source, image_size=[HEIGHT, WIDTH], held_out=0.25, **changes)
    data = PosedFrames(config, split, 0)
    return collate([data[n] for n in range(count)])


def test_the_loss_is_pp_nce_of_what_upsample_then_index_gives():
    """Written out by hand from the paper: upsample the projected map to full size, index it."""
    method, batch = make_method(), make_batch()
    method.prepare([batch])
    torch.manual_seed(1)
    loss = method(batch).loss
    torch.manual_seed(1)
    voxels, point_to_voxel = method.student.voxels(batch.points, batch.colors, batch.batch_index)
    pairs = method.select_pairs(batch, point_to_voxel)
    batch.pixel[pairs] = batch.pixel[pairs].round()  # the augmented pixel is fractional
    at_points = method.student(voxels).features[point_to_voxel[batch.point_index[pairs]]]
    points = F.normalize(method.student.project(at_points), dim=1)
    features = method.frozen["teacher"](batch.images)
    mean, deviation = features.mean((0, 2, 3)), features.std((0, 2, 3))
    normed = (features - mean[:, None, None]) / deviation[:, None, None]
    full = F.interpolate(method.projection(normed), size=(HEIGHT, WIDTH), mode="bilinear")
    u, v = batch.pixel[pairs].long().unbind(1)
    pixels = F.normalize(full[batch.view_index[pairs], :, v, u], dim=1)
    expected = pp_nce(points, pixels, 0.04)
    torch.manual_seed(1)
    assert method(batch).loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss.item() == pytest.approx(expected.item(), rel=0.1), "rounding pixels changes little"


def test_a_teacher_with_another_offset_gives_the_same_pixel_features():
    """A map shifted by two pixels, and declared so, is read two pixels further on."""
    image = make_batch(1, "held_out").images
    wide = F.interpolate(image.float(), scale_factor=2, mode="bilinear").to(torch.uint8)
    pixel = torch.tensor([[31.5, 31.5], [55.5, 47.5], [71.5, 39.5]])  # centres of unshifted cells
    index = torch.zeros(3, dtype=torch.int64)
    plain, shifted = CellMeans(), CellMeans(shift=2)
    found = []
    for teacher in (plain, shifted):
        method = make_method(teacher).eval()
        size = (wide.shape[2], wide.shape[3])
        found.append(method.pixel_features(method.teacher_map(wide), index, pixel, size))
    assert shifted.offset == plain.offset - 2
    assert F.cosine_similarity(*found).min() > 0.98
    method = make_method(shifted).eval()
    shifted.offset = 3.5 + 6  # a wrong declaration
    wrong = method.pixel_features(method.teacher_map(wide), index, pixel, tuple(wide.shape[2:]))
    assert F.cosine_similarity(found[0], wrong).min() < F.cosine_similarity(*found).min()


def test_training_lowers_the_loss_and_leaves_the_teacher_bit_equal():
    method, batch = make_method(temperature=0.1), make_batch()
    teacher = method.frozen["teacher"]
    before = [p.clone() for p in teacher.parameters()]
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = method(batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.3
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters()))


def test_the_teacher_is_in_no_checkpoint_and_no_optimizer_but_follows_to():
    method = make_method()
    names = {name.split(".")[0] for name in method.state_dict()}
    assert names == {"student", "projection", "channel_mean", "channel_scale"}
    assert all(p.requires_grad for p in method.parameters())
    moved = method.double()
    assert moved.frozen["teacher"].weight.dtype == torch.float64
    assert not method.train().frozen["teacher"].training


def test_fewer_pairs_than_asked_for_are_taken_as_they_are():
    method, batch = make_method(pairs=100_000, pair_per_voxel=False), make_batch()
    assert method(batch).logs["num_pairs"] == batch.num_pairs


def test_no_pairs_give_a_zero_loss_with_a_gradient():
    method, batch = make_method(), make_batch()
    for name in ("point_index", "view_index", "pixel"):
        setattr(batch, name, getattr(batch, name)[:0])
    output = method(batch)
    output.loss.backward()
    assert output.loss.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_at_most_one_pair_a_voxel():
    method, batch = make_method(pairs=100_000), make_batch()
    _, point_to_voxel = method.student.voxels(batch.points, batch.colors, batch.batch_index)
    chosen = method.select_pairs(batch, point_to_voxel)
    voxel = point_to_voxel[batch.point_index[chosen]]
    assert (
        voxel.unique().numel()
        == voxel.numel()
        == point_to_voxel[batch.point_index].unique().numel()
    )


def test_pairs_are_random_but_repeat_with_the_seed():
    method, batch = make_method(pairs=64), make_batch()
    _, point_to_voxel = method.student.voxels(batch.points, batch.colors, batch.batch_index)

    def draw(seed):
        torch.manual_seed(seed)
        return method.select_pairs(batch, point_to_voxel)

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_near_pixels_of_the_same_cloud_are_no_negatives():
    near, far = make_method(ignore_radius=0.5), make_method()
    batch = make_batch()
    torch.manual_seed(2)
    lower = near(batch).loss
    torch.manual_seed(2)
    assert lower < far(batch).loss
    everything = make_method(ignore_radius=1e6)
    single = make_batch(1)
    assert everything(single).loss.item() == pytest.approx(0, abs=1e-6)
    assert everything(batch).loss.item() > 0.1, "other clouds stay negatives, however near"


def test_near_pixels_are_told_far_from_the_origin():
    method, batch = make_method(ignore_radius=0.2), make_batch(1)
    pairs = torch.arange(0, len(batch.point_index), 7)
    near = method._ignored(batch, pairs)
    batch.world = batch.world + torch.tensor([900.0, -700.0, 0.0])
    world = batch.world[batch.point_index[pairs]].double()
    distance = (world[:, None] - world[None]).norm(dim=2)
    unsure = (distance - 0.2).abs() < 1e-6
    found = method._ignored(batch, pairs)
    assert torch.equal(found | unsure, (distance < 0.2) | unsure)
    assert near.any() and not near.all()


def test_the_symmetric_loss_is_the_mean_of_both_directions():
    method, batch = make_method(symmetric=True), make_batch()
    torch.manual_seed(3)
    points, pixels, *_ = method.embed(batch)
    expected = (pp_nce(points, pixels, 0.04) + pp_nce(pixels, points, 0.04)) / 2
    torch.manual_seed(3)
    assert method(batch).loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("key", ["align_corners", "standardize"])
def test_open_points_are_keys_that_change_the_result(key):
    batch = make_batch()
    losses = []
    for value in (False, True):
        method = make_method(**{key: value})
        method.prepare([batch])
        torch.manual_seed(4)
        losses.append(method(batch).loss.item())
    assert losses[0] != losses[1]


def test_a_method_for_no_pairs_or_no_projection_is_refused():
    for temperature in (0.0, -0.04, float("nan")):
        with pytest.raises(ValueError, match=rf"method\.temperature is {temperature}, expected a"):
            PPKT.Config(temperature=temperature)
    with pytest.raises(ValueError, match=r"method\.pairs"):
        make_method(pairs=1)
    student = SparseUNet(SparseUNet.Config(variant="small", out_channels=0))
    with pytest.raises(ValueError, match="out_channels"):
        PPKT(PPKT.Config(), student, CellMeans())


def test_evaluation_of_an_untrained_method():
    data = PosedFrames(
        DataConfig(
            source=MemorySource.Config(lengths=[8]), image_size=[HEIGHT, WIDTH], held_out=0.5
        ),
        "held_out",
        0,
    )
    batches = [data[n] for n in range(3)]
    method = make_method().train()
    figures = method.evaluate(batches)
    assert method.training, "evaluation leaves the mode as it was"
    assert figures["num_frames"] == 3
    assert figures["chance/recall@1"] == pytest.approx(1 / 1024)
    assert 0 <= figures["pixel_to_point/recall@10"] < 0.2
    assert figures["cross_view/num_pairs"] == 3
    assert figures["cross_view/color/recall@1"] > 0.05


class Ray:
    """Stands in for a method that knows everything: pixels and points give the ray they lie on."""

    turn = rotation_to_z(torch.tensor([0.0, -1.0, 0.0])).float()  # as samples of the recording

    def __init__(self, blind: bool) -> None:
        self.blind = blind
        self.student = self

    def voxels(self, points, colors, batch_index):
        self.rays = points @ self.turn  # back to the camera's axes
        return None, torch.arange(len(points))

    def __call__(self, voxels):
        return SimpleNamespace(features=self.rays)

    def teacher_map(self, images):
        return images

    def pixel_features(self, features, view_index, pixel, size):
        offset = pixel - torch.tensor([31.5, 23.5])
        rays = torch.cat([offset / 50, torch.ones(len(pixel), 1)], 1)
        return torch.zeros_like(rays) if self.blind else rays

    def point_features(self, decoder, voxel_index):
        return torch.zeros(len(voxel_index), 3) if self.blind else decoder[voxel_index]


@pytest.mark.parametrize("blind", [False, True])
def test_one_that_knows_everything_scores_all_and_one_that_knows_nothing_chance(blind):
    config = DataConfig(
        source=MemorySource.Config(lengths=[8]), image_size=[HEIGHT, WIDTH], held_out=0.5
    )
    data = PosedFrames(config, "held_out", 0)
    figures = evaluate_pixel_point(Ray(blind), [data[n] for n in range(3)])
    for direction in ("pixel_to_point", "point_to_pixel"):
        recall = figures[f"in_frame/{direction}/recall@1"]
        assert recall == pytest.approx(figures["in_frame/chance/recall@1"] if blind else 1.0)
        assert (figures[f"{direction}/recall@10"] > 0.99) != blind


def test_a_random_teacher_is_calibrated_once_before_training():
    class Fresh(CellMeans):
        needs_calibration = True
        seen = 0

        def calibrate(self, batches):
            for images in batches:
                self.seen += len(images)
            self.needs_calibration = False

    method = make_method(Fresh(), calibration_batches=3)
    method.prepare(make_batch(2) for _ in range(10))
    assert method.frozen["teacher"].seen == 6
    method.prepare(make_batch(2) for _ in range(10))
    assert method.frozen["teacher"].seen == 6


def test_evaluation_without_frames_says_so():
    with pytest.raises(ValueError, match="no held-out frame"):
        make_method().evaluate([])
