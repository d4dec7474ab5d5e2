"""All errors that a user sees. A message says what was wrong, the value, and how to fix it.

    PairmillError
    ├── InputError       bad run-level input: fix the config, the data or the machine; exit code 2
    └── StageError       a stage failed: finished work is kept, the next run resumes; exit code 1
        └── ProcessLost  another process of a training ended

Bad *rows* are verdicts, never exceptions. The message is one line; jobs print it as
``pairmill: error: CODE: TEXT`` and show a traceback only with ``--debug``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ErrorCode(StrEnum):
    """Why a command ended with an error; docs/faults.md lists them with their exit codes."""

    # Invalid input: exit code 2.
    CONFIG_UNKNOWN_KEY = "config_unknown_key"  # a setting that does not exist
    CONFIG_INVALID = "config_invalid"  # a setting or argument with an invalid value
    ENVIRONMENT_INVALID = "environment_invalid"  # Java or Python that Spark cannot use
    INPUT_MISSING = "input_missing"  # a file, folder or run does not exist
    INPUT_UNREADABLE = "input_unreadable"  # a file cannot be read or has the wrong format
    INPUT_SCHEMA = "input_schema"  # a list lacks a column that it needs
    OUTPUT_EXISTS = "output_exists"  # the output folder holds something else
    OUTPUT_LOCKED = "output_locked"  # another process works in the output folder
    OUTPUT_UNWRITABLE = "output_unwritable"  # the output cannot be written
    DISK_FULL = "disk_full"  # not enough disk space, at the start or later
    MODEL_MISSING = "model_missing"  # the CLIP checkpoint does not exist
    MODEL_HASH_MISMATCH = "model_hash_mismatch"  # the checkpoint has another sha256 than expected
    MODEL_CONFIG_MISMATCH = "model_config_mismatch"  # the weights are not those of a known CLIP network
    UNSAFE_CHECKPOINT = "unsafe_checkpoint"  # a pickle that would run code
    DEVICE_UNAVAILABLE = "device_unavailable"  # the requested GPU or precision is not available
    DATASET_TOO_SMALL = "dataset_too_small"  # too few samples, classes or scores
    LABELS_INVALID = "labels_invalid"  # class names, labels and templates that do not match
    RESOURCE_MISSING = "resource_missing"  # a list of terms, domains, URLs or queries is missing, empty or invalid
    RESUME_MISMATCH = "resume_mismatch"  # the output holds a training with other settings or data
    CHECKPOINT_CORRUPT = "checkpoint_corrupt"  # no checkpoint to resume from is intact

    # A failure inside a stage, or a finding of an audit: exit code 1.
    LEDGER_MISMATCH = "ledger_mismatch"  # counts, files or verdicts that do not agree
    LEDGER_INVALID = "ledger_invalid"  # an unknown reason, or not exactly one reason per row
    SHARD_MISMATCH = "shard_mismatch"  # shards do not match their rows (exit code 2 for shards given to a training)
    KEY_COLLISION = "key_collision"  # two different pairs with one key
    TOO_FEW_PAIRS = "too_few_pairs"  # fewer pairs than export.min_pairs
    CHILD_NOT_STARTED = "child_not_started"  # a child process that parses pages or decodes images does not start
    DEMO_SERVER_FAILED = "demo_server_failed"  # the demo's web server does not start
    LOSS_NONFINITE = "loss_nonfinite"  # the loss or gradient is NaN or infinite
    TOO_MANY_ERRORS = "too_many_errors"  # more unreadable samples than allowed
    SHARD_UNREADABLE = "shard_unreadable"  # a shard became unreadable during a training
    RANK_FAILED = "rank_failed"  # another process of a training ended
    DEVICE_OUT_OF_MEMORY = "device_out_of_memory"  # a training step does not fit into GPU memory
    EMBEDDING_NONFINITE = "embedding_nonfinite"  # a model returned NaN or infinite embeddings
    EVAL_OVERLAP = "eval_overlap"  # test images are in the training data
    STAGE_STALLED = "stage_stalled"  # no progress on any row, and no planned wait, for ten minutes
    NETWORK_DOWN = "network_down"  # most hosts cannot be connected to: the fault is on our side
    STAGE_FAILED = "stage_failed"  # an error without a code of its own; --debug shows the traceback

    # Ended by a signal: exit codes 130 and 143.
    INTERRUPTED = "interrupted"  # Ctrl-C
    TERMINATED = "terminated"  # SIGTERM


class PairmillError(Exception):
    """``text`` is one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(code, text)  # both in args, so that the error survives pickling between Spark processes
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class InputError(PairmillError):
    """Invalid input: config, files or environment. No half-written file is left visible."""

    exit_code = 2


class StageError(PairmillError):
    """A stage failed. Committed parts are kept; the same command resumes."""

    exit_code = 1


class ProcessLost(StageError):
    """Another process of this training ended.

    Threads of torch may wait for it for an hour, and the interpreter waits for them when it exits: use ``os._exit``.
    """
