"""Synthetic furnished rooms in ScanNet's file formats: see docs/rooms.md. Needs the extra
``rooms``."""
