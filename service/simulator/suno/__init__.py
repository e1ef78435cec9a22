"""The Suno family as the aggregator mounts it under `/suno`, written from its reference page alone.

`bodies` says what may be sent, `answers` how tasks and clips are told of, `routes` ties them to the stage.
"""

from service.simulator.suno.routes import Suno

__all__ = ["Suno"]
