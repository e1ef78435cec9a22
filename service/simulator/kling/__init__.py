"""The Kling family as the aggregator mounts it under `/kling/v1`, written from its reference page alone.

`bodies` says what may be sent, `operations` which operation stands where, `refusals` how a request is
refused, `answers` how a task is told of, `direct` what is answered at once, `routes` ties them to the
stage.
"""

from service.simulator.kling.routes import Kling

__all__ = ["Kling"]
