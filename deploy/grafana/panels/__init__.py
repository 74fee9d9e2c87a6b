"""The dashboard's rows, one module each; make_dashboard.py puts them together."""
