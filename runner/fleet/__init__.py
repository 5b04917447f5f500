"""What runs now and what is wanted become actions on containers."""
