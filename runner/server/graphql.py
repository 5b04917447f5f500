"""GraphQL without a schema: parse with graphql-core, answer from plain nodes.

The client's queries differ from release to release, so nothing here depends on operation names:
root fields are looked up, and a field that a node does not have is null.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

from runner.server.wire import Args, Refused

DEPTH = 40  # of fragments within fields within fragments; the client's own stay below 15


@dataclass(slots=True)
class Field:
    """One field as it was asked for: arguments resolved, fragments merged."""

    name: str
    args: Args
    children: dict[str, "Field"] | None  # by the name in the answer; None: a plain value


@dataclass(frozen=True, slots=True)
class Operation:
    """One query or mutation."""

    kind: str
    fields: dict[str, Field]


def read_operation(body: object) -> Operation:
    """The operation in the JSON body of a GraphQL request; refused with 400 if it is none."""
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise Refused(400, "the body must be a JSON object with a `query`")
    document = _document(body["query"])
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    wanted = body.get("operationName")
    if len(operations) > 1 and wanted:
        operations = [one for one in operations if one.name and one.name.value == wanted]
    if not operations:
        raise Refused(400, "the query holds no operation")
    operation = operations[0]
    reader = _Reader(document, _variables(operation, body.get("variables")))
    return Operation(operation.operation.value, reader.fields(operation.selection_set))


def answer(node: object, fields: Mapping[str, Field] | None) -> object:
    """What `fields` ask of a node: values as they are, functions called with their arguments."""
    if fields is None or node is None:
        return node
    if isinstance(node, Mapping):
        return {alias: _value(node, field) for alias, field in fields.items()}
    if isinstance(node, Iterable) and not isinstance(node, str):
        return [answer(one, fields) for one in node]
    return node


def _value(node: Mapping[str, Any], field: Field) -> object:
    value = node.get(field.name)
    if field.name == "__typename":
        value = node.get(field.name, "Object")
    if callable(value):
        value = value(field.args)
    return answer(value, field.children)


@lru_cache(maxsize=256)
def _document(query: str) -> DocumentNode:
    try:
        return parse(query, no_location=True, max_tokens=20_000)
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
        self._fragments = {
            one.name.value: one
            for one in document.definitions
            if isinstance(one, FragmentDefinitionNode)
        }

    def fields(self, selection: SelectionSetNode) -> dict[str, Field]:
        """The fields of a selection, those of its fragments merged in."""
        found: dict[str, Field] = {}
        self._collect(selection, found, 0)
        return found

    def _collect(self, selection: SelectionSetNode, into: dict[str, Field], depth: int) -> None:
        if depth > DEPTH:
            raise Refused(400, "the query is nested too deeply")
        for node in selection.selections:
            if self._left_out(node.directives):
                continue
            if isinstance(node, FieldNode):
                self._add(node, into, depth)
            elif isinstance(node, InlineFragmentNode):
                self._collect(node.selection_set, into, depth + 1)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments.get(node.name.value)
                if fragment is None:
                    raise Refused(400, f"fragment `{node.name.value}` is not defined")
                self._collect(fragment.selection_set, into, depth + 1)

    def _add(self, node: FieldNode, into: dict[str, Field], depth: int) -> None:
        alias = node.alias.value if node.alias else node.name.value
        field = into.get(alias)
        if field is None:
            field = into[alias] = Field(node.name.value, self._args(node.arguments), None)
        if node.selection_set is not None:
            field.children = {} if field.children is None else field.children
            self._collect(node.selection_set, field.children, depth + 1)

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
