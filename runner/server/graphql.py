"""GraphQL without a schema: parse with graphql-core, answer from plain nodes.

The client's queries differ from release to release, so nothing here depends on operation names:
root fields are looked up, and a field that a node does not have is null.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from graphql import GraphQLError, parse
from graphql.language import (
    BooleanValueNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)

from runner.server.budget import Budget
from runner.server.limits import (
    JSON_DIGITS,
    QUERY_BYTES,
    QUERY_DEPTH,
    QUERY_FIELDS,
    QUERY_TOKENS,
)
from runner.server.wire import Args, Refused, check_text

KEPT_BYTES = 16 << 10  # of a query that is kept parsed; W&B's are a few KiB
DOCUMENTS = 256


@dataclass(slots=True)
class Field:
    """One field as it was asked for: arguments resolved, fragments merged."""

    name: str
    args: Args
    children: dict[str, "Field"] | None  # by the name in the answer; None: a plain value
    seen: dict[str, bool] = field(default_factory=dict, repr=False)  # fragments that added to them


@dataclass(frozen=True, slots=True)
class Operation:
    """One query or mutation."""

    kind: str
    fields: dict[str, Field]


def read_operation(body: object) -> Operation:
    """The operation in the JSON body of a GraphQL request; refused with 400 if it is none."""
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise Refused(400, "the body must be a JSON object with a `query`")
    query = body["query"]
    check_text(body)
    document = _document(query) if len(query) <= KEPT_BYTES else _parsed(query)
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    wanted = body.get("operationName")
    if len(operations) > 1 and wanted:
        operations = [one for one in operations if one.name and one.name.value == wanted]
    if not operations:
        raise Refused(400, "the query holds no operation")
    operation = operations[0]
    reader = _Reader(document, _variables(operation, body.get("variables")))
    return Operation(operation.operation.value, reader.fields(operation.selection_set))


def answer(node: object, fields: Mapping[str, Field] | None, budget: Budget) -> object:
    """What `fields` ask of a node: values as they are, functions called with their arguments."""
    if fields is None or node is None:
        if isinstance(node, str):
            budget.spend(size=len(node))
        elif isinstance(node, list):
            budget.spend(size=sum(len(one) for one in node if isinstance(one, str)))
        return node
    if isinstance(node, Mapping):
        budget.spend(nodes=len(fields))
        return {alias: _value(node, field, budget) for alias, field in fields.items()}
    if isinstance(node, Iterable) and not isinstance(node, str):
        found = []
        for one in node:
            budget.check_time()
            found.append(answer(one, fields, budget))
        return found
    return node


def _value(node: Mapping[str, Any], field: Field, budget: Budget) -> object:
    value = node.get(field.name)
    if field.name == "__typename":
        value = node.get(field.name, "Object")
    if callable(value):
        budget.check_time()
        value = value(field.args)
    return answer(value, field.children, budget)


@lru_cache(maxsize=DOCUMENTS)
def _document(query: str) -> DocumentNode:
    return _parsed(query)


def _parsed(query: str) -> DocumentNode:
    if len(query) > QUERY_BYTES:
        raise Refused(413, f"the query is larger than {QUERY_BYTES >> 20} MiB")
    try:
        return parse(query, no_location=True, max_tokens=QUERY_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise Refused(400, f"the query cannot be read: {error}") from None


def _variables(operation: OperationDefinitionNode, given: object) -> dict[str, Any]:
    values: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    for definition in operation.variable_definitions or ():
        default, name = definition.default_value, definition.variable.name.value
        if default is not None and values.get(name) is None:
            values[name] = _plain(default, {})
    return values


class _Reader:
    """Resolves variables, directives and fragments of one document."""

    def __init__(self, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._variables = variables
        self._left = QUERY_FIELDS
        self._made: dict[int, Args] = {}  # by the field's node, which the document keeps
        self._fragments = {
            one.name.value: one
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }

    def fields(self, selection: SelectionSetNode) -> dict[str, Field]:
        """The fields of a selection, those of its fragments merged in."""
        found: dict[str, Field] = {}
        self._collect(selection, found, {}, 0)
        return found

    def _collect(
        self, selection: SelectionSetNode, into: dict[str, Field], seen: dict[str, bool], depth: int
    ) -> None:
        """Add the fields of a selection; a fragment that was `seen` here has added its own.

        Where it is still about to, the fragment contains itself.
        """
        if depth > QUERY_DEPTH:
            raise Refused(400, "the query is nested too deeply")
        for node in selection.selections:
            self._count()
            if self._left_out(node.directives):
                continue
            if isinstance(node, FieldNode):
                self._add(node, into, depth)
            elif isinstance(node, InlineFragmentNode):
                self._collect(node.selection_set, into, seen, depth + 1)
            elif isinstance(node, FragmentSpreadNode):
                self._spread(node.name.value, into, seen, depth)

    def _spread(self, name: str, into: dict[str, Field], seen: dict[str, bool], depth: int) -> None:
        fragment = self._fragments.get(name)
        if fragment is None:
            raise Refused(400, f"fragment `{name}` is not defined")
        if name not in seen:
            seen[name] = False
            self._collect(fragment.selection_set, into, seen, depth + 1)
            seen[name] = True
        elif not seen[name]:
            raise Refused(400, f"fragment `{name}` contains itself")

    def _add(self, node: FieldNode, into: dict[str, Field], depth: int) -> None:
        alias = node.alias.value if node.alias else node.name.value
        made = into.get(alias)
        if made is None:
            made = into[alias] = Field(node.name.value, self._args_of(node), None)
        if node.selection_set is not None:
            made.children = {} if made.children is None else made.children
            self._collect(node.selection_set, made.children, made.seen, depth + 1)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Refused(400, f"the query has more than {QUERY_FIELDS} fields")

    def _args_of(self, node: FieldNode) -> Args:
        """Of a field, the same wherever its fragment is spread."""
        made = self._made.get(id(node))
        if made is None:
            made = self._made[id(node)] = self._args(node.arguments)
        return made

    def _args(self, arguments: Iterable[Any] | None) -> Args:
        return {one.name.value: _plain(one.value, self._variables) for one in arguments or ()}

    def _left_out(self, directives: Iterable[Any] | None) -> bool:
        for one in directives or ():
            wanted = bool(self._args(one.arguments).get("if"))
            if (one.name.value == "skip" and wanted) or (
                one.name.value == "include" and not wanted
            ):
                return True
        return False


def _plain(node: ValueNode, variables: Mapping[str, Any]) -> Any:
    match node:
        case VariableNode():
            return variables.get(node.name.value)
        case NullValueNode():
            return None
        case IntValueNode():
            if len(node.value) > JSON_DIGITS:
                raise Refused(400, f"the query holds an integer of over {JSON_DIGITS} digits")
            return int(node.value)
        case FloatValueNode():
            return float(node.value)
        case StringValueNode() | BooleanValueNode() | EnumValueNode():
            return node.value
        case ListValueNode():
            return [_plain(one, variables) for one in node.values]
        case ObjectValueNode():
            return {one.name.value: _plain(one.value, variables) for one in node.fields}
    raise Refused(400, "the query holds a value of an unknown kind")
