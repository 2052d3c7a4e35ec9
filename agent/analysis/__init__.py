"""Analyses of readings as pure functions: arrays in, small frozen dataclasses out, state in and state out.

Rules. Times are Unix milliseconds UTC, in order, int64. NaN is a missing value, never zero. Nothing here
reads a clock, a file of readings or a store; who calls cuts the readings into chunks of any size and the
result is the same. Units are in the names.
"""
