"""The proof on objects: what 2D networks teach networks of single shapes (docs/proof.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pcpt.bench.plan import Cell, Choice, Column, Command, Figure, Plan, Row

SEEDS = (0, 1, 2)
# Learning rates are settled on the validation shapes, with labels of another seed.
TUNING_SEED = 100
CONFIGS = "configs/proof/objects"
ACCURACY = (Figure("accuracy", "accuracy"),)

SCRATCH = "scratch"
# Released I2P-MAE supposes CLIP: patch tokens of unit scale, and attention that sums to one, so
# that the odds of its masks differ by e^0.1 or so. Lite0's features and energies are brought there.
AS_OF_CLIP = (
    "method.targets.standardize=true",
    "method.masking.standardize=true",
    "method.masking.temperature=10",
)
# What a row's pretraining changes of pretrain.yaml.
PRETRAININGS = {
    "mae": ("method.masking.guided=false", "method.targets.images=false"),
    # its views change with augmentation: there is nothing to keep
    "i2p_paper": ("method.fidelity=paper", "method.views.cache=0", *AS_OF_CLIP),
    "i2p": (),
    "i2p_random_masks": ("method.masking.guided=false",),
    "i2p_random_teacher": ("teacher.weights=random", "teacher.seed={seed}"),
}
# Mended I2P-MAE with one thing taken back: what the mends are worth, in the linear SVM alone.
TAKEN_BACK = {
    "i2p_masks_alone": ("method.targets.images=false",),
    "i2p_summed_depth": ("method.views.depth=summed",),
    "i2p_seen_through": ("method.masking.visibility=false", "method.targets.visibility=false"),
    "i2p_raw_targets": ("method.targets.standardize=false",),
}
# Weights of labels and codewords are as 0.1 and 1 in the paper.
AS_PUBLISHED = "method.distill_weight=10"
# What a row's distillation adds to point_mcd.yaml; {teacher} is the export of its teacher. With few
# labels the batch is of two halves: as many labelled shapes as without distillation, and any.
DISTILLATIONS = {
    "mcd": ("teacher.name=view_codewords", "teacher.weights={teacher}", AS_PUBLISHED),
    # Of all its random layers the network makes noise: pictures that differ by a hair get other
    # codewords, which no student can learn. Its third stage still is a function of what is seen.
    "mcd_random": (
        "teacher.name=lite0",
        "teacher.weights=random",
        "teacher.stage=3",
        "teacher.seed={seed}",
        AS_PUBLISHED,
    ),
}
UNLABELLED = ("method.distill_unlabelled=0.5", "train.batch_size=64")
# Row -> the row whose learning rate it takes.
TUNED = (
    {SCRATCH: SCRATCH} | dict.fromkeys(PRETRAININGS, "i2p") | dict.fromkeys(DISTILLATIONS, SCRATCH)
)
ROWS = (
    Row(SCRATCH, "nothing but labels (linear SVM of point_mae: untrained)"),
    Row("mae", "plain MAE, no 2D"),
    Row("i2p_paper", "I2P-MAE as released"),
    Row("i2p", "I2P-MAE, mended"),
    Row("i2p_random_masks", "I2P-MAE, mended, random masks"),
    Row("i2p_random_teacher", "I2P-MAE, mended, random teacher", control=True),
    Row("i2p_masks_alone", "mended, guided masks without 2D targets"),
    Row("i2p_summed_depth", "mended, depth summed as released"),
    Row("i2p_seen_through", "mended, hidden points count as seen, as released"),
    Row("i2p_raw_targets", "mended, targets in the teacher's own scale"),
    Row("mcd", "PointMCD"),
    Row("mcd_random", "PointMCD, random teacher", control=True),
)
LIMITS = {"1": "0.01", "10": "0.1", "100": "1.0"}
TUNING_LIMIT = "10"


@dataclass(frozen=True)
class Network:
    """A network and its table.

    Attributes:
        name: first word of its columns.
        group: heading of the table.
        rows: of it.
        rates: learning rates to choose from.
        student: overrides of configs that are of another student.
        minutes: about, of a run with labels alone.
    """

    name: str
    group: str
    rows: tuple[str, ...]
    rates: tuple[str, ...]
    student: tuple[str, ...] = ()
    minutes: float = 2.0


def _distilled(name: str, title: str, minutes: float, *keys: str) -> Network:
    return Network(
        name,
        f"{title}: labels and view codewords in one run",
        (SCRATCH, *DISTILLATIONS),
        ("1e-3", "3e-3", "1e-2"),
        (f"student.name={name}", "student.width=0.25", *keys),
        minutes,
    )


TRANSFORMER = Network(
    "point_mae",
    "Point transformer (point_mae, small): pretrained without labels, then fine-tuned",
    (SCRATCH, *PRETRAININGS),
    ("3e-4", "1e-3", "3e-3"),
    minutes=2.7,
)
DISTILLED = (
    _distilled("dgcnn", "DGCNN", 4.0, "student.k=10"),
    _distilled("pointnet", "PointNet", 2.3),
)
NETWORKS = (TRANSFORMER, *DISTILLED)

ABOUT = """
Of ModelNet10 2,394 training shapes, of which a tenth of each class is kept for validation, and 454
test shapes (60% and half of the official splits). Rows of a table differ in what their name says
and in nothing else: the same network, labels, steps, augmentation and points. Accuracy is of single
shapes, of the last step, without voting; the test shapes are read for these figures alone. The
linear SVM is on embeddings of the frozen network, its C the best of five on the validation shapes;
of point_mae's row without pretraining the network is untrained but for the statistics of its norms,
taken on 256 training shapes, and of the other networks it is that of the column with 100% of the
labels. The seed sets pretraining, the labelled subset, first weights and order. Learning rates are
the best of three on the validation shapes with 10% of the labels, drawn by another seed: once for
each network with labels alone, whose rate PointMCD takes too, and once for mended I2P-MAE (of seed
0), whose rate the other pretrained rows take. Released I2P-MAE is made for CLIP, whose attention
sums to one: with Lite0 in its place, the odds of masks are scaled to differ as little as the
released ones, and targets to unit variance. PointMCD's teacher is Lite0 with ImageNet weights,
fine-tuned on depth views with the labels of its student and no others. PointMCD's random teacher is
the third stage of a random Lite0, another one for each seed; further up random layers answer to
every hair of a picture, which no student can learn. With fewer labels PointMCD's batches hold as
many labelled shapes as those of the row without it, and as many again without labels: the same
labels and steps, for about twice the arithmetic. Four more rows are mended I2P-MAE with one thing
taken back, in the linear SVM alone: its 2D targets, the z-buffer, the regard for which points a
view sees, and the targets' unit variance.
"""


def objects_plan() -> Plan:
    """The tables of the issue: networks in groups, rows by what was taught, columns by labels."""
    columns = [Column(f"tune_{net.name}", f"tune_{net.name}", ACCURACY) for net in NETWORKS]
    for net in NETWORKS:
        columns.append(Column(f"{net.name}_svm", "linear SVM", ACCURACY, net.group))
        columns += [
            Column(f"{net.name}_{limit}", f"{limit}% labels", ACCURACY, net.group)
            for limit in LIMITS
        ]
    return Plan(
        name="objects",
        title="Objects: ModelNet10",
        about=ABOUT,
        rows=ROWS,
        columns=tuple(columns),
        cells=(*_shared(), *_tuning_cells(), *_cells()),
        baseline=SCRATCH,
        tuning=tuple(f"tune_{net.name}" for net in NETWORKS),
        files=("{data}/train.npz", "{data}/test.npz", "{data}/classes.txt"),
    )


def _train(config: str, seed: int, overrides: Sequence[str]) -> Command:
    words = ("run={here}/run", f"seed={seed}", "data.source.root={data}", *overrides)
    return ("train", f"{CONFIGS}/{config}.yaml", *words, "--resume", "auto")


def _for_seed(overrides: Sequence[str], seed: int) -> tuple[str, ...]:
    return tuple(key.replace("{seed}", str(seed)) for key in overrides)


def _limit(limit: str, seed: int) -> tuple[str, ...]:
    return (f"data.limit={LIMITS[limit]}", f"data.limit_seed={seed}")


def _teacher(limit: str, seed: int) -> str:
    """The cell of PointMCD's teacher."""
    return f"view_teacher/{limit}/seed{seed}"


