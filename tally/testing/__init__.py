"""Tally in memory: the real handlers over AWS in this process, for the tests of a job and of Tally itself."""
