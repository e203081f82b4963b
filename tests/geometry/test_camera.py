"""Camera: projection by hand, round trips through resized, cropped and mirrored images, errors."""

import itertools
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.geometry import Camera

INTRINSICS = torch.tensor([[585.0, 1.5, 320.0], [0, 580.0, 240.0], [0, 0, 1]])


def pose(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    skew = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    result = torch.eye(4, dtype=torch.float64)
    result[:3, :3] = torch.linalg.matrix_exp(skew - skew.T)
    result[:3, 3] = torch.randn(3, generator=generator, dtype=torch.float64)
    return result


def test_projection_by_hand() -> None:
    camera = Camera(torch.tensor([[100.0, 0, 50], [0, 200, 40], [0, 0, 1]]), 80, 101)
    points = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 2.0], [-0.5, 0.1, 0.5]])
    uv, z = camera.project(points)
    assert uv.tolist() == [[50.0, 40.0], [100.0, 140.0], [-50.0, 80.0]]
    assert z.tolist() == [1.0, 2.0, 0.5]


def test_the_default_device_does_not_matter() -> None:
    points, depth, turned = torch.rand(5, 3), torch.rand(40, 60), pose()

    def use() -> list[Tensor]:
        camera = Camera([[50, 0, 30], [0, 50, 20], [0, 0, 1]], 40, 60)
        camera = (
            Camera(camera.intrinsics, 40, 60, turned)
            .resized(80, 120)
            .flipped()
            .cropped(0, 0, 40, 60)
        )
        return [camera.world_to_camera, *camera.project(points), *camera.unproject(depth)]

    expected = use()
    with torch.device("meta"):
        results = use()
    assert all(torch.equal(*pair) for pair in zip(results, expected))


def test_pose_maps_camera_to_world() -> None:
    """A camera at x = 5 that looks along world y (its own z), with world z up (its own -y)."""
    camera_to_world = torch.tensor(
        [[1.0, 0, 0, 5], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    camera = Camera(torch.tensor([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]]), 7, 9, camera_to_world)
    uv, z = camera.project(torch.tensor([[5.0, 2.0, 0.0], [5.2, 2.0, 0.4]]))
    assert z.tolist() == [2.0, 2.0]
    torch.testing.assert_close(uv, torch.tensor([[4.0, 3.0], [5.0, 1.0]]))
    depth = torch.zeros(7, 9)
    depth[3, 4] = 2.0
    points, pixel_index = camera.unproject(depth)
    torch.testing.assert_close(points, torch.tensor([[5.0, 2.0, 0.0]]))
    assert pixel_index.tolist() == [3 * 9 + 4]


def test_unproject_skips_what_was_not_measured() -> None:
    camera = Camera(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]), 2, 3)
    depth = torch.tensor([[1.0, 0.0, torch.nan], [-1.0, torch.inf, 2.0]])
    points, pixel_index = camera.unproject(depth)
    assert points.tolist() == [[0.0, 0.0, 1.0], [4.0, 2.0, 2.0]]
    assert pixel_index.tolist() == [0, 5]
    assert points.dtype == torch.float32 and pixel_index.dtype == torch.int64
    points, pixel_index = camera.unproject(torch.zeros(2, 3))
    assert points.shape == (0, 3) and pixel_index.shape == (0,)


def change(camera: Camera, name: str, rng: random.Random) -> tuple[Camera, Callable]:
    """A changed camera, and how the change moves a pixel."""
    if name == "flipped":
        return camera.flipped(), lambda uv: torch.stack((camera.width - 1 - uv[:, 0], uv[:, 1]), 1)
    if name == "resized":
        height, width = rng.randint(90, 700), rng.randint(90, 700)
        scale = torch.tensor([width / camera.width, height / camera.height], dtype=torch.float64)
        return camera.resized(height, width), lambda uv: (uv + 0.5) * scale - 0.5
    height, width = rng.randint(60, camera.height), rng.randint(60, camera.width)
    top, left = rng.randint(-9, camera.height - height), rng.randint(-9, camera.width - width)
    shift = torch.tensor([left, top], dtype=torch.float64)
    return camera.cropped(top, left, height, width), lambda uv: uv - shift


@pytest.mark.parametrize("names", itertools.product(["resized", "cropped", "flipped"], repeat=3))
def test_pixels_survive_unproject_and_project(names: tuple[str, ...]) -> None:
    """Also pins each change to its pixel map, by following world points through it."""
    rng = random.Random(str(names))
    camera = Camera(INTRINSICS, 480, 640, pose(len(names[0])))
    for name in names:
        before = camera
        camera, pixel_map = change(before, name, rng)
        generator = torch.Generator().manual_seed(1)
        depth = 0.3 + 8 * torch.rand(camera.height, camera.width, generator=generator)
        points, pixel_index = camera.unproject(depth)
        row, column = pixel_index // camera.width, pixel_index % camera.width
        expected = torch.stack((column, row), dim=1).double()
        uv, z = camera.project(points.double())
        assert (uv - expected).abs().max() < 1e-3
        assert (z - depth.reshape(-1)).abs().max() < 1e-5
        assert (camera.project(points)[0] - expected).abs().max() < 1e-3
        # The same world points in the image before the change, moved by its pixel map.
        assert (pixel_map(before.project(points.double())[0]) - uv).abs().max() < 1e-6


