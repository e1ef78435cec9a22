"""The shipped definitions: what they say, ask and read."""
