"""The rules of a run's life: states, transitions, events and schedules, as values and pure functions.

Nothing here does I/O; time, ids and randomness come in as arguments.
"""
