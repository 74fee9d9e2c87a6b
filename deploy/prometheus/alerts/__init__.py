"""The alerts, one module a concern; make_alerts.py writes them down."""
