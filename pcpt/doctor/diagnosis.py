"""What the doctor says of a scan."""

import json
from dataclasses import dataclass, field
from typing import Any

VERDICTS = {
    "healthy": "poses, depth, colour and intrinsics fit together",
    "poses_inverted": "poses map world to camera; camera_to_world is expected",
    "axes_opengl": "poses are of cameras with OpenGL axes (y up, z backward); OpenCV is expected",
    "depth_scale": "depth is in another unit than the scan says",
    "color_unregistered": "colour is not where the scan says that its camera is",
    "intrinsics_size": "intrinsics are for images of another size",
    "time_shift": "poses, or colour, belong to other frames of the recording",
    "tracking_lost": "poses of part of the recording are missing or wrong",
}


@dataclass(frozen=True)
class Diagnosis:
    """Attributes:
    verdict: one of ``VERDICTS``.
    evidence: what was measured, by name; numbers, texts and lists only.
    remedy: options or values that mend the fault, empty for a healthy scan.
    """

    verdict: str
    evidence: dict[str, Any] = field(default_factory=dict)
    remedy: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"unknown verdict {self.verdict!r}; one of {', '.join(VERDICTS)}")

    @property
    def healthy(self) -> bool:
        return self.verdict == "healthy"

    def to_json(self) -> str:
        """One line: {"verdict": ..., "evidence": {...}, "remedy": {...}}."""
        parts = {"verdict": self.verdict, "evidence": self.evidence, "remedy": self.remedy}
        return json.dumps(rounded(parts), allow_nan=False)

    def text(self) -> str:
        """For people: the verdict, what it means, and the numbers."""
        lines = [f"{self.verdict}: {VERDICTS[self.verdict]}"]
        for title, values in (("remedy", self.remedy), ("evidence", self.evidence)):
            if values:
                lines.append(f"{title}:")
                lines += _lines(rounded(values), "  ")
        return "\n".join(lines)


def _lines(values: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


def rounded(value: Any) -> Any:
    """Floats to 6 significant digits, inf and nan to None as JSON has neither; in any depth."""
    if isinstance(value, float):
        if abs(value) < 1e-12:  # what is left of a zero
            return 0.0
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value
