"""sample_pixels against the upsampled map it never builds."""

import importlib
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pcpt.ops import sample_pixels
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.sample_pixels")
SIZES = [0, 1, 7, 33, 1023]
# (cells) -> (pixels): up by whole, fractional and unequal ratios, the same, down, single cells.
SHAPES = [
    ((3, 4), (12, 16)),
    ((15, 20), (480, 640)),
    ((7, 5), (31, 44)),
    ((6, 9), (6, 9)),
    ((9, 8), (4, 5)),
    ((1, 1), (3, 2)),
    ((1, 6), (1, 17)),
    ((4, 3), (1, 1)),
]


def random_case(
    num_pairs: int,
    cells: tuple[int, int],
    pixels: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    *,
    channels: int = 5,
    whole: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_pairs + 7 * cells[0] + pixels[1])
    features = torch.rand(3, channels, *cells, generator=generator, dtype=torch.float64)
    view_index = torch.randint(3, (num_pairs,), generator=generator)
    fraction = torch.rand(num_pairs, 2, generator=generator, dtype=torch.float64)
    pixel = fraction * torch.tensor([pixels[1], pixels[0]])
    pixel = pixel.floor() if whole else pixel - 0.5
    return features.to(dtype), view_index, pixel.to(dtype)


def indexed(full: Tensor, view_index: Tensor, pixel: Tensor) -> Tensor:
    return full[view_index, :, pixel[:, 1].long(), pixel[:, 0].long()]


def test_hand_worked_table(device: torch.device, path: str) -> None:
    features = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]], device=device)
    rows = [  # 2 x 2 cells over 4 x 4 pixels: cell centres at pixels 0.5 and 2.5
        ((0.5, 0.5), 0.0),
        ((2.5, 0.5), 4.0),
        ((1.5, 0.5), 2.0),
        ((1.0, 0.5), 1.0),
        ((0.5, 1.5), 4.0),
        ((1.5, 1.5), 6.0),
        ((0.0, 0.0), 0.0),  # beyond the outer centres the edge holds
        ((-0.5, 3.5), 8.0),
        ((3.0, 3.0), 12.0),
        ((99.0, 99.0), 12.0),
    ]
    pixel = torch.tensor([row[0] for row in rows], device=device)
    view_index = torch.zeros(len(rows), dtype=torch.int64, device=device)
    result = sample_pixels(features, view_index, pixel, (4, 4))
    assert result.squeeze(1).tolist() == [row[1] for row in rows]
    # align_corners: cell centres at pixels 0 and 3
    corners = sample_pixels(features, view_index[:3], pixel[[6, 8, 4]], (4, 4), align_corners=True)
    assert corners[:2].squeeze(1).tolist() == [0.0, 12.0]
    assert corners[2].item() == pytest.approx(0.5 / 3 * 4 + 1.5 / 3 * 8)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("cells, pixels", SHAPES)
def test_equals_upsample_then_index(
    device: torch.device,
    path: str,
    cells: tuple[int, int],
    pixels: tuple[int, int],
    dtype: torch.dtype,
    tolerance: float,
    align_corners: bool,
) -> None:
    features, view_index, pixel = (
        part.to(device) for part in random_case(500, cells, pixels, dtype)
    )
    full = interpolate(features, size=pixels, mode="bilinear", align_corners=align_corners)
    expected = indexed(full, view_index, pixel)
    result = sample_pixels(features, view_index, pixel, pixels, align_corners)
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("num_pairs", SIZES)
@pytest.mark.parametrize("channels", [1, 7, 33])
def test_values_and_gradients_of_odd_sizes(
    device: torch.device, path: str, num_pairs: int, channels: int, align_corners: bool
) -> None:
    features, view_index, pixel = (
        part.to(device)
        for part in random_case(num_pairs, (7, 5), (31, 44), torch.float64, channels=channels)
    )
    first, second = (features.clone().requires_grad_() for _ in range(2))
    full = interpolate(first, size=(31, 44), mode="bilinear", align_corners=align_corners)
    expected = indexed(full, view_index, pixel)
    result = sample_pixels(second, view_index, pixel, (31, 44), align_corners)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    weight = torch.linspace(-1, 1, result.numel(), device=device, dtype=torch.float64)
    (expected * weight.view_as(expected)).sum().backward()
    (result * weight.view_as(result)).sum().backward()
    torch.testing.assert_close(second.grad, first.grad, atol=1e-11, rtol=0)


