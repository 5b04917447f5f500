"""What comes in and goes out over HTTP: arguments, global IDs, JSON, refusals."""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from runner.server.limits import CHECKED_BYTES, JSON_DEPTH, JSON_DIGITS, JSON_VALUES

Args = Mapping[str, Any]  # arguments of a GraphQL field: the door through which untyped values come
Node = Mapping[str, Any]  # a GraphQL object: plain values, nodes, or functions of `Args`

LARGEST_INT = 1 << 62  # SQLite's have 64 bits
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_CONSTANT = re.compile(rf"{_STRING.pattern}|-?Infinity|NaN", re.DOTALL)
_DECODER = json.JSONDecoder(parse_constant=str)
_LENIENT = json.JSONDecoder(parse_constant=str, parse_int=lambda digits: _whole(digits))
_ASCII_ENCODER = json.JSONEncoder(separators=(",", ":"))
_ENCODER = json.JSONEncoder(
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    default=lambda value: _refuse_node(value),
)


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is answered with an HTTP status and messages, in W&B's form."""

    def __init__(self, status: int, *messages: str) -> None:
        super().__init__("; ".join(messages))
        self.status, self.messages = status, messages


def text(args: Args, key: str) -> str | None:
    """The argument as text, or none where it is absent, null or empty."""
    value = args.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise Refused(400, f"`{key}` must be a string")


def required(args: Args, key: str) -> str:
    """The argument as text; refused with 400 where it is absent."""
    value = text(args, key)
    if value is None:
        raise Refused(400, f"`{key}` is missing")
    return value


def whole(args: Args, key: str) -> int | None:
    """The argument as an integer, or none."""
    value = args.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-LARGEST_INT, min(LARGEST_INT, value))
    if isinstance(value, float) and math.isfinite(value):
        return int(max(-LARGEST_INT, min(LARGEST_INT, value)))
    raise Refused(400, f"`{key}` must be a number")


def texts(args: Args, key: str) -> list[str]:
    """The argument as a list of texts; a bare text is a list of one (GraphQL's list coercion)."""
    value = args.get(key) or []
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        return cast(list[str], values)
    raise Refused(400, f"`{key}` must be a list of strings")


def mapping(args: Args, key: str) -> dict[str, Any]:
    """The argument as an object; refused with 400 where it is absent."""
    value = args.get(key)
    if isinstance(value, dict):
        return value
    raise Refused(400, f"`{key}` must be an object")


def objects(args: Args, key: str) -> list[dict[str, Any]]:
    """The argument as a list of objects, an empty one where it is absent."""
    values = args.get(key) or []
    if isinstance(values, list) and all(isinstance(one, dict) for one in values):
        return values
    raise Refused(400, f"`{key}` must be a list of objects")


def json_object(raw: str | None, *, name: str, any_text: bool = False) -> dict[str, Any]:
    """JSON text as an object, with NaN and infinity as strings; an empty one where it is absent.

    Unless it may hold `any_text`, a lone surrogate in it is refused.
    """
    if not raw:
        return {}
    try:
        value = loads_shallow(raw)
    except (ValueError, RecursionError):
        raise Refused(400, f"`{name}` is not JSON, or nested too deeply") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(400, f"`{name}` must be a JSON object")
    if not any_text:
        check_text(value)
    return value


def loads(raw: str | bytes) -> Any:
    """JSON, with the bare NaN and infinity of Python's clients as W&B's strings for them."""
    text = raw if isinstance(raw, str) else _decoded(raw)
    if len(text) > CHECKED_BYTES and _count_values(text) > JSON_VALUES:
        raise Refused(413, f"a JSON text has more than {JSON_VALUES} values")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer with too many digits to be read as one
        return _LENIENT.decode(text)


def loads_shallow(raw: str) -> Any:
    """JSON that is kept: whatever looks through it later must not run out of stack.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    value = loads(raw)
    if raw.count("[") + raw.count("{") > JSON_DEPTH and _is_deep(value):
        raise ValueError(f"nested over {JSON_DEPTH} levels")
    return value


def quote_constants(raw: str) -> str:
    """JSON as it was sent, but for its bare NaN and infinity, which become W&B's strings."""
    if "NaN" not in raw and "Infinity" not in raw:
        return raw
    return _CONSTANT.sub(lambda one: one[0] if one[0][0] == '"' else f'"{one[0]}"', raw)


def _is_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(JSON_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level = inner
    return any(isinstance(one, (dict, list)) for one in level)


def dumps(value: object) -> str:
    """JSON that every client reads: never a bare NaN."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:  # a number beyond a double's range, read as infinity
        value = finite(value)
        text = _ENCODER.encode(value)
    return text if is_unicode(text) else _ASCII_ENCODER.encode(value)


def _refuse_node(value: object) -> object:
    """A node's field that is still to be asked, and pages of nodes, are nothing to be sent."""
    if callable(value) or isinstance(value, Iterable):
        raise Refused(400, "a field of the query has fields of its own: say which")
    raise TypeError(f"{type(value).__name__} is not JSON")


def is_unicode(text: str) -> bool:
    """Is the text free of lone surrogates, which nothing but JSON can carry?"""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(value: object) -> None:
    """Refuse with 400 a JSON value that holds a lone surrogate."""
    if isinstance(value, str):
        if not is_unicode(value):
            raise Refused(400, "the request holds text that is not Unicode: a lone surrogate")
    elif isinstance(value, dict):
        for key, one in value.items():
            check_text(key)
            check_text(one)
    elif isinstance(value, list):
        for one in value:
            check_text(one)


def _count_values(text: str) -> int:
    """About how many values a JSON text has."""
    count = sum(map(text.count, ",[{"))
    return count if count <= JSON_VALUES else sum(map(_STRING.sub("", text).count, ",[{"))


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= JSON_DIGITS else float(digits)


def _decoded(raw: bytes) -> str:
    return raw.decode(json.detect_encoding(raw), "surrogatepass")


def finite(value: object) -> object:
    """The same value with NaN and infinities as the strings that W&B uses for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return value


def number(value: object) -> float | None:
    """A logged value as a number, W&B's strings for NaN and infinity included; else none."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return None


def pick(values: Mapping[str, Any], key: str) -> object:
    """A value by its logged name: itself, or along the dots of nested objects."""
    if key in values:
        return values[key]
    here: object = values
    for part in key.split("."):
        if not isinstance(here, dict):
            return None
        here = here.get(part)
    return here


def global_id(kind: str, *parts: str) -> str:
    """An opaque ID as W&B's: base64 of its kind and names."""
    return base64.b64encode(":".join((kind, *parts)).encode()).decode()


def local_names(opaque: str, kind: str) -> list[str]:
    """The names in an ID that `global_id` made, or the text itself where it is a bare name."""
    try:
        parts = base64.b64decode(opaque, validate=True).decode().split(":")
    except ValueError:
        return [opaque]
    return parts[1:] if parts[0] == kind and len(parts) > 1 else [opaque]


def iso(moment: float | None) -> str | None:
    """Seconds since 1970 as W&B writes times."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
