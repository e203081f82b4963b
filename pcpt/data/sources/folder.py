"""Scans in pcpt's own neutral layout: a folder with a scan.json that names everything else."""

from dataclasses import dataclass, field
from pathlib import Path

from pcpt.data.files import every_nth, expand_roots
from pcpt.data.frame import Scan
from pcpt.data.rig import RigScan
from pcpt.data.scan_json import read_scan_json
from pcpt.data.tar_index import holds_shards
from pcpt.registry import register


@register("datasets", "folder")
class Folder:
    """The layout of ``docs/data_layout.md``; ``pcpt.data.write_scan`` writes it.

    ``camera_to_world`` in scan.json is the pose of the DEPTH camera. The colour camera's follows
    from ``depth.depth_to_color``; with ``depth.registered_to_color`` they are one camera.

    Example:
        >>> scan, = Folder(Folder.Config(roots=["examples/office"])).open()
        >>> frame = scan.load(scan.names[0])
    """

    @dataclass
    class Config:
        """Attributes:
        roots: folders that hold a scan.json, or globs of such folders; a folder of shards beside
            them is passed over.
        every: take every Nth frame.
        """

        name: str = "folder"
        roots: list[str] = field(default_factory=list)
        every: int = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return (path / "scan.json").is_file()

    def open(self) -> list[Scan]:
        """One scan a root, in order.

        Raises:
            FileNotFoundError: a root or its scan.json does not exist.
            ValueError: what is wrong with a scan.json, or two scans of one name.
        """
        folders: dict[str, Path] = {}
        scans: list[Scan] = []
        for folder in expand_roots("folder", self.config.roots, passes_over=holds_shards):
            scan = self._open_one(folder)
            if scan.name in folders:
                raise ValueError(
                    f"{folder}/scan.json: name is {scan.name!r}, as in {folders[scan.name]}; "
                    "rename one of them"
                )
            folders[scan.name] = folder
            scans.append(scan)
        return scans

    def _open_one(self, folder: Path) -> Scan:
        description = read_scan_json(folder / "scan.json")
        chosen = every_nth(list(description.files), self.config.every)
        return RigScan(
            description.name,
            folder,
            description.rig,
            {name: description.files[name] for name in chosen},
            held_out=description.held_out.intersection(chosen),
            up=description.up,
        )
