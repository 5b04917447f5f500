"""`runner up`: from the request to running agents."""
