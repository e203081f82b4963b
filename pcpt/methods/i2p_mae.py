"""I2P-MAE: a masked autoencoder of shapes that learns from a 2D network where to look and what to
predict (Zhang et al., CVPR 2023, arXiv 2212.06785).

A shape becomes tokens at several scales; most are masked, fewer of those that the 2D network finds
salient in views of the shape. The masked ones are reconstructed, and the visible ones predict the
2D network's features. What the released code does otherwise than it should is mended by default,
key by key, see ``i2p_config``. Without guidance and 2D targets it is a plain masked autoencoder,
and takes no teacher.
"""

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from pcpt.channels import channel_scale
from pcpt.data.order import generator_for
from pcpt.data.shape_batch import ShapeBatch
from pcpt.losses import chamfer
from pcpt.methods.base import Output
from pcpt.methods.i2p_config import I2PConfig
from pcpt.methods.image_knowledge import Knowledge, Onlooker
from pcpt.methods.masking import (
    draw_visible,
    keep_odds,
    number_visible,
    relative_entropy,
    saliency_of_tokens,
)
from pcpt.methods.shapes import ShapeMethod
from pcpt.methods.token_decoder import TokenDecoder
from pcpt.registry import register
from pcpt.students.point_tokens import (
    TokenScale,
    gather_points,
    points_of_tokens,
    visible_in_all_scales,
)
from pcpt.tasks.objects import joined

if TYPE_CHECKING:
    from pcpt.viz.report import Figure

_EVALUATED_TOGETHER = 16


class Masked(NamedTuple):
    """Shapes with some of their tokens visible.

    Attributes:
        scales: the tokens, from fine to coarse.
        visible: (B, M) bool for each scale.
        logits: (B, M) of being kept, at the coarsest scale.
        saliency: (B, M) there; None without guidance.
        knowledge: of the teacher; None without one.
        seconds: where the time went.
    """

    scales: list[TokenScale]
    visible: list[Tensor]
    logits: Tensor
    saliency: Tensor | None
    knowledge: Knowledge | None
    seconds: dict[str, float]


