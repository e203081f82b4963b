"""Pictures and exact depth of a room, by one ray a pixel."""

from dataclasses import dataclass

import numpy as np

from pcpt.data.rooms.lighting import Lamp, bake, place_lamps
from pcpt.data.rooms.linear import times
from pcpt.data.rooms.raycast import Caster
from pcpt.data.rooms.scene import Scene, blend, flat_normals, lattice
from pcpt.geometry.camera import Camera

LIGHT_STEP = 0.14  # metres between the points at which light is worked out


@dataclass(frozen=True)
class View:
    """What one camera sees, without any of its faults.

    Attributes:
        radiance: (H, W, 3) float32, linear.
        depth: (H, W) float32, z in metres, 0 where a ray met nothing.
        instance: (H, W) int32, index of the thing, -1 for nothing.
        grazing: (H, W) float32, cosine between ray and surface normal.
        darkness: (H, W) float32, 1 - brightness of the surface itself.
        loss: (H, W) float32, probability that depth is not measured.
    """

    radiance: np.ndarray
    depth: np.ndarray
    instance: np.ndarray
    grazing: np.ndarray
    darkness: np.ndarray
    loss: np.ndarray


class Renderer:
    """A lit room, ready to be looked at.

    Args:
        rng: draws lamps and the directions of ambient light.
        scene: the room.
        size: (2,) of its floor, metres.
        height: of its ceiling.
    """

    def __init__(
        self, rng: np.random.Generator, scene: Scene, size: tuple[float, float], height: float
    ) -> None:
        self.scene = scene
        quad, place, cells = lattice(scene.corners, LIGHT_STEP)
        points = blend(scene.corners, quad, place)
        self._faces = cells[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)
        self.quad = np.repeat(quad[cells[:, 0]], 2).astype(np.int32)
        self.caster = Caster(points[self._faces])
        lamps = place_lamps(rng, scene, size, height)
        ambient = float(rng.uniform(0.28, 0.55))
        light = self._light(rng, quad, place, points, lamps, ambient)
        uv = blend(scene.uv, quad, place)
        self._vertices = np.concatenate([light * scene.tint[quad], uv], axis=1).astype(np.float32)
        self._normals = flat_normals(scene.corners).astype(np.float32)[self.quad]
        grey = (scene.tint * np.array([0.25, 0.6, 0.15], np.float32)).sum(1)
        self._grey = grey.astype(np.float32)
        self._linear = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)

    def _light(
        self,
        rng: np.random.Generator,
        quad: np.ndarray,
        place: np.ndarray,
        points: np.ndarray,
        lamps: list[Lamp],
        ambient: float,
    ) -> np.ndarray:
        normals = blend(self.scene.normals, quad, place)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        # drawn in a little from the edges, so that a point does not lie in the joint of two boards
        inner = 0.5 + (place - 0.5) * 0.9
        light = bake(
            rng, self.caster, blend(self.scene.corners, quad, inner), normals, lamps, ambient
        )
        glow = self.scene.emission[quad][:, None]
        return np.where(glow > 0, glow, light)

    def look(self, camera: Camera) -> tuple[View, np.ndarray]:
        """The view of a camera, whose pose is in the room's own axes, and the quads it met."""
        height, width = camera.height, camera.width
        pose = camera.camera_to_world.numpy()
        rays = times(pixel_rays(camera).astype(np.float32), pose[:3, :3])
        origins = np.broadcast_to(pose[:3, 3].astype(np.float32), rays.shape)
        hits = self.caster.hits(origins, rays)
        met = hits.triangle >= 0
        triangle = np.maximum(hits.triangle, 0)
        quad = self.quad[triangle]
        cosine = np.abs((rays * self._normals[triangle]).sum(1)) / np.sqrt((rays * rays).sum(1))
        depth = np.where(met, hits.distance, 0).astype(np.float32)
        values = self._interpolate(triangle, hits.weight)
        color = self._texture(quad, values[:, 3:], depth, cosine, float(camera.intrinsics[1, 1]))
        radiance = values[:, :3] * color * met[:, None]
        grey = self._grey[quad] * (color * np.array([0.25, 0.6, 0.15], np.float32)).sum(1)
        shape = (height, width)
        found = np.zeros(len(self._grey), bool)
        found[quad[met]] = True
        view = View(
            radiance=radiance.reshape(*shape, 3),
            depth=depth.reshape(shape),
            instance=np.where(met, self.scene.instance[quad], -1).reshape(shape),
            grazing=cosine.reshape(shape),
            darkness=(1 - grey).reshape(shape),
            loss=self.scene.loss[quad].reshape(shape),
        )
        return view, np.flatnonzero(found)

    def _interpolate(self, triangle: np.ndarray, weight: np.ndarray) -> np.ndarray:
        corner = self._faces[triangle]
        u, v = weight[:, :1], weight[:, 1:]
        rows = self._vertices
        return rows[corner[:, 0]] * (1 - u - v) + rows[corner[:, 1]] * u + rows[corner[:, 2]] * v

    def _texture(
        self, quad: np.ndarray, uv: np.ndarray, depth: np.ndarray, cosine: np.ndarray, focal: float
    ) -> np.ndarray:
        """Linear colours (N, 3), from the texture's copy whose texels are about a pixel large."""
        footprint = (
            depth / np.float32(focal) / np.sqrt(np.maximum(cosine, 0.05)) / self.scene.texel[quad]
        )
        level = np.log2(np.maximum(footprint, 1.0)).astype(np.int32)
        return self._linear[self.scene.atlas.look_up(self.scene.texture[quad], uv, level)]


def pixel_rays(camera: Camera) -> np.ndarray:
    """(H * W, 3) directions of z = 1 in camera axes, row by row."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width].reshape(2, -1).astype(np.float64)
    (fu, skew, cu), (_, fv, cv), _ = camera.intrinsics.tolist()
    y = (v - cv) / fv
    return np.stack([(u - cu - skew * y) / fu, y, np.ones_like(u)], axis=1)
