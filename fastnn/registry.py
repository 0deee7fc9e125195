"""Objects by name and by configuration: what ``loss="huber"`` and a saved model's JSON have in common."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


#: How often arguments of any objects have been set: while it stays the same, nobody's have changed.
changes = 0


class Configured:
    """An object whose constructor's arguments are kept as attributes of the same names.

    Setting one later counts as a change, after which programs are recorded anew; what a property sets does not, since
    programs read it from a slot.
    """

    _version = 0

    def __setattr__(self, name: str, value: Any) -> None:
        global changes
        object.__setattr__(self, name, value)
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            changes += 1
            object.__setattr__(self, "_version", self._version + 1)

    def versions(self) -> Iterator[int]:
        """How often arguments have been set, of this object and of those among its attributes."""
        yield self._version
        for value in vars(self).values():
            if isinstance(value, Configured):
                yield from value.versions()

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
    of_function : type, optional
        The class of objects made of plain functions, where those may be given too.
    """

    def __init__(
        self, kind: str, base: type, classes: dict[str, type[T]], of_function: type[T] | None = None
    ) -> None:
        self.kind = kind
        self.base = base
        self.classes = classes
        self.of_function = of_function

    def get(self, spec: Any) -> T:
        """The object for a name, a ``{"name": ..., **arguments}`` dict, or an object, which is returned as it is.

        A plain function gives an object of the registry's class for those, if it has one.
        """
        if isinstance(spec, str):
            spec = {"name": spec}
        if not isinstance(spec, dict):
            if self.of_function is not None and callable(spec) and not isinstance(spec, (type, self.base)):
                return self.of_function(spec)
            if isinstance(spec, type) or not isinstance(spec, self.base):
                names = "a name, a function" if self.of_function is not None else "a name"
                expected = f"{names} or an object of class {self.base.__name__}"
                raise TypeError(f"{self.kind}: expected {expected}, got {spec!r}")
            return spec
        arguments = dict(spec)
        name = arguments.pop("name", None)
        if name not in self.classes:
            raise ValueError(f"{self.kind}: expected one of {', '.join(self.classes)}, got {name!r}")
        return self.classes[name](**arguments)

    def describe(self, value: T) -> dict[str, Any]:
        """The ``{"name": ..., **arguments}`` dict of an object; `get` makes an equal object of it."""
        if self.of_function is not None and type(value) is self.of_function:
            raise TypeError(f"{self.kind}: {type(value).__name__} cannot be saved: it is made of a function")
        for name, cls in self.classes.items():
            if type(value) is cls:
                config = value.config()  # type: ignore[attr-defined]
                functions = [key for key, v in config.items() if callable(v)]
                if functions:
                    raise TypeError(f"{self.kind}: {cls.__name__} cannot be saved: its {functions[0]} is a function")
                return {"name": name, **config}
        raise TypeError(f"{self.kind}: {type(value).__name__} cannot be saved: it is not one of fastnn's own")
