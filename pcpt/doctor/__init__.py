"""The scan doctor: measures whether poses, depth, colour and intrinsics of a scan fit together, and
names what does not, with the evidence and the remedy."""

from pcpt.doctor.diagnosis import VERDICTS, Diagnosis
from pcpt.doctor.examine import Examination, examine
from pcpt.doctor.open_scan import open_scan
from pcpt.doctor.report import write_doctor_report

__all__ = ["VERDICTS", "Diagnosis", "Examination", "examine", "open_scan", "write_doctor_report"]
