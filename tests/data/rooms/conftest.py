"""A few small rooms, made once for all tests of this folder."""

from pathlib import Path

import pytest

from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.generate import generate_rooms

SMALL = RoomsConfig(
    seed=5, frames=4, depth_size=(72, 96), color_size=(72, 96), spacing=0.05, label_images=True
)
ROOMS = 3


@pytest.fixture(scope="session")
def embree() -> None:
    """Skips where rays cannot be cast."""
    pytest.importorskip("embreex", reason="the extra is not installed: pip install 'pcpt[rooms]'")


@pytest.fixture(scope="session")
def rooms_folder(embree: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small rooms of three kinds."""
    folder = tmp_path_factory.mktemp("rooms")
    assert generate_rooms(folder, ROOMS, SMALL) == ROOMS
    return folder
