"""Each value that msgspec refuses is reported with its path and a message of ours; no other is."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.config.checking import fault_in
from app.config.model import Strategy, SystemConfig, WebhookConfig, merge
from app.settings import Settings
from app.signals.refusals import RefusalCode

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = merge({}, Settings(database_url="postgresql://localhost/x", webhook_secret="s", admin_token="t"))
_SECTIONS: dict[type[msgspec.Struct], msgspec.Struct] = {
    Strategy: _CONFIG.finviz.active_strategy,
    WebhookConfig: _CONFIG.webhook,
    SystemConfig: _CONFIG.system,
}
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=120)
    | st.sampled_from(["reject", "08:00", 10**400, "x" * 4001]),
    lambda inner: st.lists(inner, max_size=60) | st.dictionaries(st.sampled_from(["buy", "sell"]), inner),
    max_leaves=60,
)


def _places(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from _places(value, (*path, name))


@given(st.data(), st.sampled_from(list(_SECTIONS)), _VALUES)
def test_every_value_that_msgspec_refuses_is_reported(
    data: st.DataObject, section: type[msgspec.Struct], value: object
) -> None:
    values = deepcopy(msgspec.to_builtins(_SECTIONS[section]))
    place = data.draw(st.sampled_from(list(_places(values))))
    holder = values
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    found, fault = fault_in(values, section)
    try:
        msgspec.convert(values, section)
    except msgspec.ValidationError:
        assert fault.code is not RefusalCode.VALUE_WRONG
        assert found.startswith(".".join(place))
    else:
        assert (found, fault.code) == ("", RefusalCode.VALUE_WRONG)


def test_the_place_of_a_value_in_a_list() -> None:
    values = msgspec.to_builtins(_CONFIG.webhook) | {"retry_seconds": [1, "x"]}
    place, fault = fault_in(values, WebhookConfig)
    assert (place, str(fault)) == ("retry_seconds[1]", "must be a number, not a text")
