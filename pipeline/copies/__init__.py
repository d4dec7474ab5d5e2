"""Whether two images are copies of each other: a grey hash finds candidates, a finer hash and the colours decide.

    signature   what is compared, and the limits
    kernel      the comparison in machine code: all pairs of a bucket, or one image with those already kept

dedup uses it to cluster and select uses it to choose. This package uses neither Spark nor images. `docs/duplicates.md`
explains how the limits were found.
"""
