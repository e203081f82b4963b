"""PLY clouds: kinds of files that exist, and those that must be refused."""

import numpy as np
import pytest

from pcpt.data.ply import read_ply, write_ply

ASCII = """ply
format ascii 1.0
comment by hand
element vertex 2
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
0.5 -1 2 255 0 7
1e3 0 0.25 1 2 3
3 0 1 1
"""


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.random((5, 3)).astype(np.float32), random.integers(0, 256, (5, 3)).astype("u1")


def edited(tmp_path, *changes: tuple[str, str]):
    text = ASCII
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "cloud.ply"
    path.write_text(text)
    return path


def test_by_hand(tmp_path):
    points, colors = read_ply(edited(tmp_path))
    assert points.dtype == np.float32 and colors.dtype == np.uint8
    assert points.tolist() == [[0.5, -1, 2], [1000, 0, 0.25]]
    assert colors.tolist() == [[255, 0, 7], [1, 2, 3]]


def test_round_trip(tmp_path, cloud):
    points, colors = cloud
    path = tmp_path / "cloud.ply"
    write_ply(path, points, colors)
    read_points, read_colors = read_ply(path)
    np.testing.assert_array_equal(read_points, points)
    np.testing.assert_array_equal(read_colors, colors)
    write_ply(path, points)  # replaces
    assert read_ply(path)[1] is None
    assert [p.name for p in tmp_path.iterdir()] == ["cloud.ply"]


def test_doubles_keep_their_digits(tmp_path):
    points = np.array([[691_234.567_89, 5_334_567.891_23, 512.25]])
    write_ply(tmp_path / "utm.ply", points)
    assert read_ply(tmp_path / "utm.ply")[0].tolist() == points.tolist()


def test_floats_in_the_unit_interval_become_bytes(tmp_path, cloud):
    points, colors = cloud
    write_ply(tmp_path / "cloud.ply", points, colors / 255)
    np.testing.assert_array_equal(read_ply(tmp_path / "cloud.ply")[1], colors)


def test_empty(tmp_path):
    write_ply(tmp_path / "empty.ply", np.zeros((0, 3)), np.zeros((0, 3), np.uint8))
    points, colors = read_ply(tmp_path / "empty.ply")
    assert points.shape == colors.shape == (0, 3)


def test_other_kinds_of_colour(tmp_path):
    floats = [("property uchar", "property float"), ("255 0 7", "1 0 .5"), ("1 2 3\n", "0 0 1\n")]
    colors = read_ply(edited(tmp_path, *floats))[1]
    assert colors.dtype == np.float32 and colors.tolist() == [[1, 0, 0.5], [0, 0, 1]]
    shorts = [("property uchar", "property ushort"), ("255 0 7", "65535 0 13107")]
    assert read_ply(edited(tmp_path, *shorts))[1][0].tolist() == pytest.approx([1, 0, 0.2])
    diffuse = [(f" {name}", f" diffuse_{name}") for name in ("red", "green", "blue")]
    assert read_ply(edited(tmp_path, *diffuse))[1].tolist() == [[255, 0, 7], [1, 2, 3]]


def test_features_at_takes_what_is_read(tmp_path, cloud):
    from pcpt.students import SparseUNet

    config = SparseUNet.Config(planes=[2] * 8, blocks=[1] * 8, stem_channels=2)
    write_ply(tmp_path / "cloud.ply", *cloud)
    features = SparseUNet(config).features_at(*read_ply(tmp_path / "cloud.ply"))
    assert features.shape == (5, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("ply\nformat", "obj\nformat")], "is not a whole PLY file"),
        ([("vertex 2", "vertex 3"), ("3 0 1 1\n", "")], "early end-of-file"),
        ([("vertex 2", "vertex 1000000000000")], "is not a whole PLY file"),
        ([("vertex 2", "vertex 100000000000000000000000")], "is not a whole PLY file"),
        ([("vertex 2", "vertex -2")], "is not a whole PLY file"),
        ([("1e3 0", "one 0")], "malformed input"),
        ([("element vertex", "element point")], r"no element 'vertex'; it has \['point', 'face'\]"),
        ([("property float z", "property float height")], "no property 'z'; they have"),
        ([("property uchar green", "property uchar g")], "no property 'green'"),
        ([("property uchar", "property int")], "colours are int32, expected uchar"),
        ([("property uchar", "property float")], r"range over \[0.0, 255.0\], expected \[0, 1\]"),
        (
            [("property float z", "property list uchar float z"), ("-1 2", "-1 1 2"),
             ("0 0.25", "0 1 0.25")],
            "property 'z' is a list",
        ),
    ],
)  # fmt: skip
def test_broken_files(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_ply(edited(tmp_path, *changes))
    assert "cloud.ply" in str(caught.value)


def test_truncated_binary(tmp_path, cloud):
    path = tmp_path / "cloud.ply"
    write_ply(path, *cloud)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"cloud\.ply is not a whole PLY file .*export it again"):
        read_ply(path)


def test_no_such_file(tmp_path, cloud):
    with pytest.raises(FileNotFoundError, match=r"no such PLY file: .*absent\.ply"):
        read_ply(tmp_path / "absent.ply")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_ply(tmp_path / "absent" / "cloud.ply", *cloud)


def test_what_cannot_be_written(tmp_path, cloud):
    points, colors = cloud
    path = tmp_path / "cloud.ply"
    for bad, message in (
        (points[:, :2], r"points are float32 \(5, 2\), expected \(N, 3\)"),
        (points * np.nan, "points hold nan or inf"),
        (points.astype(str), "expected"),
    ):
        with pytest.raises(ValueError, match=message):
            write_ply(path, bad, colors)
    for bad, message in (
        (colors[:4], r"colors are \(4, 3\), expected \(5, 3\)"),
        (colors.astype(int), "colors are int64, expected uint8"),
        (colors.astype(float), r"must lie in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            write_ply(path, points, bad)
    assert not list(tmp_path.iterdir())
