"""W&B's GraphQL: root fields to answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.server.access import Access
from runner.server.artifacts import Artifacts
from runner.server.budget import Budget, Share
from runner.server.filters import connection
from runner.server.graphql import Operation, answer
from runner.server.limits import CHANGES
from runner.server.runchanges import RunChanges
from runner.server.service import DEFAULT_ENTITY, Service
from runner.server.sweepchanges import SweepChanges
from runner.server.views import Views
from runner.server.wire import Args, Node, Refused, mapping, text

Root = Callable[[Args], Node | None]
TYPES: Mapping[str, tuple[str, ...]] = {  # what clients before 0.25 look up before they ask
    "Query": ("viewer", "serverInfo", "project", "model", "entity", "models"),
    "ServerInfo": ("features", "cliVersionInfo", "latestLocalVersionInfo"),
    "Run": ("projectId", "historyKeys", "sampledHistory", "parquetHistory"),
    "Project": ("internalId", "sweeps", "totalSweeps"),
}


def execute(
    service: Service,
    base: str,
    operation: Operation,
    access: Access,
    asked: float,
    share: Share | None = None,
) -> dict[str, object]:
    """Answer one GraphQL operation that came by way of the URL `base`.

    A query's unknown root field is null; an unknown mutation is refused with 400, because a null
    answer to one crashes the client.

    Args:
        service: what is asked.
        base: how the client reached it.
        operation: what it asks for.
        access: of its key.
        asked: when, by the monotonic clock.
        share: of the memory for answers.
    """
    if operation.kind == "mutation":
        access.check_change()
    budget = Budget.of_change() if operation.kind == "mutation" else Budget.of_query(asked, share)
    return carry_out(service, Views(service, base, budget, access), operation)


def carry_out(service: Service, views: Views, operation: Operation) -> dict[str, object]:
    """The reply to one operation, its nodes made by `views`."""
    roots = _roots(service, views, operation)
    return {"data": answer(roots, operation.fields, views.budget)}


def _roots(service: Service, views: Views, operation: Operation) -> Mapping[str, Root]:
    if operation.kind == "query":
        return _Queries(service, views).roots()
    if operation.kind != "mutation":
        raise Refused(400, f"a {operation.kind} is not supported by this server")
    changes = _changes(service, views)
    names = [field.name for field in operation.fields.values()]
    unknown = [name for name in names if name not in changes and name != "__typename"]
    if unknown:
        raise Refused(400, f"not supported by this server: {', '.join(unknown)}")
    if sum(name in changes for name in names) > CHANGES:
        raise Refused(400, "a mutation asks for one change at a time")
    return {name: _with_input(changes[name], views.budget) for name in names if name in changes}


def _changes(service: Service, views: Views) -> dict[str, Callable[[Args], Node]]:
    return {
        **SweepChanges(service, views).roots(),
        **RunChanges(service, views).roots(),
        **Artifacts(service, views).roots(),
    }


def _with_input(change: Callable[[Args], Node], budget: Budget) -> Root:
    def carry_out(args: Args) -> Node:
        node = change(mapping(args, "input"))
        budget.start()
        return node

    return carry_out


@dataclass(frozen=True, slots=True)
class _Queries:
    service: Service
    views: Views

    def roots(self) -> dict[str, Root]:
        return {
            "viewer": lambda _: self.views.viewer(),
            "serverInfo": lambda _: _server_info(),
            "project": self.project,
            "model": self.project,
            "entity": lambda args: self.views.entity(text(args, "name") or DEFAULT_ENTITY),
            "models": self.projects,
            "projects": self.projects,
            "artifact": self.artifact,
            "__type": lambda args: self.type(text(args, "name") or ""),
        }

    def project(self, args: Args) -> Node | None:
        name = text(args, "name")
        entity = text(args, "entityName") or DEFAULT_ENTITY
        found = self.service.store.project(entity, name) if name else None
        if found is None or not self.views.access.sees_project(found.entity, found.name):
            return None
        return self.views.project(found)

    def projects(self, args: Args) -> Node:
        found = self.views.projects(text(args, "entityName"))
        return connection(found, args, self.views.project)

    def artifact(self, args: Args) -> Node | None:
        """A version by its ID, which `Artifact.wait()` asks for."""
        found = self.service.store.artifact(text(args, "id") or "")
        if found is None or not self.views.access.sees_artifact(self.service.store, found):
            return None
        return self.views.artifact(found)

    def type(self, name: str) -> Node:
        known = _changes(self.service, self.views) if name == "Mutation" else TYPES.get(name, ())
        fields = [{"name": one, "args": []} for one in known]
        return {"name": name, "fields": fields, "inputFields": [], "enumValues": []}


def _server_info() -> Node:
    """No feature of W&B's newer servers: the client then uses the plain ways."""
    return {
        "features": [],
        "cliVersionInfo": {"max_cli_version": "9.9.9", "min_cli_version": "0.0.0"},
        "latestLocalVersionInfo": None,
        "frontendHost": None,
    }
