"""The demo: Halley, a simulated upstream and a receiver of events on this machine, and two runs to watch.

`stage` puts the three up, `receiver` is the program that is told, `play` starts the runs,
`outcome` judges what came of them, `show` says it. It uses Halley as any user does, over HTTP.
"""
