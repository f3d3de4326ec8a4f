"""Descriptions of configured values in `/openapi.json`, made from the types that check them. Pure."""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, field_validator
from pydantic_core import CoreSchema

from app.config.checking import check_storable

_LIMITS_OF_A_TEXT = ("minLength", "maxLength", "pattern")


class SectionValues(BaseModel):
    """The values of a section of the configuration.

    In a request each may be left out or null, except those in `needed`. The section's type checks the values
    after the merge with .env and the defaults. A response has all. Both have the section's limits.
    """

    model_config = ConfigDict(extra="forbid")

    section: ClassVar[type[Struct]]
    masked: ClassVar[frozenset[str]] = frozenset()  # in answers, limits of the secret text do not hold
    may_be_empty: ClassVar[frozenset[str]] = frozenset()  # sent, an empty text has a meaning of its own
    needed: ClassVar[frozenset[str]] = frozenset()  # sent, neither left out nor null

    @field_validator("*")
    @classmethod
    def _check_text(cls, value: object) -> object:
        """Refuse half of a surrogate pair here: no file can be written with it. The rest is the section's."""
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and "\0" not in text:
                check_storable(text)
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the model's schema with the limits of the section's type."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        # Sent and answered values would share the title, by which generators name their classes.
        del schema["title"]
        is_answer = handler.mode == "serialization"
        limits = _limits(cls.section)
        for name, described in schema["properties"].items():
            # a nested section is a model of its own, with limits of its own
            value = limits.get(name) or next(each for each in described["anyOf"] if "$ref" in each)
            if is_answer and name in cls.masked:
                _drop(value, *_LIMITS_OF_A_TEXT)
            elif not is_answer and name in cls.may_be_empty:
                _drop(value, "minLength")
            is_nullable = not (is_answer or name in cls.needed)
            described.pop("anyOf", None)
            described.update(_nullable(value) if is_nullable else value)
        if required := list(schema["properties"]) if is_answer else sorted(cls.needed):
            schema["required"] = required
        return reference


def _limits(section: type[Struct]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each value of the section, without nested sections."""
    schema = msgspec.json.schema(section)["$defs"][section.__name__]
    return {name: _portable(value) for name, value in schema["properties"].items() if "$ref" not in value}


def _portable(value: dict[str, Any]) -> dict[str, Any]:
    r"""Return the schema with `$` for `\Z`, which expressions of JSON Schema do not have."""
    for each in (value, value.get("items", {}), *value.get("anyOf", ())):
        if "pattern" in each:
            each["pattern"] = each["pattern"].replace(r"\Z", "$")
    return value


def _drop(value: dict[str, Any], *keywords: str) -> None:
    for each in (value, *value.get("anyOf", ())):
        for keyword in keywords:
            each.pop(keyword, None)


def _nullable(value: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in value:  # a text or null
        return value
    return {"anyOf": [value, {"type": "null"}]}
