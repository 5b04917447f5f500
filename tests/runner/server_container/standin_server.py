"""A program with the health answer of the sweep server and nothing else, for its container."""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

options = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
key = Path(options["--key-file"]).read_text("ascii")
live = Path(options["--data"], "live")
if Path(options["--data"], "broken").exists():
    sys.exit("the store is damaged")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wanted = base64.b64encode(f"api:{key}".encode()).decode()
        allowed = self.headers.get("Authorization") == f"Basic {wanted}"
        body = {
            "name": "runner",
            "version": "0.0.0",
            "schema": 1,
            "sweeps": 0,
            "runs_live": int(live.read_text()) if live.exists() else 0,
        }
        self.send_response(200 if allowed else 401)
        self.end_headers()
        if allowed:
            self.wfile.write(json.dumps(body).encode())


HTTPServer(("", int(options["--port"])), Handler).serve_forever()
