"""Every attention module as its authors or the widely used release published it, for tests and benchmarks."""
