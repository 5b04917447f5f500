"""The programs of compose.yaml in the server's image: `init`, `server`, `sweep`, `health`.

Each switches to the owner of its folder before it touches anything. The image contains only
`runner` and the server's dependencies: no Docker, no wandb, no git.
"""
