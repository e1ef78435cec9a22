"""`python -m service` is the command `halley`."""

from service.cli import main

if __name__ == "__main__":
    main(prog_name="halley")
