"""A small web on loopback with known truth and planned faults, for the demo, the tests and the benchmarks."""
