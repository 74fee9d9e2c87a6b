"""sipwatch: a live SIP signalling monitor that says why calls fail."""

__version__ = "0.1.0"
