"""What a sweep's runs add up to, made anew: after its file has changed, or an upgrade."""

from runner.server.progress import prior_runs, prior_view
from runner.server.records import Sweep, replace
from runner.server.scores import add_values, place_anew, score_anew
from runner.server.service import Service


def count_anew(service: Service, sweep: Sweep) -> None:
    """Score all runs of a sweep, and find their cells; to be called in a transaction."""
    store, spec = service.store, service.spec(sweep)
    for run in store.runs_of_sweep(sweep):
        store.put(place_anew(service, None, score_anew(service, run, spec)))
    store.sums.set_cursor(sweep, 0)
    score_prior(service, sweep)
    store.sums.set_counted(sweep)


def score_prior(service: Service, sweep: Sweep) -> None:
    """Let the runs that a sweep was told to learn from count at hyperband's bands."""
    spec = service.spec(sweep)
    for run in prior_runs(service, sweep):
        values = prior_view(service, sweep, run).values
        add_values(service, replace(run, sweep=sweep.id, points=0, best=None), spec, values)
