"""Images are trusted only after their header, size and every checksum were looked at."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pcpt.data.frame import BrokenFrame
from pcpt.data.images import common_size, read_color, read_depth
from tests.data.tiny_scans import HEIGHT, WIDTH, write_color, write_depth

SIZE = (HEIGHT, WIDTH)


def header_only_png(path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes that claims a size: what a decompression bomb looks like."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_color_is_rgb_channels_first(tmp_path: Path) -> None:
    rgb = write_color(tmp_path / "a.png")
    image = read_color(tmp_path / "a.png", SIZE)
    assert image.dtype == torch.uint8 and image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0).numpy(), rgb)


def test_jpeg_equals_opencv(tmp_path: Path) -> None:
    write_color(tmp_path / "a.jpg")
    image = read_color(tmp_path / "a.jpg", SIZE)
    expected = cv2.imread(str(tmp_path / "a.jpg"))[..., ::-1]
    # Two builds of libjpeg may differ by one level.
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_become_rgb(tmp_path: Path, channels: int) -> None:
    pixels = np.full((HEIGHT, WIDTH, channels), 77, dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    assert torch.equal(
        read_color(tmp_path / "a.png", SIZE), torch.full((3, *SIZE), 77, dtype=torch.uint8)
    )


@pytest.mark.parametrize("scale", [1000.0, 5000.0])
def test_depth_in_metres_with_holes(tmp_path: Path, scale: float) -> None:
    units = write_depth(tmp_path / "a.png")
    depth = read_depth(tmp_path / "a.png", SIZE, scale)
    assert depth.dtype == torch.float32
    expected = np.where(units == 65535, 0, units) / scale
    assert depth[0, :3].tolist() == pytest.approx([0, 0, 1000 / scale])
    assert np.allclose(depth.numpy(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype, channels", [(np.uint8, 1), (np.uint8, 3)])
def test_depth_of_8_bits_is_refused_with_a_remedy(
    tmp_path: Path, dtype: type, channels: int
) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, channels), 9, dtype=dtype))
    with pytest.raises(ValueError, match=r"a\.png.*expected 16-bit.*re-export"):
        read_depth(path, SIZE, 1000.0)
    with pytest.raises(ValueError, match=r"a\.png.*expected 16-bit.*re-export"):
        common_size([path], "depth")


def test_colour_of_16_bits_is_refused(tmp_path: Path) -> None:
    """Pillow would read the higher eight of each channel without a word."""
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (*SIZE, 4)).astype(np.uint16)
    for channels in (1, 3, 4):
        path = tmp_path / f"{channels}.png"
        assert cv2.imwrite(str(path), pixels[..., :channels])
        with pytest.raises(ValueError, match=r"png holds .*16.* pixels, expected 8-bit RGB"):
            read_color(path, SIZE)


def test_depth_where_colour_was_expected(tmp_path: Path) -> None:
    write_depth(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png.*8-bit RGB.*depth image"):
        read_color(tmp_path / "a.png", SIZE)


@pytest.mark.parametrize("value", [0, 65535])
def test_depth_without_a_measurement(tmp_path: Path, value: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full(SIZE, value, dtype=np.uint16))
    with pytest.raises(BrokenFrame, match=r"a\.png.*nothing measured"):
        read_depth(tmp_path / "a.png", SIZE, 1000.0)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_every_truncation_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_color(path)
    data = path.read_bytes()
    # Of a PNG the last four bytes are the checksum of the empty end mark: the image is complete.
    end = len(data) - (4 if suffix == "png" else 0)
    for length in [0, 1, 7, 8, 20, 33, len(data) // 2, *range(end - 24, end)]:
        path.write_bytes(data[:length])
        with pytest.raises(BrokenFrame, match=rf"a\.{suffix}"):
            read_color(path, SIZE)


def test_every_damaged_byte_of_a_depth_image_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_depth(path)
    data, depth = path.read_bytes(), read_depth(path, SIZE, 1000.0)
    for position in np.random.default_rng(0).integers(0, len(data), 150):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            assert torch.equal(read_depth(path, SIZE, 1000.0), depth)  # a byte nobody reads
        except (BrokenFrame, ValueError) as error:
            assert "a.png" in str(error)


def test_random_bytes_and_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(BrokenFrame, match=r"a\.png \(5000 bytes\) is not a readable PNG"):
        read_depth(path, SIZE, 1000.0)
    write_color(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").rename(path)
    with pytest.raises(BrokenFrame, match="not a readable PNG"):
        read_depth(path, SIZE, 1000.0)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("none.png", "folder.png"):
        with pytest.raises(BrokenFrame, match=rf"{name} does not exist"):
            read_color(tmp_path / name, SIZE)


def test_another_size_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    header_only_png(path, WIDTH, HEIGHT + 1)  # decoding it would report damage instead
    with pytest.raises(BrokenFrame, match=r"a\.png is 24x17, its camera is for 24x16"):
        read_depth(path, SIZE, 1000.0)


@pytest.mark.parametrize("side", [9000, 60000])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.png"
    header_only_png(path, side, side)
    with pytest.raises(BrokenFrame, match=r"a\.png"):
        read_depth(path, (side, side), 1000.0)
    with pytest.raises(ValueError, match=r"a\.png"):
        common_size([path], "depth")


def test_orientation_flags_do_not_turn_the_image(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg", exif=exif)
    assert read_color(tmp_path / "a.jpg", SIZE).shape == (3, *SIZE)


def test_common_size_is_that_of_most_images(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(7)]
    for index, path in enumerate(paths):
        if index == 0:
            write_color(path, 5, 6)
        elif index == 1:
            path.write_bytes(b"damaged")
        elif index > 2:  # 2 is missing
            write_color(path)
    assert common_size(paths, "colour") == SIZE
    with pytest.raises(ValueError, match=r"none of 2 colour images.*1\.png"):
        common_size(paths[1:3], "colour")


def test_common_size_reads_few_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcpt.data import images

    write_color(tmp_path / "a.png")
    opened = []
    real_open = images.Image.open
    monkeypatch.setattr(
        images.Image, "open", lambda path, **kw: opened.append(path) or real_open(path, **kw)
    )
    common_size([tmp_path / "a.png"] * 1000, "colour")
    assert len(opened) == 9
