"""The world outside Halley, as tests need it: receivers, clocks, a house ready to live in."""
