"""Students as folders that anyone can load: weights, config and a card, each written whole.

A folder holds ``model.safetensors``, ``config.json`` and ``README.md`` (the card). ``config.json``
is ``{"format_version": 1, "student": <registered name>, "config": {<every field of its Config>}}``.
Every field is written, so a default that changes later changes no old export. A field added later
must default to the old behaviour; a change that cannot be expressed so raises ``FORMAT_VERSION``.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

import huggingface_hub
import torch
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from torch import nn

from pcpt.choices import did_you_mean
from pcpt.data.json_object import read_json
from pcpt.students.card import keeps_edits, model_card
from pcpt.students.weights import (
    PICKLE_SUFFIXES,
    compare_state,
    read_safetensors,
    refuse_pickle,
    write_safetensors,
)

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Pretrained(nn.Module):
    """Gives a student ``save_pretrained`` and ``from_pretrained``.

    A subclass holds a nested ``Config`` dataclass, whose field ``name`` is its registered name, and
    keeps the one it was built from as ``self.config``.
    """

    Config: Any
    config: Any

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, details: Mapping[str, str] | None = None
    ) -> Path:
        """Writes weights, config and card; existing files of the folder are replaced one by one,
        each whole, and a card that somebody edited is kept. A folder in which this was interrupted
        has no config and does not load.

        Args:
            folder: made if need be.
            details: rows for the card's table, such as the method and the data.

        Returns:
            The folder.

        Raises:
            ValueError: weights that hold nan or inf, or a file where the folder should be.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"cannot export to {folder}: a file of that name exists")
        folder.mkdir(parents=True, exist_ok=True)
        values = asdict(self.config)
        description = {
            "format_version": FORMAT_VERSION,
            "student": self.config.name,
            "config": values,
        }
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as name:
            partial = Path(name)
            write_safetensors(partial / WEIGHTS_FILE, self.state_dict())
            _write_text(partial / CONFIG_FILE, json.dumps(description, indent=2) + "\n")
            names = [WEIGHTS_FILE, CONFIG_FILE]
            if not keeps_edits(folder / CARD_FILE):
                _write_text(partial / CARD_FILE, model_card(self, values, details or {}))
                names.insert(1, CARD_FILE)
            # the config last: should this be interrupted, no new weights lie under an old config
            (folder / CONFIG_FILE).unlink(missing_ok=True)
            for name in names:
                os.replace(partial / name, folder / name)
        return folder

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """The student of an exported folder or of the Hugging Face Hub, in eval mode.

        An existing folder is read without touching the network.

        Args:
            source: folder written by ``save_pretrained``, or a hub id such as "user/model".
            revision: branch, tag or commit on the hub.
            device: where the network is put.

        Raises:
            FileNotFoundError: no such folder or hub model, or a file of it is missing.
            ValueError: pickled, truncated or foreign weights, an unknown key, another student.
        """
        folder = locate_export(source, revision)
        config = _read_config(folder / CONFIG_FILE, cls)
        weights = folder / WEIGHTS_FILE
        if not weights.is_file():
            _explain_missing_weights(folder)
        state = read_safetensors(weights)
        model = cls(config)
        compare_state(model.state_dict(), state, weights)
        model.load_state_dict(state)
        return model.eval().to(device)


def _write_text(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def locate_export(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder of an exported student: ``source`` itself, or where the hub's files are kept.

    Raises:
        FileNotFoundError: neither a folder nor a hub id whose files can be had.
        ValueError: a file.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        refuse_pickle(folder)
        raise ValueError(
            f"{folder} is a file; pass the folder that holds {WEIGHTS_FILE} and {CONFIG_FILE}"
        )
    # runs/exprt beside runs/export is a slip, which the hub would take half a minute to answer
    if not _HUB_ID.fullmatch(str(source)) or folder.parent.is_dir():
        raise FileNotFoundError(
            f"no such folder: {folder}; pass a folder written by tools/export.py or a hub id "
            "such as user/model"
        )
    try:
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            path = huggingface_hub.hf_hub_download(str(source), name, revision=revision)
    except (OSError, EntryNotFoundError, HFValidationError) as error:
        raise FileNotFoundError(
            f"{source!r} is no folder here, and its {CONFIG_FILE} and {WEIGHTS_FILE} could not be "
            f"had from the Hugging Face Hub: {error}"
        ) from error
    return Path(path).parent


def _explain_missing_weights(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLE_SUFFIXES:
            refuse_pickle(path)
    raise FileNotFoundError(
        f"{folder} has no {WEIGHTS_FILE}; it holds {sorted(p.name for p in folder.iterdir())}"
    )


def read_description(path: Path) -> dict[str, Any]:
    """What ``config.json`` of an exported student says, with its "config" unchecked.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, another library's, or of a newer format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {path.name}; is it an exported student?")
    description = read_json(path)
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise ValueError(
            f"{path} has no object 'config'; is it the config of another library's model?"
        )
    version = description.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version is {version!r}, this pcpt reads 1 to {FORMAT_VERSION}; "
            "upgrade pcpt if the export is newer"
        )
    return description


def _read_config(path: Path, cls: type[Pretrained]) -> Any:
    description = read_description(path)
    name = cls.Config().name
    if description.get("student") != name:
        raise ValueError(
            f"{path}: student is {description.get('student')!r}, but {cls.__name__} is {name!r}; "
            "load it with the class of that student"
        )
    return build_config(description["config"], cls.Config, f"{path}: config")


def student_name(path: Path) -> str:
    """The registered name of the student that an exported ``config.json`` describes.

    Raises:
        ValueError: not such a file.
    """
    try:
        name = read_json(path)["student"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the config of an exported student: {error!r}") from error
    return str(name)


def build_config(values: Mapping[str, Any], config_class: type, where: str) -> Any:
    """The dataclass that plain values describe; keys left out take their defaults.

    Raises:
        ValueError: an unknown key, a value of another type than the default's, or one that the
            dataclass itself refuses. The message begins with ``where``.
    """
    known = [f.name for f in fields(config_class)]
    defaults = config_class()
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(f"{where}: unknown key {key!r}{hint} (known: {', '.join(known)})")
        default = getattr(defaults, key)
        if default is not None and not _same_type(value, default):
            raise ValueError(
                f"{where}: {key} is {value!r}, expected {type(default).__name__} such as "
                f"{default!r}"
            )
    try:
        return config_class(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _same_type(value: Any, default: Any) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))
