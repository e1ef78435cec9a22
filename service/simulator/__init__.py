"""An upstream of our own: the aggregator's face and the families behind it, played on a loopback port.

Written from the reference pages alone. Nothing here imports node definitions or the engine that runs them,
so that it can prove them wrong. The generic machinery (scenario and marks, task table, callback poster,
wire faults, sample files, journal) lies in this folder; every family has a package of its own that knows
its paths, its validation and its ways of answering.
"""

from service.simulator.marks import MARKS, Mark, MarkError
from service.simulator.scenario import Scenario, SimulatorOptions
from service.simulator.server import Simulator

__all__ = ["MARKS", "Mark", "MarkError", "Scenario", "Simulator", "SimulatorOptions"]
