"""Routes about space: what is held, and how it is freed. For the administrator alone."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from runner.server.bodies import read_json
from runner.server.limits import COMMAND_BYTES
from runner.server.prune import Criteria, choose
from runner.server.records import Sweep
from runner.server.removal import remove_runs, remove_sweep
from runner.server.replies import as_json, check_admin
from runner.server.service import Service
from runner.server.usage import measure, report
from runner.server.wire import Refused, check_text


@dataclass(frozen=True, slots=True)
class SpaceHandlers:
    """The routes over one service. What removes works for a second: who asks repeats it."""

    service: Service

    async def usage(self, request: Request) -> Response:
        """What each W&B project, sweep and (with `?runs=1`) run holds."""
        check_admin(request)
        with_runs = request.query_params.get("runs") == "1"

        def look() -> dict[str, object]:
            store = self.service.store
            return report(store, measure(store), floor=self.service.floor.size, with_runs=with_runs)

        return as_json(await run_in_threadpool(look))

    async def delete_sweep(self, request: Request) -> Response:
        """Remove a part of a sweep, or (with `?dry_run=1`) say what it holds."""
        check_admin(request)
        path, asked = request.path_params, request.query_params
        where = path["entity"], path["project"], path["sweep"]
        force, dry_run = asked.get("force") == "1", asked.get("dry_run") == "1"

        def remove() -> dict[str, object]:
            sweep = self.service.store.sweep(*where)
            if sweep is None:
                raise Refused(404, f"sweep {'/'.join(where)} not found")
            if dry_run:
                return self._plan(sweep)
            return {**remove_sweep(self.service, sweep, force=force)}

        return as_json(await run_in_threadpool(remove))

    async def prune(self, request: Request) -> Response:
        """Remove a part of the runs that a person is done with, or say which they are."""
        check_admin(request)
        body = (await read_json(request, COMMAND_BYTES)).value
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        check_text(body)
        wanted, dry_run = Criteria.read(body), body.get("dry_run") is True

        def remove() -> dict[str, object]:
            chosen = choose(self.service, wanted)
            if dry_run:
                return chosen.node(measure(self.service.store), media_only=wanted.media_only)
            return {**remove_runs(self.service, chosen.keys, media_only=wanted.media_only)}

        return as_json(await run_in_threadpool(remove))

    def _plan(self, sweep: Sweep) -> dict[str, object]:
        store = self.service.store
        keys = [(run.entity, run.project, run.id) for run in store.runs_of_sweep(sweep)]
        held = measure(store).total(keys).node()
        return {**held, "live": len(store.live_runs_of_sweep(sweep))}
