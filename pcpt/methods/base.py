"""What the trainer asks of a method or a task, and nothing more."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.utils.data import Dataset

from pcpt.data.batch import collate
from pcpt.data.dataset import DataConfig, PosedFrames


class Output(NamedTuple):
    """What one forward pass yields.

    Attributes:
        loss: scalar with gradient.
        logs: scalars worth writing down, by name; detached.
    """

    loss: Tensor
    logs: dict[str, float | Tensor]


class Method(nn.Module):
    """Base of methods and tasks: ``forward(batch) -> Output``.

    ``Data`` is the dataclass of the run's ``data`` section. ``needs_teacher``: whether a run must
    name a teacher; without one a method that needs none is given None. ``evaluation_split`` is what
    is scored unless another is asked for, ``in_percent`` whether figures are shares.
    ``leaves_unused``: whether some parameters may get no gradient in a step, as layers of a student
    do that a head does not read; distributed training must know.

    Parameters are what is trained. Frozen networks are handed to ``freeze``: they follow ``.to()``
    but are no submodules, so neither optimizer, DDP nor checkpoints ever see them.
    """

    Data: ClassVar[type] = DataConfig
    needs_teacher: ClassVar[bool] = True
    evaluation_split: ClassVar[str] = "held_out"
    in_percent: ClassVar[bool] = True
    leaves_unused: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.frozen: dict[str, nn.Module] = {}

    @classmethod
    def from_parts(cls, config: Any, student: Any, teacher: Any, data: Any) -> "Method":
        """The method of a run. One whose weights depend on the data, such as on the number of
        classes, overrides this to look at ``data``, the section of the run's config."""
        return cls(config, student, teacher)  # type: ignore[call-arg]

    def freeze(self, name: str, module: nn.Module) -> None:
        """Keeps ``module`` as ``frozen[name]``: in eval mode, without gradients, never saved."""
        self.frozen[name] = module.eval().requires_grad_(False)

    def _apply(self, fn: Any, recurse: bool = True) -> "Method":
        for module in self.frozen.values():
            module._apply(fn)
        super()._apply(fn, recurse)
        return self

    def make_dataset(self, config: Any, split: str, seed: int) -> Dataset[Any]:
        """Samples of ``split`` ("train" or "held_out"), indexed by global sample number."""
        return PosedFrames(config, split, seed)

    def evaluation_frames(self, config: Any, split: str, seed: int) -> Dataset[Any]:
        """Samples of ``split`` as they are, for figures and pictures: neither shuffled nor
        augmented. A method that overrides ``make_dataset`` has to override this, too."""
        return PosedFrames(config, split, seed, training=False)

    def collate(self, samples: list[Any]) -> Any:
        """Joins samples into the batch that ``forward`` takes."""
        return collate(samples)

    def check_data(self) -> None:
        """Raises what is wrong with data that training looks at beside its samples, before a run
        folder is taken; nothing by default."""

    def prepare(self, batches: Iterable[Any]) -> None:
        """Called once before the first step with a few training batches; nothing by default."""

    def evaluate(self, batches: Iterable[Any]) -> Mapping[str, Any]:
        """Figures of merit on held-out batches; none by default."""
        return {}