@register("methods", "i2p_mae")
class I2PMAE(ShapeMethod):
    """2D-guided masked autoencoder of single shapes.

    Args:
        config: see ``I2PConfig``.
        student: with tokens, such as ``point_mae``.
        teacher: with saliency if ``masking.guided``; None where nothing is asked of it.
    """

    Config = I2PConfig
    needs_teacher = False
    channel_mean: Tensor
    channel_scale: Tensor

    def __init__(self, config: I2PConfig, student: Any, teacher: Any) -> None:
        """
        Raises:
            ValueError: no teacher where one is needed, a student without tokens, or a decoder that
                does not fit it.
        """
        super().__init__()
        if not hasattr(student, "scales") or not hasattr(student, "tokens"):
            raise ValueError(
                f"i2p_mae masks tokens and {type(student).__name__} has none; give student.name "
                "point_mae"
            )
        self.config = config
        self.student = student
        sizes = student.config
        self.num_visible = number_visible(sizes.num_tokens[-1], config.masking.ratio)
        self.decoder = TokenDecoder(
            sizes.dims,
            config.decoder_depths,
            heads=sizes.heads,
            mlp_ratio=sizes.mlp_ratio,
            drop_path=sizes.drop_path,
        )
        self.target_scale = len(sizes.num_tokens) - len(config.decoder_depths)
        self.group_size = sizes.group_sizes[self.target_scale]
        self.point_head = _head(self.decoder.out_channels, self.group_size * 3)
        self.onlooker: Onlooker | None = None
        if config.needs_teacher:
            self._take(teacher)

    def _take(self, teacher: Any) -> None:
        if teacher is None:
            raise ValueError(
                "i2p_mae asks a teacher for saliency and targets, and the run names none: add the "
                "section teacher, or, for a plain masked autoencoder, set "
                "method.masking.guided=false and method.targets.images=false"
            )
        config = self.config
        self.freeze("teacher", teacher)
        self.onlooker = Onlooker(config.views, teacher, salient=config.masking.guided)
        if config.targets.images:
            outputs = self.group_size * len(config.views.directions) * teacher.channels
            self.image_head = _head(self.decoder.out_channels, outputs)
            self.register_buffer("channel_mean", torch.zeros(teacher.channels))
            self.register_buffer("channel_scale", torch.ones(teacher.channels))

    def prepare(self, batches: Iterable[ShapeBatch]) -> None:
        """Sets what is measured once on training views: a random teacher's batch norms, and the
        mean and scale of each teacher channel."""
        if self.onlooker is None:
            return
        if self.config.targets.images:
            self.channel_mean.zero_()  # ``init`` may have brought those of another run
            self.channel_scale.fill_(1)
        teacher: Any = self.frozen["teacher"]
        standardize = self.config.targets.images and self.config.targets.standardize
        if not teacher.needs_calibration and not standardize:
            return
        some = [b for _, b in zip(range(self.config.calibration_batches), batches)]
        if teacher.needs_calibration:
            teacher.calibrate([self.onlooker.views(batch).rgb() for batch in some])
        if standardize:
            mean, deviation = self.onlooker.statistics(some)
            self.channel_mean.copy_(mean)
            self.channel_scale.copy_(channel_scale(mean, deviation))

    def mask(self, batch: ShapeBatch, noise: Tensor | None = None) -> Masked:
        """Tokens of a batch, and which of them stay visible.

        Args:
            batch: of shapes.
            noise: (B, M) uniform in [0, 1), that decides the draw; by default random.
        """
        masking = self.config.masking
        clock = [time.perf_counter()]
        knowledge = self.onlooker.look(batch) if self.onlooker is not None else None
        clock.append(time.perf_counter())
        scales = self.student.scales(batch.points)
        coarsest = points_of_tokens(scales)[-1]
        logits, saliency = torch.zeros(coarsest.shape, device=coarsest.device), None
        if masking.guided:
            assert knowledge is not None
            assert masking.temperature is not None and masking.standardize is not None
            seen = knowledge.visible_at(coarsest) if masking.visibility else None
            saliency = saliency_of_tokens(knowledge.saliency_at(coarsest), seen)
            logits = keep_odds(saliency, masking.temperature, standardize=masking.standardize)
        if noise is None:
            noise = torch.rand(logits.shape, device=logits.device)
        kept = draw_visible(logits, self.num_visible, noise)
        always_first = bool(masking.always_visible_token)
        visible = visible_in_all_scales(kept, scales, always_first=always_first)
        clock.append(time.perf_counter())
        seconds = {"time/teacher": clock[1] - clock[0], "time/tokens": clock[2] - clock[1]}
        return Masked(scales, visible, logits, saliency, knowledge, seconds)

    def decode(self, batch: ShapeBatch, masked: Masked) -> Tensor:
        """(B, M, C) of the tokens of the target scale, from the visible ones."""
        tokens = self.student.tokens(batch.points, masked.scales, masked.visible)
        return self.decoder(tokens, masked.scales, masked.visible[-1])

    def predicted_groups(self, decoded: Tensor) -> Tensor:
        """(..., K, 3) positions of a token's neighbours, seen from its centre."""
        return self.point_head(decoded).unflatten(-1, (self.group_size, 3))

    def groups(self, points: Tensor, scales: list[TokenScale]) -> Tensor:
        """(B, M, K, 3) what ``predicted_groups`` should be."""
        scale = scales[self.target_scale]
        before = scales[self.target_scale - 1].centers if self.target_scale else points
        return gather_points(before, scale.members) - scale.centers[:, :, None]

    def point_distances(self, batch: ShapeBatch, masked: Masked, decoded: Tensor) -> Tensor:
        """(L,) Chamfer distances of the masked tokens' groups."""
        hidden = ~masked.visible[self.target_scale]
        found = self.predicted_groups(decoded[hidden]).float()
        return chamfer(found, self.groups(batch.points, masked.scales)[hidden].float())

    def image_pairs(self, batch: ShapeBatch, masked: Masked, decoded: Tensor) -> "Pairs":
        """Predicted and true teacher features of the visible tokens' neighbours."""
        knowledge = masked.knowledge
        assert knowledge is not None
        shown = masked.visible[self.target_scale]
        shape = shown.nonzero()[:, 0]
        scale = masked.scales[self.target_scale]
        points = scale.members[shown]
        if self.target_scale:
            points = points_of_tokens(masked.scales)[self.target_scale - 1][shape[:, None], points]
        num_views = len(self.config.views.directions)
        seen = torch.ones(*points.shape, num_views, dtype=torch.bool, device=points.device)
        if self.config.targets.visibility:
            seen = knowledge.views.visible[shape[:, None], :, points]
        target = knowledge.features_at(shape, points, seen)
        target = (target - self.channel_mean) * self.channel_scale
        found = self.image_head(decoded[shown]).float()
        return Pairs(found.view(*seen.shape, -1)[seen], target)

    def forward(self, batch: ShapeBatch) -> Output:
        """Both losses of a batch; one without anything to predict is zero."""
        targets = self.config.targets
        masked = self.mask(batch)
        clock = time.perf_counter()
        decoded = self.decode(batch, masked)
        distances = self.point_distances(batch, masked, decoded)
        points = _mean(distances)
        loss = targets.weight_points * points
        logs: dict[str, float | Tensor] = {"loss_points": points.detach()}
        if targets.images:
            pairs = self.image_pairs(batch, masked, decoded)
            images = _mean((pairs.found - pairs.target).square())
            loss = loss + targets.weight_images * images
            logs |= {"loss_images": images.detach(), "num_pairs": float(len(pairs.target))}
        logs["visible"] = masked.visible[0].float().mean()
        if masked.saliency is not None:
            logs["entropy"] = relative_entropy(masked.logits).mean()
            logs["guidance"] = guidance(masked).mean()
        logs |= masked.seconds | {"time/networks": time.perf_counter() - clock}
        return Output(loss, logs)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, float]:
        """Figures of reconstruction and masks, with masks that are always the same.

        ``points/chamfer`` of masked groups, and ``points/explained``, 1 minus its ratio to that of
        groups guessed to lie at their centres; ``images/mse``, and ``images/explained``, 1 minus
        its ratio to the targets' variance within channels; ``masks/visible``, the share of the
        finest tokens; with guidance ``masks/entropy`` (1: even draw) and ``masks/guidance``, the
        visible tokens' mean saliency over that of all.
        """
        was_training = self.training
        self.eval()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}

        def add(name: str, values: Tensor) -> None:
            sums[name] = sums.get(name, 0.0) + float(values.double().sum())
            counts[name] = counts.get(name, 0) + values.numel()

        shapes = rows = 0
        channels: Tensor | float = 0.0
        for batch in joined(batches, _EVALUATED_TOGETHER):
            masked = self.mask(batch, self._fixed_noise(batch))
            decoded = self.decode(batch, masked)
            add("points/chamfer", self.point_distances(batch, masked, decoded))
            hidden = ~masked.visible[self.target_scale]
            groups = self.groups(batch.points, masked.scales)[hidden]
            add("points/centers", chamfer(torch.zeros_like(groups), groups))
            if self.config.targets.images:
                pairs = self.image_pairs(batch, masked, decoded)
                add("images/mse", (pairs.found - pairs.target).square())
                add("images/squares", pairs.target.square())
                channels = pairs.target.double().sum(0) + channels
                rows += len(pairs.target)
            add("masks/visible", masked.visible[0].float())
            if masked.saliency is not None:
                add("masks/entropy", relative_entropy(masked.logits))
                add("masks/guidance", guidance(masked))
            shapes += batch.num_samples
        self.train(was_training)
        means = {name: total / max(1, counts[name]) for name, total in sums.items()}
        if isinstance(channels, Tensor):
            between = (channels / max(1, rows)).square().mean()
            means["images/variance"] = means.pop("images/squares") - float(between)
        return {"num_shapes": float(shapes), **_explained(means)}

    def _fixed_noise(self, batch: ShapeBatch) -> Tensor:
        """(B, M): of each shape by its number alone."""
        count = self.student.config.num_tokens[-1]
        rows = [
            torch.rand(count, generator=generator_for(0, number))
            for number in batch.number.tolist()
        ]
        return torch.stack(rows).to(batch.points.device)

    def figures(self, before: Any, batch: ShapeBatch) -> "Mapping[str, Figure]":
        """Views with saliency, masked and reconstructed shapes, and features in colour."""
        from pcpt.viz.masked_shapes import masked_figures

        return masked_figures(self, before, batch, self.mask(batch, self._fixed_noise(batch)))


