"""`python -m service`: the `chiron` command, where it is not installed."""

from service.cli import app

if __name__ == "__main__":
    app()
