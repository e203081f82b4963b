"""Association by time against the published rule, written out; rotations against scipy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pcpt.data.names import natural
from pcpt.data.poses import inverse, opengl_to_opencv, pose_from_axis_angle, pose_from_quaternion
from pcpt.data.trajectory import associate, read_file_list, read_trajectory


def associate_all_with_all(
    first: list[float], second: list[float], limit: float
) -> list[tuple[int, int]]:
    """The rule of associate.py: all pairs within the limit, closest first, each used once."""
    candidates = sorted((abs(a - b), a, b) for a in first for b in second if abs(a - b) < limit)
    left, right, pairs = set(first), set(second), []
    for _, a, b in candidates:
        if a in left and b in right:
            left.remove(a)
            right.remove(b)
            pairs.append((a, b))
    return [(first.index(a), second.index(b)) for a, b in sorted(pairs)]


@pytest.mark.parametrize("seed", range(40))
def test_associate_as_the_published_tool(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 40, 2)
    if seed % 2:  # whole milliseconds: many equal differences
        first, second = (random.permutation(60)[:n].astype(float).tolist() for n in sizes)
        limit = float(random.integers(1, 5))
    else:
        first, second = (random.uniform(0, 1, n).tolist() for n in sizes)
        limit = float(random.uniform(0, 0.2))
    assert associate(first, second, limit) == associate_all_with_all(first, second, limit)


def test_associate_many_within_the_limit_takes_no_time() -> None:
    times = np.linspace(0, 0.01, 20_000)
    pairs = associate(times.tolist(), (times + 1e-8).tolist(), 0.02)
    assert len(pairs) == 20_000


def test_rotations() -> None:
    random = np.random.default_rng(0)
    for scale in (0.0, 1e-9, 0.1, 1.0, 3.0):
        vector, shift = scale * random.normal(size=3), random.normal(size=3)
        turn = Rotation.from_rotvec(vector)
        for pose in (
            pose_from_axis_angle(shift.tolist(), vector.tolist()),
            pose_from_quaternion(shift.tolist(), (1.02 * turn.as_quat()).tolist()),
        ):
            assert np.allclose(pose[:3, :3], turn.as_matrix(), atol=1e-12)
            assert np.allclose(pose[:3, 3], shift)
            assert torch.allclose(inverse(pose) @ pose, torch.eye(4, dtype=torch.float64))
    for wrong in ([0, 0, 0, 0], [0, 0, 0, 1.1], [float("nan"), 0, 0, 1]):
        with pytest.raises(ValueError, match="length"):
            pose_from_quaternion([0, 0, 0], wrong)
    with pytest.raises(ValueError, match="inf or nan"):
        pose_from_quaternion([float("inf"), 0, 0], [0, 0, 0, 1])
    with pytest.raises(ValueError, match="inf or nan"):
        pose_from_axis_angle([0, 0, 0], [float("nan"), 0, 0])


def test_opengl_axes() -> None:
    """A camera that looks along -z with y up, as OpenGL has it, sees the same."""
    pose = opengl_to_opencv(torch.eye(4, dtype=torch.float64))
    forward, down = pose[:3, 2], pose[:3, 1]
    assert forward.tolist() == [0, 0, -1] and down.tolist() == [0, -1, 0]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\ufeff# a comment\n\n 2.5\t7 8\n1,3,4\n1 x 5\n9 1\n")
    table = read_trajectory(path, 2)
    assert table.times.tolist() == [1, 2.5, 9] and table.lines.tolist() == [5, 3, 6]
    assert np.isnan(table.values[[0, 2]]).all() and table.values[1].tolist() == [7, 8]
    assert [table.nearest(t, 0.5) for t in (0.4, 0.6, 1.4, 2.9, 8.7)] == [None, 0, 0, 1, 2]
    assert table.origin(1) == f"{path} line 3"
    for text, message in (
        ("", "holds no lines"),
        ("# only\n", "holds no lines"),
        ("x 1 2", r"line 1: 'x' is no time"),
        ("1 1 2\nnan 1 2", r"line 2: 'nan' is no time"),
        ("1" * 70_000, "longer than"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"t\.txt.*{message}"):
            read_trajectory(path, 2)
    path.write_text("1.5 a.png\n2.5\n")
    with pytest.raises(ValueError, match=r"line 2 holds only a time"):
        read_file_list(path)
    path.write_text("1.5 a.png\n1.5 b.png\n")
    assert read_file_list(path) == {1.5: "b.png"}
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        read_file_list(tmp_path / "none.txt")


def test_natural_order() -> None:
    names = ["f_10.png", "f_2.png", "f_02b.png", "e", "f_" + "9" * 5000, "1"]
    assert sorted(names, key=natural) == ["1", "e", "f_2.png", "f_02b.png", "f_10.png", names[4]]
