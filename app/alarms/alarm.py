"""An alarm, its text in the language of whoever reads it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, computed_field

from app.signals.reasons import Reason
from app.web.patterns import translate
from app.web.reasons import render
from app.web.texts import text


class Alarm(BaseModel):
    """A condition that a person should act on. `code` is stable; `text` is in the reader's language."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    code: str
    values: Mapping[str, str | Reason] = Field(default={}, exclude=True)  # of the text's placeholders

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def text(self) -> str:
        """The alarm in the language of the request."""
        values = {
            name: render(value) if isinstance(value, Reason) else translate(value)
            for name, value in self.values.items()
        }
        return text(f"alarm.{self.code}", **values)
