"""What lies in a folder, a container or a repository is a stranger's until it was looked at."""
