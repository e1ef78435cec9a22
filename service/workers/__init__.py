"""What goes on by itself: sweeps over what is due, each with one verb, `run_once`.

A sweep claims due rows in the store, starts their work and returns; it never waits for a slow peer. APScheduler
rings every sweep at an interval, and whoever makes new work rings at once (`sweep`, `scheduler`).
"""
