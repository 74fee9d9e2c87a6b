"""Where packets come from: capture files, live interfaces and other sources of datagrams."""
