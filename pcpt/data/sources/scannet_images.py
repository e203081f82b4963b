"""ScanNet's images with the label of every pixel (Dai et al., CVPR 2017), for 2D networks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pcpt.choices import check_choice
from pcpt.data.files import every_nth, expand_roots, scan_names
from pcpt.data.frame import BrokenFrame
from pcpt.data.images import image_size, read_color, read_ids
from pcpt.data.label_set import IGNORE, LabelSet
from pcpt.data.labelled_image import LabelledImage, LabelledImageSet, LabelledImageSource
from pcpt.data.scan_list import read_scan_list
from pcpt.data.scannet_classes import ID_COLUMNS, LABEL_SETS
from pcpt.data.scannet_labels import find_label_table, read_id_map, table_columns
from pcpt.data.sens import SensReader
from pcpt.registry import register

ROOMS_COLUMN = "room_id"  # of the table that `pcpt rooms` writes
UNKNOWN = -2
MAX_ID = 1 << 16


@register("datasets", "scannet_images")
class ScanNetImages(LabelledImageSource):
    """Scans with ``label-filt/N.png`` and their colour images.

    ``label-filt`` is what ``sceneXXXX_YY_2d-label-filt.zip`` unpacks to: 16-bit ids of raw names,
    in column ``id`` of the label table. ``pcpt rooms --label-images`` writes the same, with ids in
    column ``room_id``. Colour images are ``color/N.jpg`` as SensReader writes them, or lie in the
    scan's .sens file. The release of 25k frames has its labels in ``label/``, as NYU40 ids: set
    ``label_folder: label`` and ``id_column: none``.

    No original file was at hand: this was read and tried on synthetic rooms in these layouts.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: scan folders, folders of scans, or globs of either.
        scan_list: text file of scan names, one a line; scans it does not name are left out. Empty
            takes all.
        every: take every Nth image of a scan.
        label_set: nyu40, scannet20, scannet200 or scannet18.
        label_folder: folder of the label images in a scan's.
        label_map: path of scannetv2-labels.combined.tsv; empty looks in the scan's folder's folder
            and one up.
        id_column: column of that table with the ids that label images hold; empty takes room_id
            where the table has it, else id; "none" if they hold ids of label_set itself.
        """

        name: str = "scannet_images"
        roots: list[str] = field(default_factory=list)
        scan_list: str = ""
        every: int = 1
        label_set: str = "scannet20"
        label_folder: str = "label-filt"
        label_map: str = ""
        id_column: str = ""

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        check_choice("data.source.label_set", config.label_set, LABEL_SETS)
        self.config = config

    @property
    def label_set(self) -> LabelSet:
        """The classes that labels are places in."""
        return LABEL_SETS[self.config.label_set]

    def open(self) -> "ScanNetImageSet":
        """The images of all scans; none is read yet.

        Raises:
            FileNotFoundError: roots, the list, the label table or a listed scan's labels are not
                there.
            ValueError: a scan without images, or a label table that cannot be used.
        """
        scans = self._scans()
        return ScanNetImageSet(scans, self.label_set, self._places(scans), self.config)

    def _scans(self) -> dict[str, Path]:
        """Folders that have labels, by the name of the scan."""
        config = self.config
        folders: dict[Path, None] = {}
        for root in expand_roots("scannet_images", config.roots):
            folders.update(dict.fromkeys(p for p in (root, *sorted(root.iterdir())) if p.is_dir()))
        if config.scan_list:
            wanted = read_scan_list(Path(config.scan_list).expanduser())
            by_name: dict[str, Path] = {}
            for path in (p for p in folders if p.name in set(wanted) and self._labels(p)):
                if by_name.setdefault(path.name, path) != path:
                    raise ValueError(
                        f"scannet_images: {by_name[path.name]} and {path} are of one name, which "
                        "scan_list cannot tell apart; give one of the two roots"
                    )
            absent = [n for n in wanted if n not in by_name]
            if absent:
                raise FileNotFoundError(
                    f"scannet_images: {len(absent)} of {len(wanted)} scans in {config.scan_list} "
                    f"have no {config.label_folder}/ in roots; the first is {absent[0]}. Unpack "
                    f"its _2d-label-filt.zip there, or take it off the list"
                )
            return {name: by_name[name] for name in wanted}
        found = [path for path in folders if self._labels(path)]
        if not found:
            raise FileNotFoundError(
                f"scannet_images: no folder {config.label_folder}/ in {', '.join(config.roots)} or "
                "one folder below; unpack the _2d-label-filt.zip files, or run pcpt rooms with "
                "--label-images"
            )
        return dict(zip(scan_names(found), found))

    def _labels(self, folder: Path) -> bool:
        return (folder / self.config.label_folder).is_dir()

    def _places(self, scans: dict[str, Path]) -> np.ndarray:
        """(65536,) place in the label set by the id in an image; -1 outside the set, -2 unknown."""
        config = self.config
        places = np.full(MAX_ID, UNKNOWN, np.int64)
        if config.id_column == "none":
            known = LABEL_SETS["scannet200" if config.label_set == "scannet200" else "nyu40"]
            ids = dict(zip(known.ids, known.ids))
        else:
            parent = next(iter(scans.values())).parent
            table = find_label_table("scannet_images", parent, config.label_map)
            column = config.id_column
            if not column:
                column = ROOMS_COLUMN if ROOMS_COLUMN in table_columns(table) else "id"
            ids = read_id_map(table, column, ID_COLUMNS[config.label_set])
        keys = np.array([key for key in ids if key < MAX_ID], np.int64)
        places[keys] = self.label_set.indices(np.array([ids[key] for key in keys.tolist()]))
        places[0] = IGNORE
        return places


class ScanNetImageSet(LabelledImageSet):
    """What ``ScanNetImages`` opens; images are named ``scan/N``."""

    def __init__(
        self,
        scans: dict[str, Path],
        label_set: LabelSet,
        places: np.ndarray,
        config: ScanNetImages.Config,
    ) -> None:
        self.label_set = label_set
        self._scans, self._places, self._folder = scans, places, config.label_folder
        self._readers: dict[str, SensReader] = {}
        self._colors: dict[str, Path] = {}
        self.names: Sequence[str] = [
            f"{scan}/{frame}"
            for scan, path in scans.items()
            for frame in every_nth(self._labelled(scan, path), config.every)
        ]
        self._known = frozenset(self.names)

    def scan_folders(self) -> dict[str, Path | None]:
        return dict(self._scans)

    def _labelled(self, scan: str, folder: Path) -> list[str]:
        """The frames that have a label image: often every tenth alone is exported."""
        frames = self._frames(scan, folder)
        labelled = {path.stem for path in (folder / self._folder).glob("*.png")}
        found = [frame for frame in frames if frame in labelled]
        if not found:
            raise ValueError(
                f"scannet_images: {folder / self._folder} holds no label image of any of the "
                f"{len(frames)} frames of {scan}, such as {frames[0] if frames else 0}.png"
            )
        return found

    def _frames(self, scan: str, folder: Path) -> list[str]:
        """Colour images of a scan: of ``color/`` where there is one, else of its .sens file."""
        colors = sorted(
            (p for p in (folder / "color").glob("*") if p.suffix in (".jpg", ".png")),
            key=lambda path: (len(path.stem), path.stem),
        )
        self._colors.update((f"{scan}/{path.stem}", path) for path in colors)
        if colors:
            return [path.stem for path in colors]
        recording = folder / f"{folder.name}.sens"
        if not recording.is_file():
            raise FileNotFoundError(
                f"scannet_images: {folder} has labels but neither color/ nor {recording.name}; "
                "download the recording, or export its frames"
            )
        self._readers[scan] = SensReader(recording)
        return [str(index) for index in range(len(self._readers[scan]))]

    def load(self, name: str) -> LabelledImage:
        """See ``LabelledImageSet.load``.

        Raises:
            BrokenFrame: an image that is missing, damaged or not of the size of the other.
            ValueError: a label image with an id that the label table does not have.
        """
        scan, _, frame = name.rpartition("/")
        if name not in self._known:
            raise ValueError(f"scannet_images has no image {name!r}; its names lists them")
        if name in self._colors:
            image = read_color(self._colors[name], image_size(self._colors[name]))
        else:
            image = torch.from_numpy(self._readers[scan].color(int(frame))).permute(2, 0, 1)
        path = self._scans[scan] / self._folder / f"{frame}.png"
        ids = read_ids(path, (image.shape[1], image.shape[2]))
        return LabelledImage(name, image.contiguous(), torch.from_numpy(self._place(ids, path)))

    def _place(self, ids: np.ndarray, path: Path) -> np.ndarray:
        if ids.max(initial=0) >= MAX_ID:
            raise BrokenFrame(f"label image {path} holds {ids.max()}, ids are of 16 bits")
        labels = self._places[ids]
        if (labels == UNKNOWN).any():
            odd = np.unique(ids[labels == UNKNOWN])
            raise ValueError(
                f"label image {path} holds id {odd[0]}, {len(odd)} ids in all that the label table "
                "does not have; set data.source.id_column to the column of its ids (id in ScanNet, "
                "room_id in rooms, none for NYU40 ids). Are these instance images?"
            )
        return labels
