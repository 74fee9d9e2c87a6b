"""Facts in, verdicts out: the taxonomy, the ordered rules, the dialects and the guide."""
