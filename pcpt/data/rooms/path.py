"""A hand-held camera's way through a room: round the free floor, looking across it."""

import cv2
import numpy as np

from pcpt.data.rooms.plan import Plan

CELL = 0.08  # metres of the map of free floor


def _clearance(plan: Plan) -> np.ndarray:
    """(rows, columns) metres to the nearest obstacle or wall, for cells of ``CELL``."""
    columns, rows = (int(np.ceil(side / CELL)) for side in plan.size)
    free = np.ones((rows + 2, columns + 2), np.uint8)
    free[[0, -1]] = 0
    free[:, [0, -1]] = 0
    rings = list(plan.solid)
    for thing in plan.things:
        if thing.label == "door":
            low, high = thing.bounds()
            rings.append(np.array([low[:2], (high[0], low[1]), high[:2], (low[0], high[1])]))
    for ring in rings:
        cv2.fillConvexPoly(free, np.round(ring / CELL + 0.5).astype(np.int32), 0)
    return cv2.distanceTransform(free, cv2.DIST_L2, 5)[1:-1, 1:-1] * CELL


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Gaussian blur along the first axis, ends repeated."""
    reach = max(1, int(3 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack(
        [np.convolve(padded[:, i], kernel / kernel.sum(), "valid") for i in range(values.shape[1])],
        1,
    )


def _nearest(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    return cells[((points[:, None] - cells[None]) ** 2).sum(2).argmin(1)]


def walk(rng: np.random.Generator, plan: Plan, count: int) -> np.ndarray:
    """Poses of a camera that someone carries about a furnished room.

    Heights are 1.2 to 1.8 m, positions keep off furniture where the room allows it, and the view
    sweeps all walls at least once. Smooth but for the trembling of a hand.

    Args:
        rng: draws the way.
        plan: the furnished room.
        count: number of poses.

    Returns:
        (count, 4, 4) float64 camera_to_world in the room's axes.
    """
    clearance = _clearance(plan)
    keep = max(0.05, min(0.3, float(np.quantile(clearance[clearance > 0], 0.6))))
    row, column = np.nonzero(clearance >= keep)
    cells = (np.stack([column, row], axis=1) + 0.5) * CELL
    middle = cells.mean(0)
    laps = 1.0 + 0.02 * min(count, 30)
    turn = rng.uniform(0, 2 * np.pi) + rng.choice((-1, 1)) * np.linspace(0, 2 * np.pi * laps, count)
    around = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    half = np.array(plan.size) / 2
    reach = _smooth(rng.uniform(0.2, 0.75, (count, 1)), count / 14)
    width = max(count / 30, 0.6)
    position = _nearest(middle + around * half * reach, cells)
    position = _smooth(_nearest(_smooth(position, width * 1.5), cells), width * 0.5)
    for _ in range(20):  # the nearest free place may jump across a table: reach over it instead
        if count < 2 or np.linalg.norm(np.diff(position, axis=0), axis=1).max() < 0.6:
            break
        position = _smooth(position, width)
    height = 1.2 + 0.6 * _stretch(_smooth(rng.random((count, 1)), count / 10))
    across = _smooth(rng.normal(0, 0.7, (count, 1)), count / 12) * 2.0
    facing = turn[:, None] + np.pi + across
    distance = half.mean() * 1.1
    target = position + distance * np.concatenate([np.cos(facing), np.sin(facing)], axis=1)
    low = 0.1 + 1.25 * _stretch(_smooth(rng.random((count, 1)), count / 16))
    eye = np.concatenate([position, height], axis=1) + rng.normal(0, 0.004, (count, 3))
    aim = np.concatenate([target, low], axis=1) + rng.normal(0, 0.03, (count, 3))
    roll = _smooth(rng.normal(0, 0.12, (count, 1)), 1.5)[:, 0]
    return np.stack([look_at(e, a, r) for e, a, r in zip(eye, aim, roll)])


def _stretch(values: np.ndarray) -> np.ndarray:
    """Moved and scaled to reach from 0 to 1."""
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 1e-9 else np.full_like(values, 0.5)


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """(4, 4) camera_to_world with OpenCV axes at ``eye``, looking at ``target``, z up."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    pose[:3, 3] = eye
    return pose


def drifted(rng: np.random.Generator, poses: np.ndarray, drift: float) -> np.ndarray:
    """The poses as tracking would give them: an error that grows like a random walk.

    Args:
        rng: draws the walk.
        poses: (F, 4, 4) camera_to_world.
        drift: metres of error to expect at the last pose, with a degree of rotation for each 3 cm.
    """
    if drift <= 0:
        return poses
    steps = rng.normal(0, 1, (len(poses), 6)) / np.sqrt(3 * max(len(poses) - 1, 1))
    steps[0] = 0
    error = np.cumsum(steps, axis=0) * drift
    result = poses.copy()
    for pose, (x, y, z, a, b, c) in zip(result, error):
        angles = np.array([a, b, c]) * (np.radians(1) / 0.03)
        pose[:3, :3] = cv2.Rodrigues(angles)[0] @ pose[:3, :3]
        pose[:3, 3] += (x, y, z)
    return result
