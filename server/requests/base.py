"""What every request body has in common.

Names that nobody knows are ignored, and a field that is null or absent takes its default, as in
llama-server. A field of llama-server that is not there yet is refused by name (`not_yet`) as soon
as it asks for anything: ignoring it would change the answer in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import Self

from ..errors import not_supported
from ..state import Serving
from .mistakes import as_api_error

NULL = {"type": "null"}


class RequestBody(BaseModel):
    """A JSON object that a client sends. The docstring of a field is its documentation."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)

    section: ClassVar[str] = ""
    """Where the documentation shows the fields of this class, if not with each endpoint."""
    not_yet: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields that are refused, and the values that ask for nothing."""

    @classmethod
    def read(cls, body: Mapping[str, Any], server: Serving) -> Self:
        """The checked body. Validators find the server in their context. Raises `ApiError`."""
        try:
            return cls.model_validate(body, context=server)
        except ValidationError as error:
            raise as_api_error(error, body) from error

    def given(self, *names: str) -> bool:
        """Whether the client said any of these."""
        return not self.model_fields_set.isdisjoint(names)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for name in body.keys() & cls.not_yet.keys():
            if body[name] is not None and not _is_one_of(body[name], cls.not_yet[name]):
                raise not_supported(name, body[name])
        return {name: value for name, value in body.items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Pydantic's, with the other names of a field, nulls, and what is refused."""
        found = handler.resolve_ref_schema(handler(schema))
        fields = found.setdefault("properties", {})
        for name, section in cls._sections():
            fields[name]["x-section"] = section
        for name, field in cls.model_fields.items():
            if isinstance(field.validation_alias, AliasChoices):
                for other in field.validation_alias.choices[1:]:
                    fields[other] = {**fields[name], "x-alias-of": name}
        for name, passes in cls.not_yet.items():
            fields[name] = {"enum": list(passes), "x-section": "Refused"}
        for name in fields.keys() - set(found.get("required", ())):
            fields[name] = _or_null(fields[name])
        return found

    @classmethod
    def _sections(cls) -> Iterator[tuple[str, str]]:
        """Each field that is shown somewhere else, and where."""
        for part in cls.__mro__:
            if section := part.__dict__.get("section"):
                own = part.__annotations__.keys() & cls.model_fields.keys()
                yield from ((name, section) for name in own)


def _is_one_of(value: Any, passes: tuple[Any, ...]) -> bool:
    """As JSON has it: false is not 0."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in passes)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        kept = {key: value for key, value in schema.items() if key != "$ref"}
        return {"anyOf": [{"$ref": schema["$ref"]}, NULL], **kept}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], NULL]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema
