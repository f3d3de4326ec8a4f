"""Texts, templates, the address of the signal list, and how values are shown."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from starlette.datastructures import Headers

from app import web
from app.admin import rendering
from app.admin.filters import (
    STATUSES,
    Listing,
    api_query,
    chosen,
    cursor_of,
    period_of,
    signals_wanted,
    ticker_of,
    zone_of,
)
from app.admin.schemas import Attempt, Event, Signal, Story
from app.admin.views import VIEWS
from app.alarms.alarm import Alarm
from app.alarms.conditions import exit_alarms, list_alarms, shorten
from app.ops.repository import AtRisk
from app.screener.current import TopN
from app.signals.reasons import Reason, ReasonCode, remark_details
from app.signals.selection import SignalFilter
from app.web.locale import LANGUAGES, Preferences, current, preferences_of
from app.web.texts import FOR_SCRIPTS, catalogue
from scripts import vendor

ADMIN = Path(rendering.__file__).parent
ALARMS = ADMIN.parent / "alarms"
WEB = Path(web.__file__).parent
PAYLOAD = "<script>alert(1)</script>\"'&\u202e"


def story(**changes: object) -> Story:
    """Return a timeline in which every free text is hostile markup."""
    moment = datetime(2026, 11, 22, 14, 3, 22, tzinfo=UTC)
    values: dict[str, object] = {
        "id": UUID(int=1),
        "seq": 1,
        "status": "failed",
        "type": "buy",
        "source": PAYLOAD,
        "ticker": "NVDA",
        "intent": "open",
        "quantity": None,
        "quantity_unit": None,
        "price": None,
        "reason": PAYLOAD,
        "sender_signal_id": PAYLOAD,
        "received_at": moment,
        "status_at": moment,
        "expires_at": moment,
        "attempts": 1,
        "round": 1,
    }
    attempt = Attempt(
        round=1,
        number=1,
        destination=PAYLOAD,
        webhook_id="id",
        intent="open",
        started_at=moment,
        ended_at=moment + timedelta(milliseconds=12),
        outcome="refused",
        http_status=400,
        error=PAYLOAD,
        response=PAYLOAD,
        reference=PAYLOAD,
    )
    event = Event(at=moment, status="failed", reason=PAYLOAD, detail={PAYLOAD: PAYLOAD})
    return Story(
        signal=Signal.model_validate(values | changes), body=PAYLOAD, events=[event], attempts=[attempt]
    )


def test_free_text_of_senders_is_escaped() -> None:
    html = bytes(rendering.page("_story.html", story=story()).body).decode()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;") == 11


def test_a_signal_without_a_type_is_labelled() -> None:
    html = bytes(rendering.page("_story.html", story=story(type=None)).body).decode()
    assert catalogue()["type.none"] in html


def own_sources(*suffixes: str) -> str:
    """Return our source files with these suffixes below app/admin, app/alarms and app/web."""
    ours = (path for folder in (ADMIN, ALARMS, WEB) for path in folder.rglob("*") if path.suffix in suffixes)
    return "".join(path.read_text("utf-8") for path in ours if "vendor" not in path.parts)


def test_every_text_is_used_and_every_used_text_exists() -> None:
    """A key counts as used where it appears in quotes; of a composed key, the prefix appears in quotes."""
    drawn = own_sources(".py", ".html")
    asked = set(re.findall(r"\b(?:t|text)\(\s*[\"']([\w.-]+)[\"']\s*[,)]", drawn))
    quoted = set(re.findall(r"[\"']([\w.-]+)[\"']", drawn))
    begun = set(re.findall(r"[\"']([\w.-]+\.)[\"']", drawn)) | set(re.findall(r"f\"([\w.-]+\.)\{", drawn))
    begun |= {"language.", "theme.", "reason."}  # in the macro that draws both, and in reasons.py
    for key, rest in re.findall(r"\bword\(\s*[\"'`]([\w.-]+)(\$\{)?", own_sources(".js")):
        (begun if rest else asked).add(FOR_SCRIPTS + key)
    asked |= {f"{view.name}.title" for view in VIEWS}
    assert asked <= catalogue().keys()
    unused = catalogue().keys() - asked - quoted
    assert {key for key in unused if not key.startswith(tuple(begun))} == set()


def test_every_language_has_every_text() -> None:
    for language in LANGUAGES:
        assert catalogue(language).keys() == catalogue("en").keys(), language
        for key, words in catalogue(language).items():
            assert places(words) == places(catalogue("en")[key]), (language, key)


def places(words: str) -> set[str]:
    """Return the names of a text's placeholders."""
    return set(re.findall(r"\{(\w+)\}", words))


def test_a_view_has_its_template_and_its_own_texts() -> None:
    for view in VIEWS:
        assert (ADMIN / "templates" / view.template).is_file(), view.name
        for language in LANGUAGES:
            texts = json.loads((WEB / "texts" / language / f"{view.name}.json").read_text("utf-8"))
            assert f"{view.name}.title" in texts


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", "en"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("de, en;q=0.5, pt;q=0.7", "pt-BR"),
        ("fr", "en"),
        ("en-GB,pt", "en"),
        ("pt;q=0, en;q=0.1", "en"),
        ("pt;q=much, ;, en", "en"),
    ],
)
def test_accept_language_selects_the_language(asked: str, given: str) -> None:
    assert preferences_of(Headers({"accept-language": asked})).language == given


