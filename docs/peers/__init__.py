"""What other programs say of the same captures: Wireshark, sngrep, and a reading of codes alone."""
