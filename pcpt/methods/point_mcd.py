"""PointMCD: multi-view cross-modal distillation (Zhang, Hou, Qian, TMM 2023, arXiv 2207.03128).

A point network learns, for each view of a shape, the codeword that a frozen image network gives the
picture of that view, from the points that are visible in it. With labels it learns its task in the
same run; without any it is pretrained. Where the released code differs from what the paper means,
the default is the latter; see ``Config``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from pcpt.channels import channel_scale
from pcpt.choices import check_choice, check_minimum, check_share
from pcpt.data.partly_labelled import PartlyLabelled
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import open_shapes
from pcpt.data.shape_views import ViewedDataConfig
from pcpt.losses.codewords import codeword_l1
from pcpt.methods.base import Output
from pcpt.methods.codeword_bank import CodewordBank, codeword_channels
from pcpt.methods.point_mcd_heads import ClassHead, PartHead
from pcpt.methods.shapes import ShapeMethod
from pcpt.methods.visible_projection import MASKINGS, ViewCodes, VisibleProjection
from pcpt.metrics.codewords import evaluate_codewords
from pcpt.registry import register
from pcpt.students.point_network import Encoded, PointNetwork
from pcpt.tasks.objects import check_has_parts, joined

if TYPE_CHECKING:
    from pcpt.viz.report import Figure

LABELS = ("classification", "part_segmentation", "none")
FIDELITIES = ("mended", "paper")


@register("methods", "point_mcd")
class PointMCD(ShapeMethod):
    """Distillation of view codewords into a point network.

    The teacher may be any: ``view_codewords`` is the paper's, fine-tuned on views; of others the
    codeword is the mean over their feature map. Without a teacher, or with ``distill_weight: 0``,
    the same network learns its task alone.

    Args:
        config: see ``Config``.
        student: a ``PointNetwork``.
        teacher: frozen image network, or None.
        data: shapes and cameras.
    """

    Data = ViewedDataConfig
    needs_teacher: ClassVar[bool] = False
    in_percent: ClassVar[bool] = True

    @dataclass
    class Config:
        """Keys of the ``method`` section.

        Attributes:
            labels: what is learnt beside the codewords: classification, part_segmentation or none.
            distill_weight: of the codewords' loss.
            label_weight: of the labels' loss; the paper's is 0.1, and 1 for part segmentation.
            regulariser_weight: of PointNet's feature transform.
            label_smoothing: of the labels' cross-entropy.
            distill_unlabelled: share of the samples drawn from all training shapes with their
                labels taken away; the others are those that ``data.limit`` leaves. A teacher's
                codewords need no label. 0, as in the paper, which has labels for all.
            label_views: classification alone: the scores have a second term, linear in the maximum
                over the views of the student's own codewords, which are learnt from unlabelled
                shapes too. Not in the paper; without a teacher there are no codewords and no term.
            hidden: of the layer under the classifier.
            fidelity: what ``masking`` and ``empty_views`` are where they are left empty: mended
                (exclude, skip) or paper, for the released code (multiply, count).
            masking: of hidden points, see ``visible_max``.
            empty_views: skip, views in which nothing is visible have no loss; or count.
            standardize: of teachers without codewords of their own: bring each channel to zero
                mean and unit variance over the first training views, since they differ in scale by
                orders of magnitude.
            calibration_batches: training batches for these statistics, and for those of the batch
                norms of a teacher with random weights.
            cache: folder for the teacher's codewords, shared by runs; empty keeps them in memory.
        """

        name: str = "point_mcd"
        labels: str = "classification"
        distill_weight: float = 1.0
        label_weight: float = 0.1
        regulariser_weight: float = 0.001
        label_smoothing: float = 0.0
        distill_unlabelled: float = 0.0
        label_views: bool = False
        hidden: int = 512
        fidelity: str = "mended"
        masking: str = ""
        empty_views: str = ""
        standardize: bool = True
        calibration_batches: int = 2
        cache: str = ""

        def __post_init__(self) -> None:
            check_choice("method.labels", self.labels, LABELS)
            check_choice("method.fidelity", self.fidelity, FIDELITIES)
            check_choice("method.masking", self.masking, ("", *MASKINGS))
            check_choice("method.empty_views", self.empty_views, ("", "skip", "count"))
            for key in ("distill_weight", "label_weight", "regulariser_weight"):
                check_minimum(f"method.{key}", getattr(self, key), 0)
            check_minimum("method.hidden", self.hidden, 1)
            check_minimum("method.calibration_batches", self.calibration_batches, 1)
            for key in ("label_smoothing", "distill_unlabelled"):
                check_share(f"method.{key}", getattr(self, key))

        def resolved(self) -> tuple[str, str]:
            """``masking`` and ``empty_views`` as they are once ``fidelity`` has filled them in."""
            paper = self.fidelity == "paper"
            masking = self.masking or ("multiply" if paper else "exclude")
            return masking, self.empty_views or ("count" if paper else "skip")

    codeword_mean: Tensor
    codeword_scale: Tensor

    def __init__(self, config: Config, student: Any, teacher: Any, data: ViewedDataConfig) -> None:
        """
        Raises:
            ValueError: a student that is no point network, nothing to learn, unlabelled samples
                without distillation, or a source without the classes or parts that are to be
                learnt.
        """
        super().__init__()
        if not isinstance(student, PointNetwork):
            raise ValueError(
                f"method point_mcd needs a point network such as dgcnn, pointnet or pointnet2, but "
                f"student is {type(student).__name__}"
            )
        self.config = config
        self.student = student
        shapes = open_shapes(data, "train")
        self.classes, self.part_names = shapes.classes, shapes.part_names
        self.parts_of_class = shapes.parts_of_class
        self.head = self._head(data)
        self.distils = teacher is not None and config.distill_weight > 0
        if self.head is None and not self.distils:
            raise ValueError(
                "method point_mcd has nothing to learn: give it a teacher and a "
                "method.distill_weight above 0, or set method.labels"
            )
        if not self.distils and config.distill_unlabelled > 0:
            raise ValueError(
                f"method.distill_unlabelled is {config.distill_unlabelled}, but nothing is "
                "distilled: that share of each batch would only move the statistics of batch "
                "norms; set it to 0, or give a teacher and a method.distill_weight above 0"
            )
        if self.head is not None:
            views = " and from the codewords of its views" if self.distils else ""
            self.learnt = f"which learnt from labels for {config.labels.replace('_', ' ')}{views}"
        self.bank = CodewordBank(data, config.cache)
        if self.distils:
            self.freeze("teacher", teacher)
            channels = codeword_channels(teacher)
            own = hasattr(teacher, "codewords")
            self.standardizes = config.standardize and not own
            self.register_buffer("codeword_mean", torch.zeros(channels))
            self.register_buffer("codeword_scale", torch.ones(channels))
            masking, empty = config.resolved()
            self.projection = VisibleProjection(
                # what a transformer hands to points is of all scales, its embedding of the coarsest
                getattr(student, "embedding_channels", student.point_channels),
                channels,
                masking=masking,
                skip_empty=empty == "skip",
                relu=own,
            )
        self.view_classifier = None
        if self.distils and config.label_views and isinstance(self.head, ClassHead):
            self.view_classifier = nn.Linear(channels, len(self.classes), bias=False)

    @classmethod
    def from_parts(cls, config: Any, student: Any, teacher: Any, data: Any) -> "PointMCD":
        """See ``Method.from_parts``."""
        return cls(config, student, teacher, data)

    @property
    def needs_labels(self) -> str:
        """See ``ShapeMethod.needs_labels``."""
        return {"classification": "classes", "part_segmentation": "parts", "none": ""}[
            self.config.labels
        ]

    def _head(self, data: ViewedDataConfig) -> ClassHead | PartHead | None:
        config, student = self.config, self.student
        if config.labels == "none":
            return None
        wanted = self.classes if config.labels == "classification" else self.part_names
        if not wanted:
            raise ValueError(
                f"method.labels is {config.labels}, but data source {data.source.name!r} has no "
                f"{'classes' if config.labels == 'classification' else 'parts'}; take one that "
                "has, such as procedural_shapes, or set method.labels=none"
            )
        if config.labels == "classification":
            return ClassHead(student.pooled_channels, config.hidden, len(self.classes))
        check_has_parts(data)
        return PartHead(
            student.local_channels,
            student.pooled_channels,
            len(self.classes),
            len(self.part_names),
            getattr(student.config, "width", 1.0),  # transformers have no such factor
        )

    def make_dataset(self, config: ViewedDataConfig, split: str, seed: int) -> Any:  # type: ignore[override]
        """Samples of a split; of "train" with unlabelled ones among them, if the config says so."""
        if split == "train" and self.config.distill_unlabelled > 0:
            return PartlyLabelled(config, seed, self.config.distill_unlabelled)
        return super().make_dataset(config, split, seed)

    def prepare(self, batches: Iterable[ShapeBatch]) -> None:
        """Sets what is measured once on training views: a random teacher's batch norms, and the
        mean and scale of codewords of teachers that have none of their own."""
        if not self.distils:
            return
        self.codeword_mean.zero_()  # ``init`` may have brought those of another run
        self.codeword_scale.fill_(1)
        teacher: Any = self.frozen["teacher"]
        if not teacher.needs_calibration and not self.standardizes:
            return
        firsts = [b for _, b in zip(range(self.config.calibration_batches), batches)]
        if teacher.needs_calibration:
            device = next(self.parameters()).device
            teacher.calibrate(
                torch.cat(
                    [self.bank.pictures(*key) for key in zip(b.names, b.splits, strict=True)]
                ).to(device)
                for b in firsts
            )
        if self.standardizes:
            seen = torch.cat([self.bank.codewords(b.names, teacher, b.splits) for b in firsts])
            seen = seen.flatten(0, 1)
            mean = seen.mean(0)
            self.codeword_mean.copy_(mean)
            self.codeword_scale.copy_(channel_scale(mean, seen.std(0)))

    def teacher_codewords(self, batch: ShapeBatch) -> Tensor:
        """(B, V, D): what the views of the shapes should be."""
        seen = self.bank.codewords(batch.names, self.frozen["teacher"], batch.splits)
        seen = seen.to(batch.points.device)
        return (seen - self.codeword_mean) * self.codeword_scale

    def encode(self, batch: ShapeBatch) -> Encoded:
        """What the student knows of the shapes."""
        with_local = self.config.labels == "part_segmentation"
        return self.student.encode(batch.points, batch.normals, with_local=with_local)

    def view_codes(self, encoded: Encoded, batch: ShapeBatch) -> ViewCodes:
        """The student's codewords of the views."""
        visible = self.bank.visible(batch)
        if encoded.index is not None:
            index = encoded.index[:, None].expand(-1, visible.shape[1], -1)
            visible = visible.gather(2, index)
        return self.projection(encoded.embedding, visible)

    def logits(self, encoded: Encoded, batch: ShapeBatch, codes: ViewCodes | None = None) -> Tensor:
        """(B, classes) of shapes, or (B, N, parts) of their points; ``codes`` are those of
        ``view_codes`` where they are known already."""
        if isinstance(self.head, PartHead):
            return self.head(encoded, batch.label)
        assert self.head is not None
        logits = self.head(encoded)
        if self.view_classifier is not None:
            codes = self.view_codes(encoded, batch) if codes is None else codes
            seen = codes.codeword.masked_fill(~codes.valid[..., None], -torch.inf).max(1).values
            shown = codes.valid.any(1, keepdim=True)
            logits = logits + self.view_classifier(torch.where(shown, seen, 0.0))
        return logits

    def forward(self, batch: ShapeBatch) -> Output:
        """The sum of the losses, each by its weight."""
        config = self.config
        self._check(batch)
        encoded = self.encode(batch)
        codes = self.view_codes(encoded, batch) if self.distils else None
        loss = encoded.pooled.sum() * 0
        logs: dict[str, float | Tensor] = {}
        if self.head is not None:
            logits = self.logits(encoded, batch, codes)
            of_labels, accuracy = self.head.loss(logits, batch, config.label_smoothing)
            loss = loss + config.label_weight * of_labels
            logs |= {"loss_labels": of_labels.detach(), "accuracy": accuracy.detach()}
            logs["num_labelled"] = float((batch.label >= 0).sum())
        if codes is not None:
            of_views = codeword_l1(codes.codeword, self.teacher_codewords(batch), codes.valid)
            loss = loss + config.distill_weight * of_views
            logs |= {"loss_views": of_views.detach(), "num_views": float(codes.valid.sum())}
        if encoded.regulariser is not None:
            loss = loss + config.regulariser_weight * encoded.regulariser
            logs["regulariser"] = encoded.regulariser.detach()
        return Output(loss, logs)

    def _check(self, batch: ShapeBatch) -> None:
        """Raises ``ValueError`` for a label that is no class, or a part that is not the class's."""
        for name, label, parts in zip(batch.names, batch.label.tolist(), batch.parts, strict=True):
            if label >= len(self.classes) and self.config.labels != "none":
                raise ValueError(
                    f"shape {name} has label {label}, but there are {len(self.classes)} classes"
                )
            if self.config.labels != "part_segmentation":
                continue
            allowed = range(len(self.part_names)) if label < 0 else self.parts_of_class[label]
            found = set(parts.unique().tolist()) - {-1} - set(allowed)
            if found:
                raise ValueError(
                    f"shape {name} has part {min(found)}, but its class has the parts "
                    f"{', '.join(map(str, allowed))}"
                )

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, float]:
        """How well labels are told, and whether codewords of views find each other; see
        ``evaluate_codewords``."""
        was_training = self.training
        self.eval()
        figures = evaluate_codewords(self, joined(batches))
        self.train(was_training)
        return figures

    def figures(self, before: ShapeMethod, batch: ShapeBatch) -> Mapping[str, "Figure"]:
        """Views with what they show, and the space of codewords."""
        from pcpt.viz.point_mcd import figures

        return figures(self, before, batch)