def test_a_chosen_language_overrides_accept_language() -> None:
    chosen = Headers({"accept-language": "pt", "cookie": "language=en; theme=dark"})
    assert preferences_of(chosen) == ("en", "dark")
    nonsense = Headers({"accept-language": "pt", "cookie": "language=xx; theme=pink"})
    assert preferences_of(nonsense) == ("pt-BR", "auto")


def test_templates_have_nothing_inline_that_the_csp_blocks() -> None:
    for path in (ADMIN / "templates").rglob("*.html"):
        html = path.read_text("utf-8")
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|https?://", html), path.name
        assert not re.search(r"<script(?![^>]*\b(?:src=|type=.application/json))", html), path.name


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, rendering.NOTHING),
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (200_000, "2 d"),
    ],
)
def test_ages_are_shown_in_readable_units(seconds: float | None, shown: str) -> None:
    assert rendering.age(seconds) == shown


def test_facts_are_shown_unchanged_and_unknown_ones_are_omitted() -> None:
    assert rendering.facts(
        {"rank": 2, "list_age": 4.5, "note": "as text", "missing": None, "open": False}
    ) == ("rank: 2 · list age: 4.5 · note: as text · open: no")


def test_remarks_and_replays_are_shown_in_the_reader_s_language() -> None:
    remarks = [Reason(ReasonCode.REMARK_PRICE, word="restored"), Reason(ReasonCode.REMARK_NO_SHORT)]
    detail = {**remark_details(remarks), "round": 2}
    of_before = {"remarks": [str(remark) for remark in remarks], "round": 2}
    token = current.set(Preferences(language="pt-BR"))
    try:
        shown = (
            "observações: price 'restored' não é um número: não foi usado; "
            "fecha a posição comprada; nenhuma venda a descoberto é aberta · reenvio: 1"
        )
        assert rendering.facts(detail) == shown
        assert rendering.facts(of_before) == shown
    finally:
        current.reset(token)
    assert rendering.facts(detail) == f"remarks: {remarks[0]}; {remarks[1]} · replay: 1"


def test_an_intent_is_shown_in_the_reader_s_words() -> None:
    assert rendering.facts({"intent": "close"}) == "order: close the position"
    assert rendering.facts({"intent": "something new"}) == "order: something new"
    token = current.set(Preferences(language="pt-BR"))
    try:
        assert rendering.facts({"intent": "close"}) == "ordem: zerar a posição"
    finally:
        current.reset(token)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "+0 ms"), (0.0254, "+25 ms"), (9.5, "+9500 ms"), (10, "+10 s"), (3700, "+1 h")]
)
def test_how_long_after_its_arrival_something_happened(seconds: float, shown: str) -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    assert rendering.after(start + timedelta(seconds=seconds), start) == shown


def test_invalid_filters_in_an_address_are_ignored() -> None:
    assert chosen({"status": "nonsense"}, "status", STATUSES) is None
    assert chosen({"status": "failed"}, "status", STATUSES) == "failed"
    assert [ticker_of({"ticker": typed}) for typed in (" nv\0da ", "", " ")] == ["NVDA", None, None]
    assert [cursor_of({"cursor": typed}) for typed in ("-1", "٣", "", "7")] == [None, None, None, 7]
    assert cursor_of({"cursor": "9" * 19}) == 2**63 - 1


def test_the_list_has_one_address_per_page() -> None:
    wanted = Listing("/admin/page/signals", {"status": "failed", "ticker": "BRK.B"}, 7)
    assert wanted.at(5) == "/admin/page/signals?status=failed&ticker=BRK.B&cursor=5"
    assert wanted.at(None) == "/admin/page/signals?status=failed&ticker=BRK.B"
    assert wanted.narrows
    everything = Listing("/admin/page/signals", {"status": None}, None)
    assert (everything.at(None), everything.narrows) == ("/admin/page/signals", False)


def test_the_most_severe_alarm_comes_first() -> None:
    now = datetime.now(UTC)
    at_risk = [
        AtRisk(code, ticker, 1, now, now, None)
        for ticker in ("B", "A")
        for code in ("sells_late", "sells_failed")
    ]
    assert [(alarm.code, alarm.subject) for alarm in exit_alarms(at_risk)] == [
        ("sells_failed", "B"),
        ("sells_failed", "A"),
        ("sells_late", "B"),
        ("sells_late", "A"),
    ]


