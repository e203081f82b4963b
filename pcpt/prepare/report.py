"""What a preparation did, for people and as report.json."""

from collections import Counter
from pathlib import Path
from typing import Any

from pcpt.data.write_json import write_json
from pcpt.prepare.convert import NOT_JUDGED, Outcome, is_ill
from pcpt.prepare.run import REPORT, Finished


def summary(finished: Finished) -> dict[str, Any]:
    """The report as JSON holds it."""
    there = [each for each in finished.outcomes if each.status in ("prepared", "kept")]
    skipped: Counter[str] = Counter()
    for outcome in there:
        skipped.update(outcome.skipped)
    written = sum(each.frames for each in there if each.status == "prepared")
    ill = {
        each.name: {
            "verdict": each.doctor["verdict"],
            "remedy": each.doctor["remedy"],
            "left_out": each.status == "left_out",
        }
        for each in finished.outcomes
        if is_ill(each.doctor)
    }
    return {
        "scans": len(there),
        "scans_by_status": dict(sorted(Counter(each.status for each in finished.outcomes).items())),
        "frames": sum(each.frames for each in there),
        "frames_this_run": written,
        "skipped": dict(sorted(skipped.items())),
        "bytes": sum(each.bytes for each in there),
        "seconds": round(finished.seconds, 3),
        "frames_per_second": round(written / max(finished.seconds, 1e-9), 2),
        "ill": ill,
        "not_judged": [e.name for e in there if e.doctor.get("verdict") == NOT_JUDGED],
        "others": finished.others,
        "errors": finished.errors,
    }


def write_report(out: Path, finished: Finished) -> dict[str, Any]:
    """Writes report.json and returns what is in it."""
    report = summary(finished)
    write_json(out / REPORT, report)
    return report


def line(outcome: Outcome) -> str:
    """One scan in one line, while the run goes on."""
    words = [f"{outcome.status:9}", outcome.name]
    if outcome.frames:
        words.append(f"{outcome.frames} frames")
    if outcome.skipped:
        words.append(f"{sum(outcome.skipped.values())} skipped")
    if is_ill(outcome.doctor):
        words.append(f"ILL: {outcome.doctor['verdict']}")
    if outcome.error:
        words.append(outcome.error)
    return "  ".join(words)


def text(report: dict[str, Any]) -> str:
    """The report for people; what is wrong comes last, where it is read."""
    by_status = ", ".join(f"{count} {name}" for name, count in report["scans_by_status"].items())
    lines = [
        f"scans     {report['scans']} ({by_status})",
        f"frames    {report['frames']}, {report['bytes'] / 1e6:.1f} MB",
        f"speed     {report['frames_per_second']} frames/s "
        f"({report['frames_this_run']} frames in {report['seconds']:.1f} s)",
    ]
    skipped = ", ".join(f"{count} {reason}" for reason, count in report["skipped"].items())
    lines.append(f"skipped   {skipped or 'none'}")
    if report["not_judged"]:
        lines.append(f"not judged by the doctor: {len(report['not_judged'])}")
    for name, ill in report["ill"].items():
        where = "LEFT OUT" if ill["left_out"] else "PREPARED ALL THE SAME"
        lines.append(f"ILL       {name}: {ill['verdict']} ({where}); remedy: {ill['remedy']}")
    for name in report["others"]:
        lines.append(f"OTHER     {name}: of an earlier run; where recordings lie now there is none")
    for name, error in report["errors"].items():
        lines.append(f"FAILED    {name}: {error}")
    return "\n".join(lines)
