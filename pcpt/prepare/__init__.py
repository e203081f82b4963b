"""Preparation: recordings of any source into checked folder scans, in parallel, and into shards."""

from pcpt.prepare.run import Finished, Preparation, prepare_scans
from pcpt.prepare.settings import Settings
from pcpt.prepare.shards import write_shards
from pcpt.prepare.verify import verify

__all__ = ["Finished", "Preparation", "Settings", "prepare_scans", "verify", "write_shards"]
