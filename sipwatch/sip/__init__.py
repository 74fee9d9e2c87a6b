"""Bytes to SIP messages and back: grammar only, no networks and no time."""
