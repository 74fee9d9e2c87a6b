"""Invented SIP and RTP traffic for the benchmarks: deterministic, with the truth beside it."""
