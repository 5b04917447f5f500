"""Programs that an agent of the tests runs."""

ECHO = "import os, sys; print('argv', sys.argv[1:]); print('bad', file=sys.stderr)"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); open('up', 'w'); time.sleep(60)"
SAVES_ON_TERM = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
def save(*_):
    (folder / "last.pt").write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""
