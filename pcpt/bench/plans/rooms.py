"""The proof on synthetic rooms: what pretraining saves in labels (docs/proof.md)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pcpt.bench.plan import Cell, Choice, Column, Command, Figure, Plan, Row

SEEDS = (0, 1, 2)
# Learning rates are settled on the validation rooms with labels of another seed: once for networks
# that start from nothing, once for those that start from PPKT's weights (of seed 0).
TUNING_SEED = 100
# Row -> the row whose rate it takes.
TUNED = {"scratch": "scratch", "ppkt": "ppkt", "ppkt_random": "ppkt", "ppkt_rooms2d": "ppkt"}
RATES = ("1e-3", "3e-3", "1e-2")

CONFIGS = "configs/proof/rooms"
MIOU = (Figure("points/miou", "mIoU"),)
BOXES = (Figure("mAP@.25", "mAP@.25"), Figure("mAP@.5", "mAP@.5"))

SCRATCH = "scratch"
TEACHER = "teacher/rooms2d"
# What a row's pretraining changes of pretrain.yaml.
TEACHINGS = {
    "ppkt": ("teacher.name=lite0",),
    "ppkt_random": ("teacher.name=lite0", "teacher.weights=random"),
    "ppkt_rooms2d": ("teacher.name=segmenter", f"teacher.weights={{cell:{TEACHER}}}/export"),
}
# What a row without a 3D network changes of probe.yaml: the teacher's own features, lifted to the
# points of a room from a quarter of the frames.
_LIFTING = (
    "student.name=lifted",
    "student.voxel_size=0.05",
    "student.frames.name=scannet_sens",
    "student.frames.roots=[{rooms}/evaluate/scans]",
    "student.frames.every=4",
)
LIFTED = {
    "lifted": (*_LIFTING, "student.teacher.name=lite0", "student.cache={rooms}/lifted"),
    "lifted_rooms2d": (
        *_LIFTING,
        "student.teacher.name=segmenter",
        f"student.teacher.weights={{cell:{TEACHER}}}/export",
        "student.cache={rooms}/lifted_rooms2d",
    ),
}
ROWS = (
    Row(SCRATCH, "scratch"),
    Row("ppkt", "PPKT, ImageNet teacher"),
    Row("ppkt_rooms2d", "PPKT, teacher trained on other rooms in 2D"),
    Row("ppkt_random", "PPKT, random teacher", control=True),
    Row("lifted", "ImageNet teacher's features, lifted", control=True),
    Row("lifted_rooms2d", "rooms teacher's features, lifted", control=True),
)
TRAINED = (SCRATCH, *TEACHINGS)


@dataclass(frozen=True)
class Labels:
    """A column of networks that are trained as a whole on some of the labels.

    Attributes:
        column: its name.
        title: heading.
        group: heading of the table that it is part of.
        config: one of ``configs/proof/rooms``.
        limit: overrides that say what is labelled.
        tuned: column of the cells in which its learning rate was tried.
        figures: what is shown.
    """

    column: str
    title: str
    group: str
    config: str
    limit: tuple[str, ...]
    tuned: str
    figures: tuple[Figure, ...]


def _labels() -> tuple[Labels, ...]:
    scenes = "Segmentation, fine-tuned on some of 100 labelled rooms"
    points = "Segmentation, fine-tuned on some labelled points of each of 100 rooms"
    boxes = "Detection, fine-tuned on some of 100 labelled rooms"

    def segmentation(name: str, title: str, group: str, *limit: str) -> Labels:
        return Labels(f"finetune_{name}", title, group, "finetune", limit, "tune", MIOU)

    def detection(name: str, title: str, *limit: str) -> Labels:
        return Labels(f"detect_{name}", title, boxes, "detect", limit, "tune_detect", BOXES)

    return (
        segmentation("points20", "20 points", points, "data.limit.points=20"),
        segmentation("5", "5% (5 rooms)", scenes, "data.limit.scenes=0.05"),
        detection("10", "10%", "data.limit.scenes=0.1"),
        segmentation("points100", "100 points", points, "data.limit.points=100"),
        segmentation("1", "1% (1 room)", scenes, "data.limit.scenes=0.01"),
        segmentation("10", "10%", scenes, "data.limit.scenes=0.1"),
        segmentation("100", "100%", scenes),
        detection("100", "100%"),
    )


LABELS = _labels()
# Column of tuning cells -> config, what is labelled, the figure to choose by
TUNINGS = {
    "tune": ("finetune", "data.limit.scenes=0.05", MIOU),
    "tune_detect": ("detect", "data.limit.scenes=0.1", BOXES),
}
# The columns in the order of the page; they are computed in that of LABELS.
SHOWN = (
    *("finetune_1", "finetune_5", "finetune_10", "finetune_100"),
    *("finetune_points20", "finetune_points100"),
    *("detect_10", "detect_100"),
)
PROBES = {"probe_last": ("last", "last layer"), "probe_all": ("all", "all levels")}
PROBE_GROUP = "Linear probe of the frozen network, 100 labelled rooms"

ABOUT = """
Rows differ in the weights that training starts from, and in nothing else: the same network
(`small`, 5 cm voxels), the same labels, steps and augmentation in a column. Pretraining sees frames
of 80 rooms without any label, none of which is among the 150 rooms of the evaluation (100 to train,
25 to validate, 25 to test); the teacher trained in 2D had labels of 60 rooms that are in neither.
The seed sets pretraining, the labelled subset, the first weights of what is not pretrained, and the
order of samples. The learning rate of scratch, and that of all pretrained rows, is the best of
three on the validation rooms, with labels of another seed; the test rooms are used for the figures
below alone. mIoU is over ScanNet's 20 classes, on the points of whole rooms; AP is over its 18
classes of objects. Networks are fine-tuned for 400 steps of two rooms however much is labelled, so
more labels help as far as that length lets them. The frozen network of row scratch is untrained but
for the statistics of its norms, taken on 16 training rooms.
"""


def rooms_plan() -> Plan:
    """The table of the issue: rows by what was pretrained, columns by what is asked of it."""
    tuning = [Column(name, name, figures) for name, (_, _, figures) in TUNINGS.items()]
    trained = {each.column: each for each in LABELS}
    shown = [
        Column(name, trained[name].title, trained[name].figures, trained[name].group)
        for name in SHOWN
    ]
    probes = [Column(name, title, MIOU, PROBE_GROUP) for name, (_, title) in PROBES.items()]
    return Plan(
        name="rooms",
        title="Synthetic rooms",
        about=ABOUT,
        rows=ROWS,
        columns=(*tuning, *shown, *probes),
        cells=(*_shared(), *_tuning_cells(), *_cells()),
        baseline=SCRATCH,
        tuning=tuple(TUNINGS),
    )


def _shared() -> list[Cell]:
    """Rooms, made where they are not there yet; the teacher trained on some; pretraining."""
    kinds = {
        "evaluate": ("--rooms", "150", "--seed", "0"),
        "pretrain": ("--rooms", "80", "--seed", "1"),
        "teacher": ("--rooms", "60", "--seed", "2", "--label-images"),
    }
    cells = [
        Cell(f"rooms/{kind}", (("rooms", f"{{rooms}}/{kind}", *options, "--jobs", "2"),), minutes=8)
        for kind, options in kinds.items()
    ]
    train = _train("teacher", 0, ("data.source.roots=[{rooms}/teacher/scans]",))
    export = ("export", "{here}/run", "{here}/export")
    cells.append(Cell(TEACHER, (train, export), needed=("rooms/teacher",), minutes=10))
    for row, overrides in TEACHINGS.items():
        for seed in SEEDS:
            roots = "data.source.roots=[{rooms}/pretrain/scans]"
            command = _train("pretrain", seed, (roots, *overrides))
            name = f"pretrain/{row}/seed{seed}"
            cells.append(Cell(name, (command,), needed=("rooms/pretrain",), minutes=22))
    return cells


def _train(config: str, seed: int, overrides: Sequence[str]) -> Command:
    run = ("run={here}/run", f"seed={seed}")
    return ("train", f"{CONFIGS}/{config}.yaml", *run, *overrides, "--resume", "auto")


def _cell(
    name: str,
    row: str,
    column: str,
    seed: int,
    train: Command,
    split: str,
    choices: Sequence[Choice],
) -> Cell:
    """A cell that trains on evaluation rooms and is scored on a split of them."""
    return Cell(
        name,
        (train, ("test", "{here}/run", "--split", split)),
        row=row,
        column=column,
        seed=seed,
        needed=("rooms/evaluate",),
        choices=tuple(choices),
        metrics="run/metrics.json",
        minutes=4.0 if row in LIFTED else 1.5 if column in PROBES else 3.5,
    )


def _on_rooms(row: str, seed: int) -> tuple[str, ...]:
    """Overrides of every run on labelled rooms: where they are, the draw, the first weights."""
    places = ("data.source.root={rooms}/evaluate/scans", f"data.limit.seed={seed}")
    pretraining = SEEDS[0] if seed == TUNING_SEED else seed
    weights = (f"init={{cell:pretrain/{row}/seed{pretraining}}}/run",) if row in TEACHINGS else ()
    return places + weights


def _tuning_cells() -> list[Cell]:
    cells = []
    for column, (config, limit, _) in TUNINGS.items():
        for row in sorted(set(TUNED.values())):
            for rate in RATES:
                overrides = (*_on_rooms(row, TUNING_SEED), limit, f"optim.lr={rate}")
                train = _train(config, TUNING_SEED, overrides)
                name = f"{column}/{row}/lr{rate}"
                cells.append(_cell(name, row, column, TUNING_SEED, train, "val", ()))
    return cells


def _cells() -> list[Cell]:
    """The table, low-label columns first; rows within seeds, so that each seed can be compared."""
    cells = []
    for labels in LABELS[:2]:
        cells += _trained(labels)
    cells += _probes()
    for labels in LABELS[2:]:
        cells += _trained(labels)
    return cells


def _trained(labels: Labels) -> list[Cell]:
    cells = []
    for seed in SEEDS:
        for row in TRAINED:
            tried = {rate: (f"{labels.tuned}/{TUNED[row]}/lr{rate}",) for rate in RATES}
            choice = Choice("lr", tried, labels.figures[0].key)
            overrides = (*_on_rooms(row, seed), *labels.limit, "optim.lr={choice:lr}")
            train = _train(labels.config, seed, overrides)
            name = f"{labels.column}/{row}/seed{seed}"
            cells.append(_cell(name, row, labels.column, seed, train, "test", (choice,)))
    return cells


def _probes() -> list[Cell]:
    cells = []
    for column, (levels, _) in PROBES.items():
        for seed in SEEDS:
            for row in (*TRAINED, *(LIFTED if levels == "last" else ())):
                overrides = (*_on_rooms(row, seed), f"task.levels={levels}", *LIFTED.get(row, ()))
                # without statistics an untrained network would be worse than it has to be
                norms = ("task.norm_scenes=16",) if row == SCRATCH else ()
                train = _train("probe", seed, (*overrides, *norms))
                name = f"{column}/{row}/seed{seed}"
                cells.append(_cell(name, row, column, seed, train, "test", ()))
    return cells
