"""Audit: what was filtered and why, from manifests, rows and ledgers. It writes only to RUN/audit."""

from pipeline.audit.counts import Finding, FindingCode, Funnel, as_json, funnel_table
from pipeline.audit.fate import Why, why
from pipeline.audit.proof import check
from pipeline.audit.report import write_report
from pipeline.audit.terminal import print_funnel, print_why

__all__ = [
    "Finding",
    "FindingCode",
    "Funnel",
    "Why",
    "as_json",
    "check",
    "funnel_table",
    "print_funnel",
    "print_why",
    "why",
    "write_report",
]
