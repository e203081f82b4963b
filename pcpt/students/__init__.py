"""3D networks that learn from 2D ones, and their exchange as folders of weights and config."""

from pcpt.students.minkowski import convert_minkowski_state_dict
from pcpt.students.pretrained import Pretrained
from pcpt.students.sparse_unet import SparseUNet

__all__ = ["Pretrained", "SparseUNet", "convert_minkowski_state_dict"]
