"""What would not work on this host, and how to mend it."""
