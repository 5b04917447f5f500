"""What compose.yaml runs in the server's image: `init`, `server`, `sweep`, `health`.

Each becomes the owner of the folder that it is given before it touches anything. Only `runner`'s
own code and the server's dependencies are here: no Docker, no wandb, no git.
"""
