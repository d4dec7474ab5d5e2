"""`pairmill train` as a script, as torchrun wants one."""

from jobs.cli import main

if __name__ == "__main__":
    main("train")
