"""When two pictures are copies of one another: a grey hash proposes, a finer hash and the colours decide.

    signature   what is compared, and the limits
    kernel      the comparison in machine code: all pairs of a bucket, and one picture with those already kept

dedup clusters by it and select chooses by it. Neither Spark nor pictures are known here. `docs/duplicates.md` says
how the limits were found.
"""
