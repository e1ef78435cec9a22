"""The Midjourney family as the aggregator mounts it under `/mj`, written from its reference page alone.

`bodies` says what may be sent, `buttons` what can be pressed and where it leads, `answers` how a task is told
of, `routes` ties them to the stage.
"""

from service.simulator.midjourney.routes import Midjourney

__all__ = ["Midjourney"]
