"""What runs inside the container; imports nothing of the host side."""
