"""A program that writes down all that a process can know of its own start."""

PROGRAM = r"""
import sys
begin = {"modules": sorted(sys.modules), "finders": len(sys.meta_path), "path": list(sys.path)}
import os, posix, warnings
begin["threads"] = len(os.listdir("/proc/self/task"))
begin["files"] = {}
for name in os.listdir("/proc/self/fd"):
    try:
        begin["files"][name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
    except OSError:
        pass
begin["filters"] = [repr(one) for one in warnings.filters]
begin["environ"], begin["posix"] = dict(os.environ), sorted(map(os.fsdecode, posix.environ))
import builtins, json, locale, logging, resource, signal, subprocess
CHILD = "import json, os, sys; print(json.dumps([dict(os.environ), sys.path[1:], sys.argv]))"
main = sys.modules["__main__"]
begin.update(
    argv=sys.argv,
    orig_argv=sys.orig_argv,
    flags=repr(sys.flags),
    cwd=os.getcwd(),
    umask=os.umask(0o22),
    executable=sys.executable,
    prefix=sys.prefix,
    signals=[repr(signal.getsignal(one)) for one in sorted(signal.valid_signals())],
    blocked=sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    limits=[resource.getrlimit(getattr(resource, one)) for one in dir(resource) if "RLIMIT" in one],
    main=[(one, repr(vars(main)[one])) for one in sorted(vars(main)) if one[:2] == "__"
          and one not in ("__builtins__", "__loader__")],
    loader=type(main.__loader__).__name__,
    is_main=vars(main) is globals(),
    is_outermost=sys._getframe().f_back is None,
    recursion=sys.getrecursionlimit(),
    session=os.getsid(0) == os.getpid() == os.getpgrp(),
    parent="runner.agent" in open(f"/proc/{os.getppid()}/cmdline").read(),
    comm=open("/proc/self/comm").read(),
    cores=sorted(os.sched_getaffinity(0)),
    nice=os.nice(0),
    stdio=[(type(one).__name__, one.encoding, one.errors, one.line_buffering, one.write_through,
            one.isatty(), one.fileno()) for one in (sys.stdin, sys.stdout, sys.stderr)],
    hooks=[sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__],
    builtins=sorted(vars(builtins)),
    root=[len(logging.getLogger().handlers), logging.getLogger().level],
    locale=locale.setlocale(locale.LC_ALL),
    stdin=sys.stdin.read(),
    after=sorted(sys.modules),
    child=json.loads(subprocess.check_output([sys.executable, "-c", CHILD, "x"])),
)
json.dump(begin, open("state.json", "w"))
"""
