"""Pictures: (3, H, W) uint8 RGB tensors, the layout of ``Frame.image``, and how they are laid out.

Everything in ``pcpt.viz`` yields such tensors; only this file knows of PNG and of text.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

# One dark ground for all panels: feature colours are bright, and it suits light and dark pages.
BACKGROUND = (26, 29, 36)
FOREGROUND = (226, 229, 234)
_DPI = 100


def check_picture(picture: Tensor) -> None:
    """Raises ValueError unless ``picture`` is (3, H, W) uint8 and not empty."""
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
        raise ValueError(
            f"picture is {tuple(picture.shape)} {picture.dtype}, expected (3, H, W) torch.uint8 RGB"
        )
    if picture.numel() == 0:
        raise ValueError(f"picture is {tuple(picture.shape)}, expected at least one pixel")


def to_array(picture: Tensor) -> np.ndarray:
    """(3, H, W) uint8 tensor to a new (H, W, 3) uint8 array that OpenCV can draw on."""
    check_picture(picture)
    return np.array(picture.detach().cpu().permute(1, 2, 0), order="C")


def from_array(array: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 array to a (3, H, W) uint8 tensor."""
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).contiguous()


def color_bytes(colors: Tensor) -> Tensor:
    """(N, 3) colours, uint8 or float in [0, 1], as uint8; raises ValueError for anything else."""
    if colors.ndim != 2 or colors.shape[1] != 3:
        raise ValueError(f"colors are {tuple(colors.shape)}, expected (N, 3)")
    if colors.dtype == torch.uint8:
        return colors
    if not colors.is_floating_point():
        raise ValueError(f"colors are {colors.dtype}, expected uint8 or floats in [0, 1]")
    if colors.numel() and not bool(((colors >= 0) & (colors <= 1)).all()):
        low, high = float(colors.min()), float(colors.max())
        raise ValueError(f"colors are floats in [{low:.3g}, {high:.3g}], expected [0, 1]")
    return (colors * 255).round().to(torch.uint8)


def resize(picture: Tensor, height: int, width: int) -> Tensor:
    """The picture at another size; averages when shrinking, interpolates when growing."""
    array = to_array(picture)
    if array.shape[:2] == (height, width):
        return picture
    shrinks = height < array.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return from_array(cv2.resize(array, (width, height), interpolation=method))


def encode_png(picture: Tensor) -> bytes:
    """The picture as a PNG file's bytes."""
    done, data = cv2.imencode(".png", to_array(picture)[:, :, ::-1])
    if not done:
        raise ValueError(f"picture of {tuple(picture.shape)} could not be encoded as PNG")
    return data.tobytes()


def encode_jpeg(picture: Tensor, quality: int = 90) -> bytes:
    """The picture as a JPEG file's bytes, colour at full resolution so that text stays crisp."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", to_array(picture)[:, :, ::-1], options)
    if not done:
        raise ValueError(f"picture of {tuple(picture.shape)} could not be encoded as JPEG")
    return data.tobytes()


def save_png(path: Path | str, picture: Tensor) -> Path:
    """Writes the picture as PNG, making the folder, and returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))
    return path


def side_by_side(
    pictures: Sequence[Tensor],
    titles: Sequence[str] | None = None,
    *,
    height: int | None = None,
    gap: int = 12,
) -> Tensor:
    """A row of pictures of one height, each under its title.

    Args:
        pictures: (3, H, W) uint8 each; scaled to ``height``, keeping their proportions.
        titles: one for each picture, or None for no title bar.
        height: of the row without titles, pixels. None: that of the first picture.
        gap: between pictures, pixels.

    Returns:
        (3, H', W') uint8.

    Raises:
        ValueError: without pictures, or if titles and pictures differ in number.
    """
    if not pictures:
        raise ValueError("side_by_side got no pictures, expected at least one")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"{len(titles)} titles for {len(pictures)} pictures, expected as many")
    for picture in pictures:
        check_picture(picture)
    height = height or pictures[0].shape[1]
    cells = []
    for i, picture in enumerate(pictures):
        width = max(1, round(picture.shape[2] * height / picture.shape[1]))
        cell = resize(picture, height, width)
        if titles is not None:
            cell = torch.cat((text_bar(titles[i], width, title_height(height)), cell), dim=1)
        cells.append(cell)
        if i + 1 < len(pictures):
            cells.append(filled(cell.shape[1], gap))
    return torch.cat(cells, dim=2)


def stacked(pictures: Sequence[Tensor], *, gap: int = 12) -> Tensor:
    """Pictures one above the other, the narrower ones centred; (3, H', W') uint8."""
    if not pictures:
        raise ValueError("stacked got no pictures, expected at least one")
    width = max(picture.shape[2] for picture in pictures)
    rows = []
    for i, picture in enumerate(pictures):
        check_picture(picture)
        left = (width - picture.shape[2]) // 2
        right = width - picture.shape[2] - left
        height = picture.shape[1]
        rows.append(torch.cat((filled(height, left), picture, filled(height, right)), dim=2))
        if i + 1 < len(pictures):
            rows.append(filled(gap, width))
    return torch.cat(rows, dim=1)


def grid(
    pictures: Sequence[Tensor],
    titles: Sequence[str] | None = None,
    *,
    columns: int = 2,
    height: int | None = None,
    gap: int = 12,
) -> Tensor:
    """Rows of ``columns`` pictures, one above the other; arguments as for ``side_by_side``."""
    if columns < 1:
        raise ValueError(f"columns is {columns}, expected at least 1")
    height = height or (pictures[0].shape[1] if pictures else None)
    rows = []
    for start in range(0, len(pictures), columns):
        names = None if titles is None else titles[start : start + columns]
        row = pictures[start : start + columns]
        rows.append(side_by_side(row, names, height=height, gap=gap))
    return stacked(rows, gap=gap)


def filled(height: int, width: int, color: tuple[int, int, int] = BACKGROUND) -> Tensor:
    """(3, height, width) uint8 of one colour."""
    return torch.tensor(color, dtype=torch.uint8)[:, None, None].repeat(1, height, width)


def title_height(height: int) -> int:
    """Height of the title bar over a picture of this height, pixels."""
    return max(20, round(0.07 * height))


def text_bar(text: str, width: int, height: int) -> Tensor:
    """(3, height, width) uint8: one line of text on the background, shrunk to fit."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.patch.set_facecolor(unit_color(BACKGROUND))
    size = 0.54 * height * 72 / _DPI
    label = figure.text(
        0.3 * height / width, 0.5, text, fontsize=size, color=unit_color(FOREGROUND),
        va="center", ha="left", parse_math=False,
    )  # fmt: skip
    room = width - 0.6 * height
    taken = label.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width
    if taken > room:
        label.set_fontsize(0.94 * size * room / taken)  # hinting widens small letters
    return drawn(figure)


def unit_color(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """0-255 to the 0-1 that matplotlib takes."""
    return color[0] / 255, color[1] / 255, color[2] / 255


def drawn(figure: Figure) -> Tensor:
    """A matplotlib figure as a picture; needs no display and leaves pyplot's state alone."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return from_array(np.asarray(canvas.buffer_rgba())[:, :, :3])
