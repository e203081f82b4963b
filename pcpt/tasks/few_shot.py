"""Few-shot classification: further shapes of a few classes told apart from a few examples."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.data.episodes import Episode, draw_episode
from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.methods.base import Output
from pcpt.registry import register
from pcpt.tasks.frozen import channel_statistics
from pcpt.tasks.frozen_shapes import FrozenShapes, FrozenShapesConfig, scaled
from pcpt.tasks.objects import embed_batch, embedding_channels, joined
from pcpt.tasks.shape_features import Embeddings
from pcpt.tasks.svm import fit_machine, predict

CLASSIFIERS = ("svm", "knn", "finetune")


@register("tasks", "few_shot")
class FewShot(FrozenShapes):
    """Mean accuracy over episodes of N ways and K shots, drawn from the split that is scored.

    The usual protocol (Sharma and Kaul, NeurIPS 2020, arXiv 2009.14168) takes ten episodes of 5 or
    10 ways and 10 or 20 shots with 20 queries of each class. Every episode starts from the same
    network. Nothing is learnt from the training split; ``train.steps: 1`` is the whole run.
    """

    @dataclass
    class Config(FrozenShapesConfig):
        """Keys of the ``task`` section; see also ``FrozenShapesConfig``.

        Attributes:
            ways: classes of an episode.
            shots: examples of each class.
            queries: further shapes of each class.
            episodes: how many.
            episode_seed: of all of them; not the run's, so that runs share their episodes.
            classifier: svm, linear, on frozen embeddings; knn, by cosine, on frozen embeddings; or
                finetune, a copy of the whole network under a linear head.
            cost: C of the svm.
            neighbors: k of knn; at most the shots are of use.
            finetune_steps: of each episode, on all its examples at once.
            finetune_lr: peak rate of AdamW, which falls to 0 by a cosine.
        """

        name: str = "few_shot"
        ways: int = 5
        shots: int = 10
        queries: int = 20
        episodes: int = 10
        episode_seed: int = 0
        classifier: str = "svm"
        cost: float = 0.01
        neighbors: int = 1
        finetune_steps: int = 30
        finetune_lr: float = 5e-4

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice("task.classifier", self.classifier, CLASSIFIERS)
            check_minimum("task.ways", self.ways, 2)
            for key in ("shots", "queries", "episodes", "neighbors", "finetune_steps"):
                check_minimum(f"task.{key}", getattr(self, key), 1)
            for key in ("cost", "finetune_lr"):
                if not getattr(self, key) > 0:
                    raise ValueError(f"task.{key} is {getattr(self, key)}, expected above 0")

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        config = self.config
        how = {
            "svm": f"linear SVM (one_vs_one, C {config.cost:g}) on frozen embeddings",
            "knn": f"{config.neighbors} nearest by cosine among frozen embeddings",
            "finetune": f"the network fine-tuned for {config.finetune_steps} steps each",
        }[config.classifier]
        return (
            f"{config.ways} ways, {config.shots} shots, {config.queries} queries of each class, "
            f"mean and deviation over {config.episodes} episodes of seed {config.episode_seed}; "
            f"{how}; no voting"
        )

    def forward(self, batch: ShapeBatch) -> Output:
        """There is nothing to train; the loss is zero."""
        return Output(self.unused * 0, {})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, Any]:
        """``accuracy``, the mean over episodes; ``accuracy_deviation``, their sample standard
        deviation (NaN of a single one); and ``episodes``, each one's accuracy and classes.

        Raises:
            ValueError: not as many classes with so many shapes, see ``draw_episode``.
        """
        shapes = [self.checked(batch) for batch in joined(batches)]
        labels = torch.cat([batch.label for batch in shapes]).tolist()
        episodes = [self._draw(labels, number) for number in range(self.config.episodes)]
        if self.config.classifier == "finetune":
            every = collate_shapes(shapes)
            accuracy = [self._finetuned(every, e, n) for n, e in enumerate(episodes)]
        else:
            embeddings = self.embed(iter(shapes))
            accuracy = [self._frozen(embeddings, episode) for episode in episodes]
        values = torch.tensor(accuracy, dtype=torch.float64)
        return {
            "num_shapes": len(labels),
            "accuracy": float(values.mean()),
            "accuracy_deviation": float(values.std()) if len(values) > 1 else float("nan"),
            "episodes": [
                {"accuracy": value, "classes": [self.classes[i] for i in episode.classes.tolist()]}
                for value, episode in zip(accuracy, episodes, strict=True)
            ],
        }

    def _draw(self, labels: list[int], number: int) -> Episode:
        config = self.config
        return draw_episode(
            labels,
            ways=config.ways,
            shots=config.shots,
            queries=config.queries,
            seed=config.episode_seed,
            number=number,
        )

    def _frozen(self, embeddings: Embeddings, episode: Episode) -> float:
        support, query = embeddings.features[episode.support], embeddings.features[episode.query]
        if self.config.standardize:
            mean, scale = channel_statistics(support.double())
            support, query = scaled(support, mean, scale), scaled(query, mean, scale)
        if self.config.classifier == "svm":
            labels, kind = episode.support_label, "one_vs_one"
            machine = fit_machine(support, labels, self.config.cost, kind, self.config.ways)
            said = predict(machine, query, kind)
        else:
            said = nearest_classes(
                support, episode.support_label, query, self.config.neighbors, self.config.ways
            )
        return _share(said, episode)

    def _finetuned(self, every: ShapeBatch, episode: Episode, number: int) -> float:
        """The same for the same episode, whatever was drawn before it."""
        device = next(self.student.parameters()).device
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed((self.config.episode_seed << 20) + number)
            student = copy.deepcopy(self.student).requires_grad_(True).train()
            head = nn.Linear(embedding_channels(student, self.config.pooling), self.config.ways)
            network = nn.ModuleList([student, head.to(device)])
            support = every.rows(episode.support).to(device)
            self._train(network, support, episode.support_label.to(device))
        network.eval()
        said = [
            self._scores(network, every.rows(part).to(device)).argmax(1).cpu()
            for part in episode.query.split(self.config.batch_size)
        ]
        return _share(torch.cat(said), episode)

    def _train(self, network: nn.ModuleList, support: ShapeBatch, target: Tensor) -> None:
        steps = self.config.finetune_steps
        optimizer = torch.optim.AdamW(network.parameters(), self.config.finetune_lr, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(self._scores(network, support), target).backward()
            optimizer.step()
            schedule.step()

    def _scores(self, network: nn.ModuleList, batch: ShapeBatch) -> Tensor:
        return network[1](embed_batch(network[0], batch, self.config.pooling))


def nearest_classes(
    bank: Tensor, labels: Tensor, queries: Tensor, neighbors: int, classes: int
) -> Tensor:
    """(Q,) int64: the class most of the nearest of a bank have by cosine; of equals the one whose
    neighbours are nearer in sum.

    Args:
        bank: (S, D) floating.
        labels: (S,) int64 in 0..classes - 1.
        queries: (Q, D) floating.
        neighbors: k; at most S.
        classes: how many.
    """
    similarity = F.normalize(queries.double(), dim=1) @ F.normalize(bank.double(), dim=1).T
    nearest = similarity.topk(min(neighbors, len(bank)), dim=1)
    found = labels[nearest.indices]
    # below one for all neighbours together, so that a vote more always wins
    closeness = (1 + nearest.values.clamp(-1, 1)) / (4 * nearest.values.shape[1])
    votes = closeness.new_zeros(len(queries), classes).scatter_add_(1, found, 1 + closeness)
    return votes.argmax(1)


def _share(said: Tensor, episode: Episode) -> float:
    return float((said == episode.query_label).double().mean())
