"""Frames to datagrams: link types, IP, UDP, ICMP, and what travels inside them."""
