"""A small web on loopback, with its truth, misbehaving where it should: for the demo, the tests and the benchmarks."""
