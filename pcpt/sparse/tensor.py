"""Features on voxels: what every sparse layer takes and returns."""

from torch import Tensor

from pcpt.sparse.maps import KernelMaps


class SparseTensor:
    """Features of the occupied voxels of a batch of grids.

    Args:
        features: (N, C) floating point.
        coordinates: (N, 4) int32 [batch, x, y, z], unique, x, y, z in +-2^15, in units of the
            finest grid; multiples of ``stride``.
        stride: tensor stride, 1 for the finest grid.
        maps: cache of a tensor of the same family, which must hold exactly these coordinates at
            this stride; by default a new family begins.

    Raises:
        ValueError: shapes or types that do not fit, coordinates out of range. Repeated coordinates
            are reported by the first layer that needs a kernel map.
    """

    def __init__(
        self,
        features: Tensor,
        coordinates: Tensor,
        stride: int = 1,
        maps: KernelMaps | None = None,
    ) -> None:
        if features.ndim != 2 or len(features) != len(coordinates):
            raise ValueError(
                f"features must be (N, C) with one row per voxel, got {tuple(features.shape)} for "
                f"{len(coordinates)} coordinates"
            )
        if features.device != coordinates.device:
            raise ValueError(
                f"features are on {features.device}, coordinates on {coordinates.device}"
            )
        if maps is None:
            maps = KernelMaps(coordinates, stride)
        elif maps.coordinates(stride) is not coordinates:
            raise ValueError(
                f"maps hold other coordinates at stride {stride}; leave maps out to begin a family"
            )
        self.features = features
        self.coordinates = coordinates
        self.stride = stride
        self.maps = maps

    def replace(self, features: Tensor) -> "SparseTensor":
        """The same voxels with other features, (N, any C)."""
        return SparseTensor(features, self.coordinates, self.stride, self.maps)

    def at_stride(self, features: Tensor, stride: int) -> "SparseTensor":
        """Features for the family's voxels of another stride, (N of that stride, any C)."""
        return SparseTensor(features, self.maps.coordinates(stride), stride, self.maps)

    def __repr__(self) -> str:
        features = self.features
        return (
            f"SparseTensor({features.shape[0]} voxels, {features.shape[1]} channels, "
            f"stride {self.stride}, {features.dtype}, {features.device})"
        )
