"""Messages and times in, attempts and calls out; no clock, no sockets, no logging."""