def _shared() -> list[Cell]:
    """Pretraining, and PointMCD's teachers."""
    cells = []
    for row, overrides in {**PRETRAININGS, **TAKEN_BACK}.items():
        for seed in SEEDS:
            kept = "method.views.cache=0" not in overrides  # the teacher's answers
            minutes = 5.5 if row == "mae" else 6.5 if kept else 10.0
            command = _train("pretrain", seed, _for_seed(overrides, seed))
            cells.append(Cell(f"pretrain/{row}/seed{seed}", (command,), minutes=minutes))
    export = ("export", "{here}/run", "{here}/export")
    for limit, seed in [(lim, s) for lim in LIMITS for s in SEEDS] + [(TUNING_LIMIT, TUNING_SEED)]:
        command = _train("view_teacher", seed, _limit(limit, seed))
        cells.append(Cell(_teacher(limit, seed), (command, export), minutes=6.0))
    return cells


def _labelled(net: Network, row: str, limit: str, seed: int, rate: str) -> Command:
    """The command of a run with labels."""
    overrides = (*net.student, *_limit(limit, seed), f"optim.lr={rate}")
    if net is TRANSFORMER:
        return _train("finetune", seed, (*_first_weights(row, seed), *overrides))
    teacher = f"{{cell:{_teacher(limit, seed)}}}/export"
    added = _for_seed(DISTILLATIONS.get(row, ()), seed)
    added = tuple(key.replace("{teacher}", teacher) for key in added)
    if added and limit != "100":
        added += UNLABELLED
    if added:
        added += ("method.cache={out}/codewords",)
    return _train("point_mcd", seed, (*overrides, *added))


