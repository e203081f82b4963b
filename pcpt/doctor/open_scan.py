"""A scan from nothing but its path: which source reads it is found from its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pcpt import registry
from pcpt.data.frame import Scan


def open_scan(path: Path | str, source: str = "", options: Sequence[str] = ()) -> Scan:
    """Opens one scan.

    Args:
        path: what the source's ``roots`` takes.
        source: one of ``pcpt.list("datasets")``; found from the files where it is empty.
        options: ``key=value`` of the source's config, such as ``color_camera=camera.json``.

    Raises:
        FileNotFoundError: no such path.
        ValueError: no source or several know the layout, an option that the source has not, or more
            than one scan.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    component = registry.get("datasets", source or _recognise(path))
    plain = [option.removeprefix("data.").removeprefix("source.") for option in options]
    known = OmegaConf.structured(component.Config)
    whole: dict[Any, Any] = {"every": 1} if "every" in known else {}
    try:
        config: Any = OmegaConf.to_object(
            OmegaConf.merge(
                known,
                {"roots": [str(path)], **whole},
                OmegaConf.from_dotlist(plain),
            )
        )
    except Exception as error:  # OmegaConf has a class for every mistake
        keys = ", ".join(known)
        raise ValueError(f"options {plain}: {error}; the source takes {keys}") from error
    scans = component(config).open()
    if len(scans) != 1:
        names = ", ".join(scan.name for scan in scans[:5])
        raise ValueError(f"{path} holds {len(scans)} scans ({names}); give the path of one")
    return scans[0]


def _recognise(path: Path) -> str:
    """The source whose layout the path has."""
    found = [
        name
        for name in registry.list_names("datasets")
        if getattr(registry.get("datasets", name), "recognises", lambda _: False)(path)
    ]
    if len(found) != 1:
        said = "several layouts fit" if found else "no known layout fits"
        choices = found or registry.list_names("datasets")
        raise ValueError(
            f"{path}: {said}; name one with --source ({', '.join(choices)}), see "
            "docs/data_layout.md for their files"
        )
    return found[0]
