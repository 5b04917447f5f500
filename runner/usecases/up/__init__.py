"""`runner up`: from what was asked for to agents at work."""
