"""`pairmill predict` as a script."""

from jobs.cli import main

if __name__ == "__main__":
    main("predict")
