"""Times pcpt's kernels and training steps against their alternatives, side by side in one process.

``parts/`` holds one file a part, found by themselves; ``baselines/`` the alternatives.
"""