def test_resizing_an_image_moves_its_content_as_the_camera_says() -> None:
    """The centre of a bright square, before and after torch resizes the image."""
    image = torch.zeros(1, 1, 60, 80, dtype=torch.float64)
    image[..., 20:30, 36:52] = 1

    def centroid(picture: Tensor) -> Tensor:
        picture = picture[0, 0]
        rows = torch.arange(picture.shape[0]).double() @ picture.sum(1)
        columns = torch.arange(picture.shape[1]).double() @ picture.sum(0)
        return torch.stack((columns, rows)) / picture.sum()

    camera = Camera(torch.tensor([[50.0, 0, 40], [0, 50, 30], [0, 0, 1]]), 60, 80)
    ray = torch.linalg.inv(camera.intrinsics) @ torch.cat((centroid(image), torch.ones(1)))
    for height, width in ((120, 160), (90, 100), (30, 40)):
        resized = torch.nn.functional.interpolate(
            image, size=(height, width), mode="bilinear", antialias=True
        )
        uv, _ = camera.resized(height, width).project(ray[None])
        assert (uv[0] - centroid(resized)).abs().max() < 0.05


def test_flip_twice_and_resize_back_are_identities() -> None:
    camera = Camera(INTRINSICS, 480, 640, pose())
    for same in (camera.flipped().flipped(), camera.resized(99, 77).resized(480, 640)):
        torch.testing.assert_close(same.intrinsics, camera.intrinsics, rtol=1e-12, atol=1e-9)
        assert torch.equal(same.camera_to_world, camera.camera_to_world)
        assert (same.height, same.width) == (480, 640)


def test_world_to_camera_inverts_a_slightly_off_pose() -> None:
    off = pose()
    off[:3, :3] *= 1 - 1.5e-4  # determinant off by 5e-4, as on disk
    camera = Camera(INTRINSICS, 480, 640, off)
    identity = camera.world_to_camera @ camera.camera_to_world
    torch.testing.assert_close(identity, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)
    assert camera.world_to_camera[3].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_project_keeps_dtype_and_device(dtype: torch.dtype, device: torch.device) -> None:
    camera = Camera(INTRINSICS, 480, 640)
    uv, z = camera.project(torch.tensor([[0.0, 0.0, 2.0]], dtype=dtype, device=device))
    assert uv.dtype == z.dtype == dtype
    assert uv.device.type == z.device.type == device.type
    assert uv.tolist() == [[320.0, 240.0]]


def test_project_is_differentiable() -> None:
    camera = Camera(INTRINSICS, 480, 640)
    points = torch.tensor([[0.1, 0.2, 2.0], [-1.0, 0.3, 1.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(camera.project, (points.requires_grad_(),))


def test_stored_matrices_are_float64_copies() -> None:
    given = INTRINSICS.clone()
    camera = Camera(given, 480, 640)
    given.zero_()
    assert torch.equal(camera.intrinsics, INTRINSICS.double())
    assert camera.intrinsics.dtype == camera.camera_to_world.dtype == torch.float64
    assert Camera(INTRINSICS.tolist(), 480, 640).intrinsics.tolist() == INTRINSICS.tolist()
    assert Camera(INTRINSICS.numpy(), 480, 640).width == 640


MIRRORED = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
SHEARED = torch.tensor([[1.0, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"intrinsics": torch.eye(4)}, r"intrinsics is \(4, 4\), expected \(3, 3\)"),
        ({"intrinsics": INTRINSICS.T}, "is the matrix transposed"),
        ({"intrinsics": INTRINSICS * torch.nan}, "inf or nan"),
        ({"intrinsics": torch.diag(torch.tensor([0.0, 1, 1]))}, "focal lengths 0.0, 1.0"),
        ({"intrinsics": torch.diag(torch.tensor([1.0, -1, 1]))}, "focal lengths 1.0, -1.0"),
        ({"intrinsics": [[1, 0, 0], [1, 1, 0], [0, 0, 1]]}, r"intrinsics\[1\]\[0\] is 1.0"),
        ({"height": 0}, "height is 0"),
        ({"width": 2.5}, "width is 2.5"),
        ({"camera_to_world": torch.eye(3)}, r"camera_to_world is \(3, 3\)"),
        ({"camera_to_world": torch.eye(4) / 0}, "tracking lost"),
        ({"camera_to_world": 2 * torch.eye(4)}, "last row"),
        ({"camera_to_world": MIRRORED}, "determinant -1.0000"),
        ({"camera_to_world": torch.diag(torch.tensor([1.0, 1, 1.03, 1]))}, "determinant 1.03"),
        ({"camera_to_world": SHEARED}, "off the identity by 0.400"),
    ],
)
def test_bad_cameras(change: dict[str, object], message: str) -> None:
    arguments = {"intrinsics": INTRINSICS, "height": 480, "width": 640}
    with pytest.raises(ValueError, match=message):
        Camera(**(arguments | change))


def test_bad_points_and_depth() -> None:
    camera = Camera(INTRINSICS, 480, 640)
    with pytest.raises(ValueError, match=r"\(640, 480\).*\(480, 640\).*resized"):
        camera.unproject(torch.zeros(640, 480))
    with pytest.raises(ValueError, match="int16"):
        camera.unproject(torch.zeros(480, 640, dtype=torch.int16))
    with pytest.raises(ValueError, match=r"\(5, 4\)"):
        camera.project(torch.zeros(5, 4))
    with pytest.raises(ValueError, match="int64"):
        camera.project(torch.zeros(5, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="height is 0"):
        camera.resized(0, 10)
    with pytest.raises(ValueError, match="width is -2"):
        camera.cropped(0, 0, 10, -2)
