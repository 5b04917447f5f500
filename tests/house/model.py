"""The package from its source: modules, their names, the classes of fields."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Module:
    """The names of one file of the package."""

    name: str
    tree: ast.Module
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)  # also `Class.method`
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)  # name → dotted

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                self.imports |= {(one.asname or one.name): one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {
                    (one.asname or one.name): f"{node.module}.{one.name}" for one in node.names
                }
                self.imports |= names
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
                for part in node.body:
                    if isinstance(part, ast.FunctionDef):
                        self.functions[f"{node.name}.{part.name}"] = part


class House:
    """All modules of a package."""

    def __init__(self, root: Path, package: str) -> None:
        self.modules: dict[str, Module] = {}
        for file in sorted((root / package).rglob("*.py")):
            words = file.relative_to(root).with_suffix("").parts
            name = ".".join(words[:-1] if words[-1] == "__init__" else words)
            self.modules[name] = Module(name, ast.parse(file.read_text("utf-8")))

    def find(self, dotted: str) -> tuple[Module, str] | None:
        """The module that defines a dotted name, and the name in it."""
        for _ in range(5):  # names that packages import to export them
            place, _, name = dotted.rpartition(".")
            module = self.modules.get(place)
            if module is None:
                return None
            if name in module.functions or name in module.classes:
                return module, name
            if name not in module.imports:
                return None
            dotted = module.imports[name]
        return None

    def annotated(self, module: Module, annotation: ast.expr | None) -> str | None:
        """Our class in an annotation, alone or with None."""
        if annotation is None:
            return None
        text = ast.unparse(annotation).strip("'\"").partition(" |")[0]
        local = text in module.classes or text in module.functions
        dotted = f"{module.name}.{text}" if local else module.imports.get(text)
        found = self.find(dotted) if dotted else None
        return f"{found[0].name}.{found[1]}" if found and found[1] in found[0].classes else None

    def gives(self, module: Module, name: str) -> str | None:
        """The class of the result of calling a function or a class."""
        if name in module.classes:
            return f"{module.name}.{name}"
        return self.annotated(module, module.functions[name].returns)

    def method(self, kind: str, name: str) -> tuple[Module, str] | None:
        """A method of the class or of one of its bases."""
        found = self.find(kind)
        if found is None:
            return None
        module, owner = found
        if f"{owner}.{name}" in module.functions:
            return module, f"{owner}.{name}"
        bases = (self.annotated(module, base) for base in module.classes[owner].bases)
        return next((m for base in bases if base and (m := self.method(base, name))), None)

    def field(self, kind: str, name: str) -> str | None:
        """The class of a field or a property."""
        if found := self.method(kind, name):
            return self.annotated(found[0], found[0].functions[found[1]].returns)
        place = self.find(kind)
        if place is None:
            return None
        module, owner = place
        for node in module.classes[owner].body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return self.annotated(module, node.annotation)
        return self._set_in_init(module, owner, name)

    def _set_in_init(self, module: Module, owner: str, name: str) -> str | None:
        """The class of a field from `self.name = name` or `self.name = Class(…)`."""
        made = module.functions.get(f"{owner}.__init__")
        for node in ast.walk(made) if made else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                for one, value in _paired(target, node.value):
                    if made and ast.unparse(one) == f"self.{name}":
                        return self._made_of(module, made, value)
        return None

    def _made_of(self, module: Module, made: ast.FunctionDef, value: ast.expr) -> str | None:
        if isinstance(value, ast.Call):
            return self.annotated(module, value.func)
        for one in (*made.args.args, *made.args.kwonlyargs):
            if isinstance(value, ast.Name) and one.arg == value.id:
                return self.annotated(module, one.annotation)
        return None


def _paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """`a, b = c, d` as two assignments."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    else:
        yield target, value
