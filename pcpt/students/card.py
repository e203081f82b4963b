"""The model card of an exported student: what it is, how it was made, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

_MARK = "<!-- Written by pcpt. Delete this line to keep your edits when exporting again. -->"

ABOUT = "A 3D network that gives every point of a cloud a feature vector. Distances are in metres."
USAGE = """import pcpt.students
from pcpt.data.ply import read_ply

model = pcpt.students.{student}.from_pretrained("this folder, or its hub id")
points, colors = read_ply("room.ply")
features = model.features_at(points, colors)  # one row for each point"""


def keeps_edits(path: Path) -> bool:
    """Whether a card exists that somebody made his own by deleting the mark."""
    return path.is_file() and _MARK not in path.read_text(encoding="utf-8", errors="replace")


def model_card(model: nn.Module, config: Mapping[str, Any], details: Mapping[str, str]) -> str:
    """Markdown with the front matter of the Hugging Face Hub.

    Args:
        model: the network, for its class and size, and for its attributes ``about`` (a sentence),
            ``usage`` (lines of Python) and ``tag`` (of the hub) where it is no 3D network.
        config: its configuration, by field.
        details: further rows of the table, such as method and data.
    """
    parameters = sum(p.numel() for p in model.parameters())
    student = type(model).__name__
    rows = {"parameters": f"{parameters:,}"}
    set_keys = {key: value for key, value in config.items() if value is not None}
    rows |= {key.replace("_", " "): _plain(value) for key, value in set_keys.items()}
    rows |= {key: _plain(value) for key, value in details.items()}
    about, tag = getattr(model, "about", ABOUT), getattr(model, "tag", "point-cloud")
    usage = getattr(model, "usage", USAGE.format(student=student))
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""---
library_name: pcpt
tags:
- {tag}
- feature-extraction
- self-supervised
---
{_MARK}

# {student}, pretrained with pcpt

{about}

| | |
|---|---|
{table}

```python
{usage}
```
"""


def _plain(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
