"""What people look at: the report, one call's ladder, the guide, agents."""
