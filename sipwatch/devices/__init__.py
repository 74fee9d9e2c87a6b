"""Registrations, pings and reachability of devices and trunks (outcomes.md section 11)."""