def _first_weights(row: str, seed: int) -> tuple[str, ...]:
    pretraining = SEEDS[0] if seed == TUNING_SEED else seed
    if row not in PRETRAININGS and row not in TAKEN_BACK:
        return ()
    return (f"init={{cell:pretrain/{row}/seed{pretraining}}}/run",)


def _tuning_cells() -> list[Cell]:
    cells = []
    for net in NETWORKS:
        for row in dict.fromkeys(TUNED[row] for row in net.rows):
            for rate in net.rates:
                train = _labelled(net, row, TUNING_LIMIT, TUNING_SEED, rate)
                name = f"tune_{net.name}/{row}/lr{rate}"
                cells.append(_cell(name, net, row, f"tune_{net.name}", TUNING_SEED, train, "val"))
    return cells


def _cell(
    name: str,
    net: Network,
    row: str,
    column: str,
    seed: int,
    train: Command,
    split: str,
    choices: Sequence[Choice] = (),
) -> Cell:
    # a run of a method has one figure; of tasks the best checkpoint on val stands beside the last
    best = ("--best",) if train[1].endswith("finetune.yaml") and split == "test" else ()
    return Cell(
        name,
        (train, ("test", "{here}/run", "--split", split, *best)),
        row=row,
        column=column,
        seed=seed,
        choices=tuple(choices),
        metrics="run/metrics.json",
        minutes=_minutes(net, row, column),
    )


def _minutes(net: Network, row: str, column: str) -> float:
    if column.endswith("_svm"):
        return 0.7
    distils = row in DISTILLATIONS and not column.endswith("_100")
    return net.minutes * 2 if distils else net.minutes


def _cells() -> list[Cell]:
    """The tables, the cheapest and most telling columns first and what is taken back last; rows
    within seeds, so that each seed can be compared."""
    order = [(TRANSFORMER, "svm")]
    order += [(net, limit) for limit in ("10", "1", "100") for net in NETWORKS]
    order += [(net, "svm") for net in DISTILLED]
    cells = [
        _table_cell(net, row, limit, seed)
        for net, limit in order
        for seed in SEEDS
        for row in net.rows
    ]
    taken_back = [(seed, row) for seed in SEEDS for row in TAKEN_BACK]
    return cells + [_table_cell(TRANSFORMER, row, "svm", seed) for seed, row in taken_back]


def _table_cell(net: Network, row: str, limit: str, seed: int) -> Cell:
    column = f"{net.name}_{limit}"
    name = f"{column}/{row}/seed{seed}"
    if limit == "svm":
        return _cell(name, net, row, column, seed, _svm(net, row, seed), "test")
    tried = {rate: (f"tune_{net.name}/{TUNED[row]}/lr{rate}",) for rate in net.rates}
    choice = Choice("lr", tried, ACCURACY[0].key)
    train = _labelled(net, row, limit, seed, "{choice:lr}")
    return _cell(name, net, row, column, seed, train, "test", (choice,))


def _svm(net: Network, row: str, seed: int) -> Command:
    if net is not TRANSFORMER:
        weights = f"init={{cell:{net.name}_100/{row}/seed{seed}}}/run"
        return _train("svm", seed, (*net.student, "data.num_points=512", weights))
    # without statistics an untrained network would be worse than it has to be
    norms = ("task.norm_shapes=256",) if row == SCRATCH else ()
    return _train("svm", seed, (*_first_weights(row, seed), *norms))