@pytest.mark.parametrize("align_corners", [False, True])
def test_fractional_pixels_lie_on_the_same_surface(path: str, align_corners: bool) -> None:
    """Upsampling 8 times finer has a pixel exactly at each eighth (aligned corners), or at each
    odd sixteenth (half-pixel centres) of a pixel."""
    cells, pixels = (5, 6), (11, 13)
    if align_corners:
        fine = tuple(8 * (size - 1) + 1 for size in pixels)
        step, first = 1 / 8, 0.0
    else:
        fine = tuple(8 * size for size in pixels)
        step, first = 1 / 8, 1 / 16 - 0.5
    features = random_case(0, cells, pixels, torch.float64)[0]
    full = interpolate(features, size=fine, mode="bilinear", align_corners=align_corners)
    row, column = torch.meshgrid(torch.arange(fine[0]), torch.arange(fine[1]), indexing="ij")
    pixel = first + step * torch.stack((column, row), dim=-1).reshape(-1, 2).double()
    for view in range(3):
        view_index = torch.full((len(pixel),), view)
        result = sample_pixels(features, view_index, pixel, pixels, align_corners)
        torch.testing.assert_close(result, full[view].flatten(1).T, atol=1e-12, rtol=0)


def by_reference(*arguments: object) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        return sample_pixels(*arguments)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("group", range(10))
def test_random_cases_equal_the_reference(device: torch.device, group: int) -> None:
    """Values bit for bit; gradients up to the order of sums, which embedding does not promise."""
    if not module.has_kernel("sample_pixels", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    for seed in range(20 * group, 20 * group + 20):
        draw = random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        dtype = draw.choice([torch.float32, torch.float64, torch.bfloat16, torch.float16])
        cells, pixels = draw.choice(SHAPES)
        num_views, num_pairs = draw.choice([1, 2, 5]), draw.choice([*SIZES[:-1], 200])
        channels = draw.choice([1, 3, 7, 13, 33, 96, 130])
        shape = (num_views, channels, *cells)
        features = torch.randn(shape, generator=generator).to(device, dtype)
        view_index = torch.randint(num_views, (num_pairs,), generator=generator).to(device)
        pixel = 1.4 * torch.rand(num_pairs, 2, generator=generator) - 0.2  # some outside
        pixel = (pixel * torch.tensor([pixels[1], pixels[0]])).to(device)
        grad = torch.randn(num_pairs, channels, generator=generator).to(device, dtype)
        options = view_index, pixel, pixels, draw.random() < 0.5

        first, second = (features.clone().requires_grad_() for _ in range(2))
        result, expected = sample_pixels(first, *options), by_reference(second, *options)
        assert torch.equal(result, expected), seed
        result.backward(grad)
        expected.backward(grad)
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 2e-2)
        torch.testing.assert_close(first.grad, second.grad, atol=tolerance, rtol=tolerance)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_gradients_repeat_bit_for_bit(device: torch.device) -> None:
    """Many pairs on few cells: an order that changed would show."""
    features, view_index, pixel = (
        part.to(device) for part in random_case(1023, (3, 4), (480, 640))
    )
    grad = torch.randn(1023, 5, generator=torch.Generator().manual_seed(0)).to(device)
    gradients = []
    for _ in range(3):
        leaf = features.clone().requires_grad_()
        sample_pixels(leaf, view_index, pixel, (480, 640)).backward(grad)
        gradients.append(leaf.grad)
    assert all(torch.equal(other, gradients[0]) for other in gradients[1:])


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    features, view_index, pixel = random_case(300, (40, 50), (480, 640), channels=7)
    features.requires_grad_()

    def step() -> None:
        sample_pixels(features, view_index, pixel, (480, 640)).sum().backward()
        features.grad = None

    check_leaks(step)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_exact_weights(path: str, dtype: torch.dtype) -> None:
    features, view_index, pixel = random_case(300, (15, 20), (480, 640))
    features = features.to(dtype).requires_grad_()
    result = sample_pixels(features, view_index, pixel, (480, 640))
    expected = sample_pixels(features.float(), view_index, pixel, (480, 640))
    assert result.dtype == dtype
    assert torch.equal(result, expected.to(dtype))
    result.sum().backward()
    assert features.grad is not None and features.grad.dtype == dtype


