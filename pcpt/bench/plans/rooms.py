"""The proof on synthetic rooms: what pretraining saves in labels (docs/proof.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pcpt.bench.plan import Cell, Choice, Column, Command, Figure, Plan, Row

SEEDS = (0, 1, 2)
# Learning rates are settled on the validation rooms with labels and weights of another seed, for
# every row alike: none has a rate that was found for another.
TUNING_SEED = 100
RATES = ("1e-3", "3e-3", "1e-2")
TUNING_LIMIT = "data.limit.scenes=0.05"

CONFIGS = "configs/proof/rooms"
MIOU = (Figure("points/miou", "mIoU"),)


@dataclass(frozen=True)
class Teaching:
    """A row whose weights are pretrained: overrides of ``pretrain.yaml``."""

    row: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Fine:
    """A column of fine-tuning: overrides of ``finetune.yaml``."""

    column: str
    title: str
    group: str
    overrides: tuple[str, ...]


SCRATCH = "scratch"
TEACHINGS = (
    Teaching("ppkt", ("teacher.name=lite0",)),
    Teaching("ppkt_random", ("teacher.name=lite0", "teacher.weights=random")),
)
ROWS = (
    Row(SCRATCH, "scratch"),
    Row("ppkt", "PPKT, ImageNet teacher"),
    Row("ppkt_random", "PPKT, random teacher", control=True),
)
_SCENES = "Segmentation of rooms, fine-tuned on some of 100 labelled rooms"
_POINTS = "Segmentation of rooms, fine-tuned on some labelled points of each of 100 rooms"
FINES = (
    Fine("finetune_5", "5% (5 rooms)", _SCENES, ("data.limit.scenes=0.05",)),
    Fine("finetune_1", "1% (1 room)", _SCENES, ("data.limit.scenes=0.01",)),
    Fine("finetune_points20", "20 points", _POINTS, ("data.limit.points=20",)),
    Fine("finetune_points100", "100 points", _POINTS, ("data.limit.points=100",)),
    Fine("finetune_10", "10%", _SCENES, ("data.limit.scenes=0.1",)),
    Fine("finetune_100", "100%", _SCENES, ()),
)

ABOUT = """
Rows differ in the weights that training starts from, and in nothing else: the same network
(`small`, 5 cm voxels), the same labels, steps and augmentation in a column. Pretraining sees
frames of 80 rooms without any label, none of which is among the 150 rooms of the evaluation (100
to train, 25 to validate, 25 to test). The seed sets pretraining, the labelled subset, the first
weights of what is not pretrained, and the order of samples. The learning rate of every row is the
best of three on the validation rooms, with labels of another seed; the test rooms are used for
the figures below alone. mIoU is over ScanNet's 20 classes, on the points of whole rooms.
"""


def rooms_plan() -> Plan:
    """The table of the issue: rows by what was pretrained, columns by what is asked of it."""
    columns = [Column("tune", "tuning", MIOU)]
    columns += [Column(fine.column, fine.title, MIOU, fine.group) for fine in FINES]
    return Plan(
        name="rooms",
        title="Synthetic rooms",
        about=ABOUT,
        rows=ROWS,
        columns=tuple(columns),
        cells=(*_rooms(), *_pretrainings(), *_tunings(), *_finetunings()),
        baseline=SCRATCH,
        tuning=("tune",),
    )


def _rooms() -> list[Cell]:
    """The data, made where it is not there yet."""
    kinds = {
        "evaluate": ("--rooms", "150", "--seed", "0"),
        "pretrain": ("--rooms", "80", "--seed", "1"),
    }
    return [
        Cell(f"rooms/{kind}", (("rooms", f"{{rooms}}/{kind}", *options, "--jobs", "2"),), minutes=8)
        for kind, options in kinds.items()
    ]


def _pretrainings() -> list[Cell]:
    cells = []
    for teaching in TEACHINGS:
        for seed in (*SEEDS, TUNING_SEED):
            command = (
                "train",
                f"{CONFIGS}/pretrain.yaml",
                "run={here}/run",
                f"seed={seed}",
                "data.source.roots=[{rooms}/pretrain/scans]",
                *teaching.overrides,
                "--resume",
                "auto",
            )
            name = f"pretrain/{teaching.row}/seed{seed}"
            cells.append(Cell(name, (command,), needed=("rooms/pretrain",), minutes=10))
    return cells


def _weights(row: str, seed: int) -> tuple[str, ...]:
    """The override that starts a row from its pretrained weights."""
    return () if row == SCRATCH else (f"init={{cell:pretrain/{row}/seed{seed}}}/run",)


def _train_and_test(
    config: str, row: str, seed: int, overrides: Sequence[str], split: str
) -> tuple[Command, ...]:
    train = (
        "train",
        f"{CONFIGS}/{config}.yaml",
        "run={here}/run",
        f"seed={seed}",
        f"data.limit.seed={seed}",
        "data.source.root={rooms}/evaluate/scans",
        *overrides,
        *_weights(row, seed),
        "--resume",
        "auto",
    )
    return (train, ("test", "{here}/run", "--split", split))


def _tunings() -> list[Cell]:
    return [
        Cell(
            f"tune/{row.name}/lr{rate}",
            _train_and_test(
                "finetune", row.name, TUNING_SEED, (TUNING_LIMIT, f"optim.lr={rate}"), "val"
            ),
            row=row.name,
            column="tune",
            seed=TUNING_SEED,
            needed=("rooms/evaluate",),
            metrics="run/metrics.json",
            minutes=3.5,
        )
        for row in ROWS
        for rate in RATES
    ]


def _rate_of(row: str) -> Choice:
    tried = {rate: (f"tune/{row}/lr{rate}",) for rate in RATES}
    return Choice("lr", tried, "points/miou")


def _finetunings() -> list[Cell]:
    return [
        Cell(
            f"{fine.column}/{row.name}/seed{seed}",
            _train_and_test(
                "finetune", row.name, seed, (*fine.overrides, "optim.lr={choice:lr}"), "test"
            ),
            row=row.name,
            column=fine.column,
            seed=seed,
            needed=("rooms/evaluate",),
            choices=(_rate_of(row.name),),
            metrics="run/metrics.json",
            minutes=3.5,
        )
        for fine in FINES
        for seed in SEEDS
        for row in ROWS
    ]
