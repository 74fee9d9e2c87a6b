"""`python -m sipwatch` is the `sipwatch` command."""

from sipwatch.cli import main

if __name__ == "__main__":
    main(prog_name="sipwatch")