def test_maps_longer_than_float32_counts(path: str) -> None:
    """The last of 2^24 + 4 cells is no float32: rounded up it is the first of the next view."""
    cells = 2**24 + 4
    features = torch.zeros(2, 1, 1, cells, dtype=torch.float16)
    features[0, 0, 0, -1], features[1] = 3, 7
    view_index, pixel = torch.zeros(1, dtype=torch.int64), torch.tensor([[cells - 1.0, 0.0]])
    for size in ((1, cells), (cells, 1)):
        result = sample_pixels(features.view(2, 1, *size), view_index, pixel, size)
        assert result.tolist() == [[3]]
        pixel = pixel.flip(1)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_views_that_do_not_exist_read_nothing_foreign(device: torch.device, clamps: bool) -> None:
    wide = torch.full((4, 5, 3, 4), 7.0, device=device)  # what lies around
    features, view_index, pixel = (part.to(device) for part in random_case(9, (3, 4), (8, 11)))
    wide[1:3] = features[:2]
    grad = torch.rand(9, 5, device=device)
    missing = torch.tensor([2, 10**12, -1, -(10**12)], device=device)
    view_index = torch.cat((missing, view_index[4:] % 2))
    sample, backward = torch.ops.pcpt.sample_pixels, torch.ops.pcpt.sample_pixels_backward
    arguments, size = (view_index, pixel), (8, 11, False)
    if not clamps:
        with pytest.raises(RuntimeError, match=r"view_index\[0\] is 2, expected 0\.\.1"):
            sample(wide[1:3], *arguments, *size)
        with pytest.raises(RuntimeError, match="view_index"):
            backward(grad, *arguments, 2, 3, 4, *size)
        return
    result = sample(wide[1:3], *arguments, *size)
    assert not result[:4].any()
    assert torch.equal(result[4:], sample(wide[1:3], view_index[4:], pixel[4:], *size))
    result = backward(grad, *arguments, 2, 3, 4, *size)
    assert torch.equal(result, backward(grad[4:], view_index[4:], pixel[4:], 2, 3, 4, *size))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_maps_without_cells_or_with_too_many_are_refused(device: torch.device) -> None:
    view_index = torch.zeros(1, dtype=torch.int64, device=device)
    pixel, grad = torch.zeros(1, 2, device=device), torch.zeros(1, 1, device=device)
    with pytest.raises(RuntimeError, match="cells"):
        torch.ops.pcpt.sample_pixels(
            torch.zeros(1, 1, 0, 4, device=device), view_index, pixel, 8, 11, False
        )
    for height, width in ((0, 4), (4, 0), (-1, -1), (2**16, 2**15)):
        with pytest.raises(RuntimeError, match="cells"):
            torch.ops.pcpt.sample_pixels_backward(
                grad, view_index, pixel, 1, height, width, 8, 11, False
            )


