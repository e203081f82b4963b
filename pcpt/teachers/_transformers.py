"""Loads transformers models for the teacher families: safetensors only, complete or not at all."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pcpt.teachers.base import RANDOM, seeded

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def load_model(
    classes: dict[str, Any],
    weights: str,
    *,
    teacher: str,
    hub_id: str,
    random_config: Any,
    seed: int,
    optional: tuple[str, ...] = (),
) -> Any:
    """A transformers model in float32 with every weight from the file, or from ``seed``.

    Args:
        classes: model class of transformers for each ``model_type`` that config.json may name;
            the first also makes the random-weight control.
        weights: "" for ``hub_id``, a local folder, a hub id, or "random".
        teacher: name for messages.
        hub_id: the default weights.
        random_config: transformers config of the random-weight control.
        seed: of random weights.
        optional: prefixes of weights that may be missing because they are not used.

    Raises:
        FileNotFoundError: neither the folder nor the hub holds the weights.
        ValueError: pickled, damaged or incomplete weights, or of another architecture.
    """
    if weights == RANDOM:
        with seeded(seed):
            return next(iter(classes.values()))(random_config)
    where = weights or hub_id
    folder = Path(where).expanduser()
    local = folder.is_dir()
    if local:
        _check_folder(folder, teacher, hub_id)
    elif folder.is_file() or HUB_ID.fullmatch(where) is None:
        raise FileNotFoundError(_missing(teacher, where, "it is not a folder", hub_id))
    from transformers import PretrainedConfig

    found, _ = _guard(PretrainedConfig.get_config_dict, where, folder, local, teacher, hub_id)
    kind = found.get("model_type")
    if kind not in classes:
        raise ValueError(
            f"teacher {teacher}: {where} holds a {kind!r} model, expected {' or '.join(classes)}"
        )

    # a whole CLIP states the width of the joint space outside its vision part
    override = {"projection_dim": found["projection_dim"]} if "projection_dim" in found else {}

    def load(source: str) -> Any:
        with seeded(seed), _quiet():  # loading must not draw from the global generator either
            return classes[kind].from_pretrained(
                source, use_safetensors=True, output_loading_info=True, **override
            )

    model, info = _guard(load, where, folder, local, teacher, hub_id)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(optional or ("\0",)))
    if missing:
        raise ValueError(
            f"teacher {teacher}: {where} lacks {len(missing)} weights ({', '.join(missing[:3])}, "
            "...); they would stay random. Give the weights of a complete model"
        )
    return model.float()


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes transformers' report of unused weights; missing ones are checked here."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _check_folder(folder: Path, teacher: str, hub_id: str) -> None:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(_missing(teacher, str(folder), "config.json is missing", hub_id))
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ValueError(
            f"teacher {teacher}: {folder / pickles[0]} is a pickle and is not loaded; "
            f"{_remedy(hub_id)}"
        )
    raise FileNotFoundError(_missing(teacher, str(folder), "model.safetensors is missing", hub_id))


def _guard(load: Any, where: str, folder: Path, local: bool, teacher: str, hub_id: str) -> Any:
    """Runs ``load`` and turns what transformers raises into one message with a way out."""
    try:
        return load(str(folder) if local else where)
    except SafetensorError as error:
        raise ValueError(f"teacher {teacher}: {where}: damaged safetensors ({error})") from None
    except (OSError, ValueError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if local:
            raise ValueError(
                f"teacher {teacher}: {where} cannot be loaded ({lines[0]}); {_remedy(hub_id)}"
            ) from error
        raise FileNotFoundError(_missing(teacher, where, lines[0], where)) from error


def _remedy(hub_id: str) -> str:
    return (
        f"on a machine with a network run `hf download {hub_id} config.json model.safetensors "
        "--local-dir FOLDER` and set teacher.weights=FOLDER"
    )


def _missing(teacher: str, where: str, reason: str, hub_id: str) -> str:
    return (
        f"teacher {teacher}: no weights at {where!r} ({reason}); expected a folder with "
        f"config.json and model.safetensors, or a hub id: {_remedy(hub_id)}"
    )
