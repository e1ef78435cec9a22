"""Ideogram: five operations of version 3 with plain fields, five older ones; all answer at once."""

from service.simulator.ideogram.routes import Ideogram

__all__ = ["Ideogram"]
