"""What a process knows of the configuration, and what edited files and switched pauses make of it. Pure.

A pause is a person's decision: no file that is lost, wrong or put back from a copy ends one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from msgspec import structs

from app.config import files
from app.config.access import listed_digests
from app.config.checking import Document
from app.config.files import Content, Dates
from app.config.model import DECIDED, SWITCHED_AT, SYSTEM_FILE, WEBHOOK_FILE, Config
from app.config.switches import SWITCHES, switch_of, with_switches
from app.errors import ConfigFileError
from app.settings import Settings
from app.signals.reasons import Reason

# An editor changes a file's mode or name at once after it wrote it; `cp -p` and `tar` keep an older date.
_PUT_BACK_NANOSECONDS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class State:
    """What this process knows. `seen`: each file's content when it was last applied or refused.

    `turn` counts how often this process has locked the configuration: the state of a later turn is newer.
    """

    config: Config
    problems: Mapping[str, ConfigFileError] = field(default_factory=dict)
    seen: Mapping[str, Content] = field(default_factory=dict)
    revision: int | None = None
    turn: int = 0


def unwritten_switches(config: Config) -> Mapping[str, bool]:
    """Return the switches that override the system file, which could not be written since they were set."""
    return config.documents.get(DECIDED, {})


def with_files(
    state: State, contents: Mapping[str, Content], settings: Settings, dates: Dates | None
) -> State:
    """Return the state with the contents of changed files; the last good content of a wrong one stays.

    If a list of sources, tokens or destinations is wrong and is the current one, that is a problem; the rest
    counts.

    `dates` are those of the system file.
    """
    config, problems = state.config, dict(state.problems)
    for name, content in contents.items():
        if name in state.seen and state.seen[name] == content:
            continue
        problems.pop(name, None)
        try:
            document, decided = files.parse(name, content), unwritten_switches(config)
            if name == SYSTEM_FILE:
                decided = _still_decided(document, state)
                switches = _pauses_left_out(document, config) | _switched_since(document, config, dates)
                document = with_switches(document, {**switches, **decided})
            before = with_unwritten_switches(replace(state, config=config), decided).config
            config = files.adopt(name, document, before, settings, content)
            if fault := files.ignored_in(name, document, settings, content):
                problems[name] = fault
        except ConfigFileError as error:
            problems[name] = error
    return replace(state, config=config, problems=problems, seen=dict(contents))


def with_destinations_kept(before: State, after: State, refusal: Reason, settings: Settings) -> State:
    """Return the state after, with the destinations of before: its file ends one in use or makes it paper.

    Fails closed: the exits of an open position would reach no broker. The file counts as unread, so that
    it is applied once nothing is open or unfinished there.
    """
    problem = ConfigFileError(WEBHOOK_FILE, refusal, place="destinations")
    known = before.problems.get(WEBHOOK_FILE)
    if known is not None and known.reason == problem.reason:
        problem = known  # so that it is logged once
    document = before.config.documents.get(WEBHOOK_FILE, {})
    config = files.adopt(WEBHOOK_FILE, document, after.config, settings, is_change=False)
    seen = {name: content for name, content in after.seen.items() if name != WEBHOOK_FILE}
    return replace(after, config=config, problems={**after.problems, WEBHOOK_FILE: problem}, seen=seen)


def removed_tokens(before: State, after: State) -> set[str]:
    """Return the SHA-256 of current tokens that the changed system file does not list any more.

    Fails closed: they count although the file is wrong elsewhere, so that a token can always be removed.
    A file that is absent, is not JSON, or whose list is not one removes none: it may be a slip.
    """
    content = after.seen.get(SYSTEM_FILE)
    if not isinstance(content, bytes) or content == before.seen.get(SYSTEM_FILE):
        return set()
    try:
        listed = listed_digests(files.parse(SYSTEM_FILE, content).get("tokens"))
    except ConfigFileError:
        return set()
    return set() if listed is None else {token.sha256 for token in before.config.tokens} - listed


def _pauses_left_out(document: Document, config: Config) -> dict[str, bool]:
    """Return the current pauses that the document does not mention.

    Fails closed: only a person's `false` resumes. A file that is lost or replaced does not.
    """
    before = config.documents.get(SYSTEM_FILE, {})
    return {
        key: True for key in SWITCHES if switch_of(before, key) is True and switch_of(document, key) is None
    }


def _still_decided(document: Document, state: State) -> Mapping[str, bool]:
    """Return the decided switches that the changed system file does not overrule.

    A file that was right and is edited is newer than the switch that could not be written into it.
    """
    decided = unwritten_switches(state.config)
    if SYSTEM_FILE in state.problems or SYSTEM_FILE not in state.seen:
        return decided
    return {key: value for key, value in decided.items() if switch_of(document, key) is None}


def _switched_since(document: Document, config: Config, dates: Dates | None) -> dict[str, bool]:
    """Return the current pauses that differ in the document, which is older than the switch: a copy put back.

    A file written in place counts, also after the clock was put back.

    Fails closed: exits wait until a person ends the pause, whatever copy is put back.
    Fails open: a copy from before a resume stops no exit.
    """
    if dates is None or dates.placed - dates.written < _PUT_BACK_NANOSECONDS:
        return {}
    current, at = _paused(config), _switched_at(config)
    return {
        key: current[key]
        for key in SWITCHES
        if dates.written < at.get(key, 0) and switch_of(document, key) is (not current[key])
    }


def _paused(config: Config) -> dict[str, bool]:
    """Return the current switches."""
    document = config.documents.get(SYSTEM_FILE, {})
    return {key: switch_of(document, key) is True for key in SWITCHES}


def _switched_at(config: Config) -> Mapping[str, int]:
    """Return when each pause was last switched, by its key; what has another version's shape is omitted."""
    match config.documents.get(SWITCHED_AT):
        case dict(found):
            return {key: at for key, at in found.items() if isinstance(at, int)}
    return {}


def with_switch_times(before: State, state: State, now: int) -> State:
    """Return the state with the time `now` (ns since 1970) of the pauses that were switched since `before`.

    A pause without a time gets one: an older version or the restoring of a database stored it.
    """
    old, new, known = _paused(before.config), _paused(state.config), _switched_at(state.config)
    switched = {key for key in SWITCHES if old[key] != new[key] or (new[key] and key not in known)}
    if not switched:
        return state
    times = {**known, **dict.fromkeys(sorted(switched), now)}
    documents = {**state.config.documents, SWITCHED_AT: times}
    return replace(state, config=structs.replace(state.config, documents=documents))


def with_unwritten_switches(state: State, decided: Mapping[str, bool]) -> State:
    """Return the state with these switches overriding the system file, and no others."""
    if decided == unwritten_switches(state.config):
        return state
    documents = {name: document for name, document in state.config.documents.items() if name != DECIDED}
    if decided:
        documents[DECIDED] = decided
    return replace(state, config=structs.replace(state.config, documents=documents))


def switches_to_write(state: State) -> dict[str, bool]:
    """Return the current pauses and unwritten switches that the (readable) system file does not say."""
    written = files.parse(SYSTEM_FILE, state.seen[SYSTEM_FILE])
    current = {**_paused(state.config), **unwritten_switches(state.config)}
    return {key: value for key, value in current.items() if (switch_of(written, key) or False) != value}
