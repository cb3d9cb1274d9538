"""Options that several commands have in common: written once, as the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, get_type_hints

import typer

_E = TypeVar("_E", bound=Enum)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are dataclasses are given as the options that their fields are."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        kind = parameter.annotation
        if not dataclasses.is_dataclass(kind):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(kind, type)  # noqa: S101 - an annotation is no object of a dataclass
        hints = get_type_hints(kind, include_extras=True)
        fields = dataclasses.fields(kind)
        groups[parameter.name] = kind, [field.name for field in fields]
        parameters += [_parameter(field, hints[field.name]) for field in fields]

    def given(**values: Any) -> None:
        for name, (kind, fields) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        command(**values)

    given.__name__, given.__doc__ = command.__name__, command.__doc__
    given.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(given)["__signature__"] = inspect.Signature(parameters)
    return given


def _parameter(field: dataclasses.Field[Any], annotation: object) -> inspect.Parameter:
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


def words_of(kind: type[Enum]) -> str:
    """Its values as they are typed: in-turn|all-at-once."""
    return "|".join(_typed(member) for member in kind)


def word(kind: type[_E]) -> Callable[[str], _E]:
    """Reads one of its values as it is typed, with hyphens or spaces."""
    by_word = {_typed(member): member for member in kind}

    def read(text: str) -> _E:
        found = by_word.get(text.strip().lower().replace(" ", "-"))
        if found is None:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(by_word)}")
        return found

    return read


def _typed(member: Enum) -> str:
    return str(member.value).replace(" ", "-")
