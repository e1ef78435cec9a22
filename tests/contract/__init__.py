"""What Halley promises in its API document, held against what it does."""