class Pairs(NamedTuple):
    """S features to compare.

    Attributes:
        found: (S, C) predicted.
        target: (S, C) the teacher's, standardised where so configured.
    """

    found: Tensor
    target: Tensor


def guidance(masked: Masked) -> Tensor:
    """(B,) mean saliency of the visible coarsest tokens over that of all; 1 where all have none."""
    saliency, kept = masked.saliency, masked.visible[-1]
    assert saliency is not None
    mean = saliency.mean(1)
    of_kept = (saliency * kept).sum(1) / kept.sum(1)
    return torch.where(mean > 0, of_kept / torch.where(mean > 0, mean, 1), 1)


def _head(channels: int, outputs: int) -> nn.Linear:
    """A layer that begins near zero: every group at its centre, every feature at its mean."""
    head = nn.Linear(channels, outputs)
    nn.init.normal_(head.weight, std=0.02 / channels**0.5)
    nn.init.zeros_(head.bias)
    return head


def _mean(values: Tensor) -> Tensor:
    """Mean, 0 (with a gradient) of nothing."""
    return values.sum() / max(1, values.numel())


def _explained(means: dict[str, float]) -> dict[str, float]:
    """Figures of merit from plain means."""
    centers = means.pop("points/centers", 0.0)
    if centers > 0:
        means["points/explained"] = 1 - means["points/chamfer"] / centers
    variance = means.pop("images/variance", 0.0)
    if variance > 0:
        means["images/explained"] = 1 - means["images/mse"] / variance
    return dict(sorted(means.items()))
