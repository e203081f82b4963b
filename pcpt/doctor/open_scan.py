"""A scan from nothing but its path: which source reads it is found from its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pcpt import registry
from pcpt.data.dataset import OTHER_KINDS
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
    scans = make_source(source or _recognise(path), path, options).open()
    for owner, kind in OTHER_KINDS.items():
        if isinstance(scans, owner):
            raise ValueError(f"{path} holds {kind}, not posed frames; name another --source")
    if len(scans) != 1:
        names = ", ".join(scan.name for scan in scans[:5])
        raise ValueError(f"{path} holds {len(scans)} scans ({names}); give the path of one")
    return scans[0]


def make_source(source: str, root: Path, options: Sequence[str] = ()) -> Any:
    """A source for one root, not yet opened; it takes all frames unless an option says otherwise.

    Args:
        source: one of ``pcpt.list("datasets")``.
        root: what its ``roots`` or ``root`` takes.
        options: ``key=value`` of the source's config.

    Raises:
        ValueError: no such source, or an option that it has not.
    """
    component = registry.get("datasets", source)
    plain = [option.removeprefix("data.").removeprefix("source.") for option in options]
    known = OmegaConf.structured(component.Config)
    given: dict[Any, Any] = {"every": 1} if "every" in known else {}
    given |= {"root": str(root)} if "root" in known else {"roots": [str(root)]}
    try:
        config: Any = OmegaConf.to_object(
            OmegaConf.merge(
                known,
                given,
                OmegaConf.from_dotlist(plain),
            )
        )
    except Exception as error:  # OmegaConf has a class for every mistake
        keys = ", ".join(known)
        raise ValueError(f"options {plain}: {error}; the source takes {keys}") from error
    return component(config)


def recognising(path: Path) -> list[str]:
    """Names of the sources whose layout the path has."""
    return [
        name
        for name in registry.list_names("datasets")
        if getattr(registry.get("datasets", name), "recognises", lambda _: False)(path)
    ]


def _recognise(path: Path) -> str:
    """The one source whose layout the path has."""
    found = recognising(path)
    if len(found) != 1:
        said = "several layouts fit" if found else "no known layout fits"
        choices = found or registry.list_names("datasets")
        raise ValueError(
            f"{path}: {said}; name one with --source ({', '.join(choices)}), see "
            "docs/data_layout.md for their files"
        )
    return found[0]