def test_more_than_five_alarms_of_a_code_are_one_with_the_newest_twenty() -> None:
    now = datetime.now(UTC)
    at_risk = [
        AtRisk("sells_failed", f"T{number}", 1, now + timedelta(seconds=number), now, None)
        for number in range(50)
    ]
    found = exit_alarms(at_risk)
    assert [alarm.subject for alarm in found] == [f"T{number}" for number in range(50)]
    paused = Alarm(code="delivery_paused")
    all_of_them, last = shorten([*found, paused])
    assert [alarm.subject for alarm in all_of_them.members] == [f"T{number}" for number in range(30, 50)]
    assert (all_of_them.code, all_of_them.omitted, all_of_them.settle_until) == ("sells_failed", 50, None)
    assert (all_of_them.since, all_of_them.severity, all_of_them.action) == (now, "critical", "")
    assert all_of_them.text.startswith("Exits of 50 tickers failed.")
    assert last is paused
    assert shorten(found[:5]) == found[:5]
    (six,) = shorten(found[:6])
    assert (six.omitted, six.members) == (6, found[:6])
    (unnamed,) = shorten([Alarm(code="config_wrong", subject=str(number)) for number in range(6)])
    assert unnamed.text == "Alarms of one kind: 6."


def test_alarms_about_the_list() -> None:
    fresh = TopN(last_update=datetime.now(UTC), fresh=True)
    assert list_alarms(fresh) == []
    assert [alarm.code for alarm in list_alarms(fresh.model_copy(update={"fresh": False}))] == ["top_n_stale"]
    assert [alarm.code for alarm in list_alarms(TopN())] == ["top_n_missing"]


def test_vendored_files_are_the_ones_recorded(tmp_path: Path) -> None:
    assert vendor.differences() == []
    (tmp_path / "vendored.json").write_text(
        json.dumps([{"sha256": {"kept.js": "0" * 64, "gone.js": "0" * 64}}]), "utf-8"
    )
    (tmp_path / "kept.js").write_text("changed", "utf-8")
    (tmp_path / "stray.js").write_text("", "utf-8")
    assert vendor.differences(tmp_path) == [
        "gone.js: missing",
        "stray.js: not in vendored.json",
        "kept.js: content differs from vendored.json",
    ]


def test_every_icon_is_a_cell_of_the_sprite() -> None:
    styles = own_sources(".css")
    named = re.findall(r"--icon-(\w+): (\d+);", styles)
    cells = (ADMIN / "static" / "page" / "icons.svg").read_text("utf-8").count("<g")
    assert [int(number) for _, number in named] == list(range(cells))
    drawn = set(re.findall(r"var\(--icon-(\w+)\)", styles))
    assert drawn == {name for name, _ in named}
    assert set(re.findall(r"\bicon\(\"(\w+)\"\)", own_sources(".html"))) <= drawn
    shown = re.findall(r"content: \"([^\"]*)\"", styles)
    assert all(each.isascii() or each == "· " for each in shown)


def test_every_request_of_the_page_handles_401_in_the_same_way() -> None:
    scripts = (ADMIN / "static" / "page").rglob("*.js")
    asking = {path.name for path in scripts if re.search(r"\bfetch\(", path.read_text("utf-8"))}
    assert asking == {"session.js"}


NOW = datetime(2026, 11, 29, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "zone", "start", "end"),
    [
        ("1h", "UTC", "2026-11-29T00:30", None),
        ("24h", "America/New_York", "2026-11-28T01:30", None),
        ("7d", "UTC", "2026-11-22T01:30", None),
        ("today", "UTC", "2026-11-29T00:00", None),
        ("today", "America/Sao_Paulo", "2026-11-28T03:00", None),
        ("yesterday", "UTC", "2026-11-28T00:00", "2026-11-29T00:00"),
        ("yesterday", "America/Sao_Paulo", "2026-11-27T03:00", "2026-11-28T03:00"),
        ("yesterday", "no/zone", "2026-11-28T00:00", "2026-11-29T00:00"),
        ("yesterday", "../../etc/passwd", "2026-11-28T00:00", "2026-11-29T00:00"),
    ],
)
def test_a_period_is_of_the_reader_s_days(period: str, zone: str, start: str, end: str | None) -> None:
    wanted, given = signals_wanted({"period": period, "zone": zone}, STATUSES, NOW)
    found = [each and f"{each:%Y-%m-%dT%H:%M}" for each in (wanted.start, wanted.end)]
    assert found == [start, end]
    assert (given["period"], given["from"], given["to"]) == (period, None, None)


def test_a_day_on_which_the_clocks_change_is_whole() -> None:
    after_change = datetime(2026, 11, 2, 12, tzinfo=UTC)
    found = period_of("yesterday", zone_of({"zone": "America/New_York"}), after_change)
    assert [each and f"{each:%d %H:%M}" for each in found] == ["01 04:00", "02 05:00"]


def test_a_filter_typed_by_hand_is_forgiven() -> None:
    typed = {"q": " \0 ", "period": "ever", "from": "x", "to": "2026-11-22", "status": "no", "side": "up"}
    wanted, given = signals_wanted(typed, STATUSES, NOW)
    assert wanted == SignalFilter()
    assert not any(given.values())
    exact = {"from": "2026-11-22T00:00:00Z", "side": "sell", "outcome": "unknown", "q": "NVDA"}
    wanted, given = signals_wanted(exact, STATUSES, NOW)
    assert api_query(wanted) == exact
    assert {name: value for name, value in given.items() if value} == exact
