"""`pairmill demo` for spark-submit."""

from jobs.cli import main

if __name__ == "__main__":
    main("demo")
