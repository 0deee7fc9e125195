"""Objects by name and by configuration: what ``loss="huber"`` and a saved model's JSON have in common."""

from __future__ import annotations

import inspect
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Configured:
    """An object whose constructor's arguments are kept as attributes of the same names."""

    def config(self) -> dict[str, Any]:
        """Constructor arguments, as JSON-able values."""
        parameters = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in parameters}

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v!r}" for k, v in Configured.config(self).items())
        return f"{type(self).__name__}({inner})"


class Registry(Generic[T]):
    """Classes by name.

    Parameters
    ----------
    kind : str
        What the classes are, for error messages.
    base : type
        What every object is an instance of, those of a user's own classes too.
    classes : dict
    """

    def __init__(self, kind: str, base: type, classes: dict[str, type[T]]) -> None:
        self.kind = kind
        self.base = base
        self.classes = classes

    def get(self, spec: Any) -> T:
        """The object for a name, a ``{"name": ..., **arguments}`` dict, or an object, which is returned as it is."""
        if isinstance(spec, str):
            spec = {"name": spec}
        if not isinstance(spec, dict):
            if isinstance(spec, type) or not isinstance(spec, self.base):
                expected = f"a name or an object of class {self.base.__name__}"
                raise TypeError(f"{self.kind}: expected {expected}, got {spec!r}")
            return spec
        arguments = dict(spec)
        name = arguments.pop("name", None)
        if name not in self.classes:
            raise ValueError(f"{self.kind}: expected one of {', '.join(self.classes)}, got {name!r}")
        return self.classes[name](**arguments)

    def describe(self, value: T) -> dict[str, Any]:
        """The ``{"name": ..., **arguments}`` dict of an object; `get` makes an equal object of it."""
        for name, cls in self.classes.items():
            if type(value) is cls:
                config = value.config()  # type: ignore[attr-defined]
                functions = [key for key, v in config.items() if callable(v)]
                if functions:
                    raise TypeError(f"{self.kind}: {cls.__name__} cannot be saved: its {functions[0]} is a function")
                return {"name": name, **config}
        raise TypeError(f"{self.kind}: {type(value).__name__} cannot be saved: it is not one of fastnn's own")
