"""The daemon: live interfaces to metrics and records, for months and without harm."""
