"""Halley killed at any point, started again, and held to its promises by what upstream and receivers saw.

`steps` names the points, `server` is the real service that dies at one of them, `nursery` starts such servers quickly,
`world` is everything that outlives them, `load` the callers, `promises` the verdict, `trial` all of them together. The
short form is `tests/integration/test_crash.py`, the long form `make crash`.
"""
