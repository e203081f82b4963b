"""Makers of furniture: ``maker(rng, ...) -> list[Thing]``, the main thing first, in the frame that
``pcpt.data.rooms.things`` describes."""
