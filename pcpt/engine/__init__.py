"""Training: the loop and what surrounds it. ``pcpt.engine.run.train`` is the way in."""
