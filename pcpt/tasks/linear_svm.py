"""Linear SVM on frozen embeddings: what a pretrained network knows of shapes before anyone tells it
a label."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_choice
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.methods.base import Output
from pcpt.metrics.classification import classification_figures
from pcpt.metrics.segmentation import confusion_matrix
from pcpt.registry import register
from pcpt.tasks.frozen import channel_statistics
from pcpt.tasks.frozen_shapes import FrozenShapes, FrozenShapesConfig, scaled, with_labels
from pcpt.tasks.objects import count_labels, embedding_channels
from pcpt.tasks.svm import KINDS, Machine, fit_machine, num_rows, predict

_UNTRIED = -1.0  # finite: weights to start from must be
_log = logging.getLogger(__name__)


@register("tasks", "linear_svm")
class LinearSvm(FrozenShapes):
    """A linear support vector machine on a frozen network's embeddings of the training shapes.

    The literature (FoldingNet, arXiv 1712.07262, and all that followed) does so on ModelNet40; its
    C is often chosen on the test shapes, or given without a word on how. Here it is the best of
    ``costs`` on the validation shapes, the smaller of equals. The test split is never opened before
    it is scored. The machine is made in the first training step.
    """

    @dataclass
    class Config(FrozenShapesConfig):
        """Keys of the ``task`` section; see also ``FrozenShapesConfig``.

        Attributes:
            costs: C to choose from; a single one is taken without looking at validation shapes.
            kind: one_vs_rest (scikit-learn's LinearSVC) or one_vs_one (its SVC with a linear
                kernel, which the literature uses).
        """

        name: str = "linear_svm"
        costs: list[float] = field(default_factory=lambda: [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
        kind: str = "one_vs_rest"

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice("task.kind", self.kind, KINDS)
            if not self.costs or not all(cost > 0 for cost in self.costs):
                raise ValueError(f"task.costs is {list(self.costs)}, expected numbers above 0")

    feature_mean: Tensor
    feature_scale: Tensor
    weight: Tensor
    bias: Tensor
    present: Tensor
    cost: Tensor
    val_accuracy: Tensor

    def __init__(self, config: Config, student: Any, data: ShapeDataConfig) -> None:
        super().__init__(config, student, data)
        count_labels(data, self.classes)
        channels = embedding_channels(student, config.pooling)
        rows = num_rows(config.kind, len(self.classes))
        self._fitted = False  # a machine that ``init`` may have brought is of other features
        zeros = torch.zeros(rows, channels, dtype=torch.float64)
        self.register_buffer("feature_mean", zeros.new_zeros(channels))
        self.register_buffer("feature_scale", zeros.new_ones(channels))
        self.register_buffer("weight", zeros)
        self.register_buffer("bias", zeros.new_zeros(rows))
        self.register_buffer("present", torch.zeros(len(self.classes), dtype=torch.bool))
        self.register_buffer("cost", zeros.new_zeros(()))  # 0: not fitted yet
        self.register_buffer("val_accuracy", zeros.new_full((len(config.costs),), _UNTRIED))

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        costs = self.config.costs
        chosen = f"C {costs[0]:g}" if len(costs) == 1 else f"C of {len(costs)} chosen on val"
        spread = "standardised" if self.config.standardize else "as they are"
        return (
            f"linear SVM ({self.config.kind}, {chosen}) on frozen {self.config.pooling} embeddings "
            f"({spread}) of the labelled training shapes; accuracy of single shapes, no voting"
        )

    def check_data(self) -> None:
        """Raises what keeps validation shapes from being opened, where C is chosen on them."""
        if len(self.config.costs) > 1:
            self.make_dataset(self.data, "val", 0)

    def forward(self, batch: ShapeBatch) -> Output:
        """Makes the machine, once; the loss is zero."""
        if not self._fitted:
            self.fit()
        return Output(self.unused * 0, {"cost": float(self.cost)})

    @torch.no_grad()
    def fit(self) -> None:
        """Chooses C on validation shapes and makes the machine of the labelled training shapes.

        Raises:
            ValueError: no validation shapes to choose on.
        """
        train = with_labels(self.embed_split("train"), "the training split")
        self.feature_mean.zero_()  # ``init`` may have brought those of another machine
        self.feature_scale.fill_(1)
        self.val_accuracy.fill_(_UNTRIED)
        if self.config.standardize and len(train.features) > 1:
            mean, scale = channel_statistics(train.features.double())
            self.feature_mean.copy_(mean)
            self.feature_scale.copy_(scale)
        costs = sorted(self.config.costs)
        features = self._scaled(train.features)
        machines = [
            fit_machine(features, train.labels, cost, self.config.kind, len(self.classes))
            for cost in costs
        ]
        best = 0
        if len(costs) > 1:
            val = with_labels(self.embed_split("val"), "the validation split, which C is chosen on")
            rows = self._scaled(val.features)
            said = [predict(machine, rows, self.config.kind) for machine in machines]
            accuracy = torch.stack([(each == val.labels).double().mean() for each in said])
            self.val_accuracy.copy_(accuracy)
            best = int(accuracy.argmax())
            _log.info("C %g: %.4f of the validation shapes", costs[best], float(accuracy[best]))
        for name, value in machines[best]._asdict().items():
            getattr(self, name).copy_(value)
        self.cost.fill_(costs[best])
        self._fitted = True

    def _scaled(self, features: Tensor) -> Tensor:
        return scaled(features, self.feature_mean.cpu(), self.feature_scale.cpu())

    def classify(self, batch: ShapeBatch) -> Tensor:
        """(B,) int64 classes; raises ``RuntimeError`` where nothing was fitted."""
        return self._say(self.embed([batch]).features)

    def _say(self, features: Tensor) -> Tensor:
        if not float(self.cost):
            raise RuntimeError("the machine is not made yet: train one step first")
        machine = Machine(self.weight.cpu(), self.bias.cpu(), self.present.cpu())
        return predict(machine, self._scaled(features), self.config.kind)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, Any]:
        """Figures as of ``classification``, and ``selection``: C and how the others did on
        validation shapes.

        Raises:
            RuntimeError: nothing was fitted.
        """
        embeddings = self.embed(batches)
        said = self._say(embeddings.features)
        classes = len(self.classes)
        confusion = confusion_matrix(embeddings.labels, said, classes)
        tried = zip(sorted(self.config.costs), self.val_accuracy.tolist(), strict=True)
        return {
            "num_shapes": len(said),
            **classification_figures(confusion, self.classes),
            "selection": {
                "cost": float(self.cost),
                "split": "val" if len(self.config.costs) > 1 else "none",
                "accuracy": {f"{cost:g}": v if v >= 0 else None for cost, v in tried},
            },
            "confusion": confusion.tolist(),
        }