def test_gradcheck(path: str) -> None:
    features, view_index, pixel = random_case(9, (3, 4), (8, 11), torch.float64, whole=False)
    features = features[:, :2].clone().requires_grad_()
    for align_corners in (False, True):

        def function(x: Tensor, align_corners: bool = align_corners) -> Tensor:
            return sample_pixels(x, view_index, pixel, (8, 11), align_corners)

        assert torch.autograd.gradcheck(function, (features,))
        assert torch.autograd.gradgradcheck(function, (features,))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    features, view_index, pixel = random_case(9, (3, 4), (8, 11), whole=False)
    torch.library.opcheck(
        torch.ops.pcpt.sample_pixels.default,
        (features.requires_grad_(), view_index, pixel, 8, 11, False),
    )
    grad = torch.rand(9, 5, requires_grad=True)
    torch.library.opcheck(
        torch.ops.pcpt.sample_pixels_backward.default,
        (grad, view_index, pixel, 3, 3, 4, 8, 11, True),
    )


def test_does_not_depend_on_the_number_of_threads(path: str) -> None:
    features, view_index, pixel = random_case(5000, (15, 20), (60, 80), channels=37, whole=False)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            leaf = features.clone().requires_grad_()
            out = sample_pixels(leaf, view_index, pixel, (60, 80))
            (out * out.detach().cos()).sum().backward()
            results.append((out.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0])
        assert torch.equal(grad, results[0][1])


def test_any_strides_and_index_types(path: str) -> None:
    features, view_index, pixel = random_case(50, (7, 5), (31, 44))
    expected = sample_pixels(features, view_index, pixel, (31, 44))
    features = features.to(memory_format=torch.channels_last)
    pixel = pixel.double().T.contiguous().T
    result = sample_pixels(features, view_index.int(), pixel, (31, 44))
    assert torch.equal(result, expected)


def test_never_builds_the_image() -> None:
    """A map of this image would take 4 TB."""
    features, view_index, pixel = random_case(8, (3, 4), (1_000_000, 1_000_000))
    assert sample_pixels(features, view_index, pixel, (1_000_000, 1_000_000)).shape == (8, 5)


def test_no_views_no_pairs(path: str) -> None:
    result = sample_pixels(
        torch.zeros(0, 4, 2, 2), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2), (4, 4)
    )
    assert result.shape == (0, 4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": torch.zeros(2, 3, 4)}, r"\(V, C, h, w\)"),
        ({"features": [torch.zeros(1, 3, 4), torch.zeros(1, 4, 4)]}, "list.*calls of their own"),
        ({"features": torch.zeros(1).expand(2, 1, 2**16, 2**15)}, "2.31 pixels or more"),
        ({"features": torch.zeros(2, 1, 3, 4, dtype=torch.uint8)}, "uint8"),
        ({"features": torch.zeros(2, 1, 0, 4)}, "at least 1 x 1"),
        ({"view_index": torch.tensor([0, 2, 1])}, "from 0 to 2, but features hold 2 views"),
        ({"view_index": torch.tensor([0, -1, 1])}, "from -1"),
        ({"view_index": torch.tensor([0.0, 1.0, 1.0])}, "float32"),
        ({"view_index": torch.tensor([0, 1])}, r"\(3, 2\)"),
        ({"pixel": torch.zeros(3, 3)}, r"\(3, 3\)"),
        ({"pixel": torch.zeros(3, 2, dtype=torch.int64)}, "int64"),
        ({"pixel": torch.full((3, 2), torch.nan)}, "inf or nan"),
        ({"pixel": torch.zeros(3, 2, device="meta")}, "meta"),
        ({"image_size": (0, 4)}, "image_size"),
        ({"image_size": (4, 4, 4)}, "image_size"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {
        "features": torch.zeros(2, 1, 3, 4),
        "view_index": torch.tensor([0, 1, 1]),
        "pixel": torch.zeros(3, 2),
        "image_size": (6, 8),
    }
    with pytest.raises(ValueError, match=message):
        sample_pixels(**(arguments | change))
