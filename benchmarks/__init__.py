"""Side-by-side timings; run one with `python -m benchmarks.<name>`. Nothing here is asserted by the tests."""
