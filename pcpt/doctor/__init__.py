"""The scan doctor: measures whether poses, depth, colour and intrinsics of a scan fit together, and
names what does not, with the evidence and the remedy."""

from pcpt.doctor.diagnosis import VERDICTS, Diagnosis
from pcpt.doctor.examine import examine
from pcpt.doctor.open_scan import open_scan

__all__ = ["VERDICTS", "Diagnosis", "examine", "open_scan"]
