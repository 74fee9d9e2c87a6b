"""Where finished attempts and calls go: records in several forms, and metrics."""
