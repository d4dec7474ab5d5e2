"""One folder per stage of the funnel. Their order is that of `STAGES` in pipeline/funnel.py, written only there."""
