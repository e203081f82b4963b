"""What holds for every teacher: shapes at any size, frozen, and cells where they are declared."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from pcpt import registry
from pcpt.teachers import Teacher
from pcpt.teachers.base import fold_batch_norm

ALL = ("lite0", "resnet18", "resnet34", "resnet50", "dinov2", "clip")


def test_all_are_registered() -> None:
    assert {*ALL, "random"} <= set(registry.list_names("teachers"))


def test_importing_the_package_does_not_import_transformers() -> None:
    code = (
        "import sys; from pcpt import registry; registry.list_names('teachers'); "
        "sys.exit(bool({'transformers', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ALL)
def test_map_covers_images_of_any_size(build, images, name) -> None:
    teacher = build(name)
    for height, width in ((75, 101), (64, 64), (33, 70)):
        out = teacher(images[:, :, :height, :width])
        expected = (2, teacher.channels, -(-height // teacher.stride), -(-width // teacher.stride))
        assert out.shape == expected
        assert out.dtype == torch.float32
        assert out.isfinite().all() and out.std() > 0


@pytest.mark.parametrize("name", ALL)
def test_frozen_and_bit_equal_after_training(build, images, name) -> None:
    teacher = build(name)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    first = teacher(images)
    head = nn.Conv2d(teacher.channels, 4, 1)
    model = nn.ModuleList([teacher, head]).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        features = teacher(images)
        assert not features.requires_grad
        head(features).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert torch.equal(teacher(images), first)


@pytest.mark.parametrize("name", ALL)
def test_same_seed_state_outside(build, images, name) -> None:
    build(name)  # the first call makes the folder that the family is loaded from, which draws
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(name)
    assert torch.equal(torch.rand(3), expected)


def centroid(teacher: Teacher, size: int, cells: int = 6) -> torch.Tensor:
    """(2,) row and column of the centre of cell (0, 0), from where gradients of cells fall."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, size, size), generator=generator).float()
    images.requires_grad_()
    features = teacher.features(images)
    middle = features.shape[2] // 2
    pixels = torch.arange(size, dtype=torch.float32)
    found = []
    for k in range(cells):
        i, j = middle + k % 3 - 1, middle + k // 3 - 1
        probe = torch.randn(features.shape[:2], generator=generator)
        total = (features[:, :, i, j] * probe).sum()
        gradient = torch.autograd.grad(total, images, retain_graph=True)[0].abs().sum((0, 1))
        mass = gradient.sum()
        row, column = (gradient.sum(1) * pixels).sum(), (gradient.sum(0) * pixels).sum()
        found.append(
            torch.stack([row / mass - teacher.stride * i, column / mass - teacher.stride * j])
        )
    return torch.stack(found).mean(0)


@pytest.mark.parametrize("stage", [3, 5])
def test_trained_lite0_cells_lie_where_declared(build, stage) -> None:
    teacher = build("lite0", stage=stage)
    found = centroid(teacher, 320)
    tolerance = 0.12 * teacher.stride  # 7.5 from 15 is 0.47
    assert (found - teacher.offset).abs().max() < tolerance, found


def test_random_lite0_cells_lie_where_declared(build, images) -> None:
    teacher = build("lite0", weights="random", stage=4)
    teacher.calibrate([images])
    found = centroid(teacher, 320, cells=9)
    assert (found - teacher.offset).abs().max() < 0.15 * teacher.stride, found


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("options", [{"stage": 2}, {"stage": 3}, {"output_stride": 8}])
def test_resnet_cells_lie_where_declared(build, name, options) -> None:
    """With equal weights in every kernel only the geometry is left, and the centre is exact."""
    teacher = build(name, **options)
    for parameter in teacher.parameters():
        parameter.fill_(1 / parameter[0].numel() if parameter.ndim == 4 else 0)
    # a constant image makes ties, which a max pool gives to its first pixel: take the mean instead
    teacher.embedder.pooler = nn.AvgPool2d(3, 2, 1)
    images = torch.full((1, 3, 768, 768), 255.0, requires_grad=True)
    cell = 384 // teacher.stride
    teacher.features(images)[0, :, cell, cell].sum().backward()
    mass = images.grad.sum((0, 1))
    pixels = torch.arange(768.0) - teacher.stride * cell
    assert mass.sum() > 0
    for axis in (0, 1):
        found = (mass.sum(axis) * pixels).sum() / mass.sum()
        assert abs(float(found) - teacher.offset) < 0.1


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_patches_lie_where_declared(build, name) -> None:
    """Attention sees the whole image, so the patch is found from the embedding's own input."""
    teacher = build(name, layer=1, norm=False)
    size = 8 * teacher.stride + 5  # padded to 9 patches
    images = torch.rand(1, 3, size, size) * 255
    base = teacher.features(images)
    for i, j in ((0, 0), (3, 5)):
        moved = images.clone()
        row, column = (round(teacher.offset + teacher.stride * k) for k in (i, j))
        moved[:, :, row - 1 : row + 2, column - 1 : column + 2] += 200
        change = (teacher.features(moved) - base).square().sum(1)[0]
        assert divmod(int(change.argmax()), change.shape[1]) == (i, j)
    # the window is that of the patch to the pixel: its corner moves it most, one further does not
    first = [round(teacher.offset + teacher.stride * k - (teacher.stride - 1) / 2) for k in (3, 5)]
    for shift, inside in ((0, True), (-1, False)):
        moved = images.clone()
        moved[:, :, first[0] + shift, first[1] + shift] += 2000
        change = (teacher.features(moved) - base).square().sum(1)[0]
        assert (divmod(int(change.argmax()), change.shape[1]) == (3, 5)) is inside


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 4, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 3, 0, 8, dtype=torch.uint8),
    ],
)
def test_other_images_are_refused(build, bad) -> None:
    with pytest.raises(ValueError, match="images are"):
        build("lite0", stage=3)(bad)


def test_folding_keeps_the_numbers() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 7, 3, bias=False), nn.BatchNorm2d(7), nn.Conv2d(7, 5, 1))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 9, 9) * 3 + 1)
        net.eval()
        x = torch.randn(2, 3, 9, 9)
        expected = net(x)
        fold_batch_norm(net)
        assert isinstance(net[1], nn.Identity)
        torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["lite0", "resnet18"])
def test_saliency_of_convolutional_networks_is_the_energy_of_their_map(build, images, name):
    teacher = build(name)
    expected = torch.stack([(m * m).sum(0) / teacher.channels for m in teacher(images)])
    torch.testing.assert_close(teacher.saliency(images), expected)
    assert teacher.saliency(images).shape == (2, *teacher(images).shape[2:])
    with pytest.raises(ValueError, match="uint8"):
        teacher.saliency(images.float())


def test_a_random_teacher_has_the_saliency_of_what_it_stands_for(images):
    teacher = registry.get("teachers", "random")
    network = teacher(teacher.Config(of="lite0"))
    with pytest.raises(ValueError, match="calibrate"):
        network.saliency(images)
    network.calibrate([images])
    torch.testing.assert_close(network.saliency(images), network(images).square().mean(1))


def test_a_teacher_without_saliency_names_the_remedy(images):
    class Plain(Teacher):
        def features(self, images):
            return images.float()

    with pytest.raises(ValueError, match=r"Plain has no saliency.*lite0.*masking\.guided=false"):
        Plain().saliency(images)
