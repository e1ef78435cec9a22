"""Node definitions, shipped as package data: YAML only, no code."""
