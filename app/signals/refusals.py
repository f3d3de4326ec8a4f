"""Refusals as codes: every one with its English text. Pure.

A refusal is a `Reason` (`app.signals.reasons`) with one of these codes. `refusal.<code>` is the key
of its text in the other languages.
"""

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A stored code with its English template, whose `{names}` are those of a reason's parameters.

    A template that is replaced stays as an earlier one: rows and exports of before have its text.
    """

    english: str
    earlier: tuple[str, ...]

    def __new__(cls, code: str, english: str, *earlier: str) -> Self:
        """Return the member; its value is the code alone."""
        member = str.__new__(cls, code)
        member._value_, member.english, member.earlier = code, english, earlier
        return member


class RefusalCode(Code):
    """Why something is refused, or a list, a file or a value cannot be used."""

    # where it happened
    AT = "at", "{place}: {reason}"
    LINE = "line", "line {line}: {reason}"
    # of a request
    NEEDS_TOKEN = (
        "needs_token",
        (
            "this needs ADMIN_TOKEN: sign in at /admin, or send the header 'Authorization: Bearer "
            "<ADMIN_TOKEN>'"
        ),
    )
    WRONG_TOKEN = "wrong_token", "wrong token: ADMIN_TOKEN is in .env on the host"
    NO_TOKEN_SET = (
        "no_token_set",
        "ADMIN_TOKEN is empty, so nobody can sign in: set it in .env and deploy again",
    )
    MAY_ONLY_READ = "may_only_read", "the token {name} may only read"
    FOREIGN = "foreign", "refused: the request comes from a page of another origin"
    NOT_JSON = "not_json", "is not valid JSON in UTF-8"
    # of what a person asked for
    NO_POSITION = "no_position", "there is no such position: GET /admin/positions lists the open ones"
    POSITION_CLOSED = "position_closed", "the position in {ticker} is closed already"
    ALREADY_OPEN = (
        "already_open",
        "a position in {ticker} is open already: close it or mark it closed before you record another one",
    )
    POSITION_CONFIRMED = (
        "position_confirmed",
        "the position in {ticker} is confirmed: mark it closed with a reason instead",
    )
    NOT_ADDED = (
        "not_added",
        (
            "no position in {ticker} is open, and this call cannot add one: sell a ticker with POST "
            "/admin/order/sell-individual"
        ),
    )
    COUNT_CHANGED = (
        "count_changed",
        "the count has changed from {confirmed} to {found}: check it and confirm again",
        "{confirmed} were confirmed and it would be {found}: look again, then confirm",
    )
    ENGINE_PAUSED = "engine_paused", "the engine is paused, so its list stays as it is: resume it first"
    NOT_IN_LIST = "not_in_list", "not in a fresh list of the active strategy"
    NOTHING_TO_APPROVE = (
        "nothing_to_approve",
        (
            "no rejected buy within the strategy's windows, or the ticker has a later sell, an open "
            "position or a pending order"
        ),
    )
    # of a strategy
    NO_STRATEGY = "no_strategy", "there is no strategy {name}; there are: {names}"
    STRATEGY_ACTIVE = "strategy_active", "{name} is the active strategy: activate another one first"
    NAME_DOTS = "name_dots", "must not be '.' or '..', nor have one between slashes: it means a folder"
    NAME_CHARACTERS = (
        "name_characters",
        "must not contain control characters, invisible ones or marks of text direction",
    )
    NAME_ALIKE = "name_alike", "looks like the name of another strategy, {name}: choose another one"
    NAMES_NOT_UNIQUE = "names_not_unique", "names must be unique", "each name stands once"
    STRATEGY_UNKNOWN = "strategy_unknown", "{name} is not one of the strategies: {names}"
    TOO_OFTEN = (
        "too_often",
        (
            "top_n {top_n} is {pages} pages every {seconds} s, and {most} requests a minute are allowed: "
            "set refresh_interval_sec to {needed} or more, or a smaller top_n"
        ),
    )
    DEPTH_TOO_OFTEN = (
        "depth_too_often",
        (
            "depth {depth} is {pages} pages every {seconds} s, and {most} requests a minute are allowed: "
            "set refresh_interval_sec to {needed} or more, or a smaller depth"
        ),
    )
    SOURCE_UNKNOWN = (
        "source_unknown",
        (
            "a strategy's url that begins with {scheme} cannot be read: use https://finviz.com/…, "
            "list:AAPL,NVDA or file:NAME.csv in config/finviz_config.json"
        ),
    )
    SOURCE_WITHOUT_SCHEME = (
        "source_without_scheme",
        "a strategy's url must have a scheme: use https://finviz.com/…, list:AAPL,NVDA or file:NAME.csv",
    )
    SOURCE_UNREADABLE = (
        "source_unreadable",
        "the strategy's url is not a valid URL",
        "the strategy's url cannot be read as one",
    )
    SOURCE_FOREIGN = (
        "source_foreign",
        (
            "must be an https:// URL on finviz.com, unless config/finviz_config.json has "
            '"allow_other_hosts": true'
        ),
        (
            "only https:// on finviz.com is asked, unless config/finviz_config.json has "
            '"allow_other_hosts": true'
        ),
    )
    SOURCE_FILE = (
        "source_file",
        "file: must be followed by the plain name of a .csv file in config/",
        "allowed is the plain name of a file in config/",
    )
    # of a source of alerts, and of a token
    SAME_SECRET = "access.same_secret", "must be unique: it is the same as {other}"
    LIKE_DEFAULT = (
        "access.like_default",
        "looks like {name}, the source of WEBHOOK_SECRET: choose another one",
    )
    DEFAULT_SECRET = (
        "access.default_secret",
        "must not be set: the secret of the source {name} is WEBHOOK_SECRET in .env",
    )
    SECRET_WHITESPACE = (
        "access.whitespace",
        "must not begin or end with whitespace: no header can carry it",
    )
    NETWORK = (
        "access.network",
        "must be an address such as 203.0.113.7, a network such as 203.0.113.0/24, or tradingview",
    )
    NETWORK_OR_ADDRESS = (
        "access.network_or_address",
        "is ambiguous: write {network} for the network or {address} for the address",
    )
    FIRST_OPERATOR = "access.first_operator", "{name} is the name of ADMIN_TOKEN: choose another one"
    SAME_TOKEN = (
        "access.same_token",
        "must be unique: ADMIN_TOKEN or another entry is the same token",
    )
    SHA256 = "access.sha256", "must be the SHA-256 of the token: 64 hexadecimal digits"
    SHA256_OF_NOTHING = (
        "access.sha256_of_nothing",
        "is the SHA-256 of an empty text: compute it from the token",
    )
    NAME_PLAIN = (
        "access.name_plain",
        "must have Latin letters, digits, spaces and . _ - @ + ' ( ) only",
    )
    NO_TOKEN = "access.no_token", "there is no token {name}; there are: {names}"
    NO_SOURCE = "access.no_source", "there is no source {name}; there are: {names}"
    DEFAULT_STAYS = (
        "access.default_stays",
        "{name} is the source of WEBHOOK_SECRET: remove its limits instead",
    )
    DEFAULT_ROTATION = (
        "access.default_rotation",
        "the secret of {name} is WEBHOOK_SECRET: replace it in .env",
    )
    ROTATION_OPEN = (
        "access.rotation_open",
        "{name} still has a previous secret: give all its alerts the current one, then empty previous_secret",
    )
    IGNORED_ENTRIES = (
        "access.ignored_entries",
        "sources: an entry is not valid and is ignored: correct it in config/webhook_config.json",
    )
    # of a list and its source
    NO_TICKER = "no_ticker", "line {line}, column {column} is not a ticker: use 1 to 20 of A-Z 0-9 . -"
    ENTRY_NO_TICKER = (
        "entry_no_ticker",
        "entry {number} of the list is not a ticker: use 1 to 20 of A-Z 0-9 . -",
    )
    TABLE_COLUMNS = (
        "table_columns",
        (
            "several columns could hold the tickers: write a first line that names the column Ticker, or "
            "one ticker a line"
        ),
    )
    TABLE_NUMBERS = (
        "table_numbers",
        (
            "the first column holds numbers or dates: write a first line that names the column Ticker, or"
            " one ticker a line"
        ),
    )
    LINE_NOT_CSV = "line_not_csv", "line {line} is not valid CSV"
    EMPTY_LIST = "empty_list", "it has no tickers", "no tickers in it"
    AUTH_IN_URL = (
        "auth_in_url",
        "the url must not contain auth=…: set FINVIZ_ELITE_AUTH in .env instead",
        "the url must not hold auth=…: set FINVIZ_ELITE_AUTH in .env, and take it out there",
    )
    AUTH_MISSING = "auth_missing", "FINVIZ_ELITE_AUTH is not set in .env, and Finviz's export needs it"
    EXPORT_NO_COLUMN = "export_no_column", "the export has no column Ticker: is FINVIZ_ELITE_AUTH right?"
    EXPORT_BROKEN = (
        "export_broken",
        "the export ends in the middle of a row",
        "the export breaks off in the middle of a row",
    )
    PAGE_REPEATS = "page_repeats", "the page r={first} repeats the pages before it"
    PAGE_NO_TICKERS = (
        "page_no_tickers",
        "no tickers on the page r={first}",
        "no tickers on the page r={first} ({title})",
    )
    PAGE_BLOCKED = "page_blocked", "the page r={first} has the words {phrase} instead of rows"
    SITE_BLOCKED = "site_blocked", "the site answered with the words {phrase}"
    PAGE_DEEP = "page_deep", "the page r={first} has more than {most} elements inside one another"
    READ_SLOWLY = "read_slowly", "reading it took more than {seconds} s"
    READ_ENDED = "read_ended", "the process that reads it ended: it may need too much memory"
    PAGE_SHORT = "page_short", "the page r={first} has {found} of {expected} rows"
    PROBATION = (
        "probation",
        (
            "on probation: {share} of the list has changed; it becomes current when {count} more "
            "refreshes agree"
        ),
        (
            "on probation: {share} of the list is not what it was; it is taken when {count} more "
            "refreshes agree"
        ),
    )
    REDIRECTS = "redirects", "more than {most} redirects"
    REDIRECT_TOKEN = "redirect_token", "a redirect would carry the token to another site: it is not followed"
    NET_NAME = "net_name", "its name cannot be resolved"
    NET_TLS = "net_tls", "no connection over TLS: is its certificate valid?"
    NET_NONE = "net_none", "no connection"
    NET_INCOMPLETE = (
        "net_incomplete",
        "the response is incomplete or cannot be decompressed",
        "the answer breaks off or cannot be unpacked",
    )
    NET_CLOSED = (
        "net_closed",
        "the connection was closed before the response",
        "the connection was closed before the answer",
    )
    NET_HTTP = "net_http", "the response is not valid HTTP", "the answer is not valid HTTP"
    BACKING_OFF = (
        "backing_off",
        "{reason}; next request in {seconds} s",
        "{reason}; it is left alone for {seconds} s",
    )
    LARGER = "larger", "larger than {most} MB"
    FILE_LARGER = "file_larger", "{place} is larger than {most} MB"
    FILE_UNREAD = "file_unread", "{place} cannot be read: {why}"
    FILE_NO_TEXT = "file_no_text", "it must be UTF-8 text"
    FILE_LINK = "file_link", "{place} must not be a link to another place or kind of file"
    FILE_REGULAR = "file_regular", "{place} must be a regular file"
    # of a file
    UNREAD = "unread", "cannot be read: {why}"
    NO_OBJECT_TEXT = (
        "no_object_text",
        "must be UTF-8 text with a JSON object",
        "is no UTF-8 text with a JSON object: {why}",
    )
    JSON_SYNTAX = (
        "json_syntax",
        "is not valid JSON: check quotes, commas and brackets",
        "is not valid JSON: {why}",
    )
    NUMBER = "number", "{number} is not a number that can be stored"
    FILE_WRONG = (
        "file_wrong",
        "{reason}; the file is not overwritten: correct it by hand first",
        "{reason}; mend the file by hand first, it is not overwritten",
    )
    NOT_WRITTEN = (
        "not_written",
        (
            "{file} cannot be written ({why}), and nothing was changed: free space, or make the folder "
            "writable for the application, and try again"
        ),
        (
            "{file} cannot be written ({why}), and nothing was changed: make room, or the folder writable"
            " for the application, and try again"
        ),
    )
    DUMP_NOT_WRITTEN = (
        "dump_not_written",
        (
            "{file} cannot be written ({why}), and nothing was deleted: free space in data/, or make the "
            "folder writable for the application, and try again"
        ),
        (
            "{file} cannot be written ({why}), and nothing was deleted: make room in data/, or the folder"
            " writable for the application, and try again"
        ),
    )
    DUMP_SHORT = "dump_short", "{file} holds {found} of {written} signals: nothing was deleted; try again"
    NO_SPACE = "no_space", "No space left on device"
    NOT_PERMITTED = "not_permitted", "Permission denied"
    READ_ONLY = "read_only", "Read-only file system"
    NO_FILE = "no_file", "No such file or directory"
    A_FOLDER = "a_folder", "Is a directory"
    NOT_A_FOLDER = "not_a_folder", "Not a directory"
    # of a configured value, or one in a request
    PAUSES_ELSEWHERE = (
        "pauses_elsewhere",
        "pauses are switched by POST /admin/{part}/pause and /admin/{same}/resume",
    )
    DESTINATION_NAME = (
        "destination.name",
        "must be 1 to 40 lower-case letters, digits, hyphens or underscores, with a letter or digit first",
    )
    DESTINATION_UNKNOWN = (
        "destination.unknown",
        "there is no destination {name}: the destinations are {names}",
    )
    DESTINATION_NAMED = (
        "destination.named",
        "orders and positions have the name {name}: add another destination instead of a new name",
    )
    DESTINATION_STAYS = (
        "destination.stays",
        "the destination {name} cannot be deleted: its keys are outside of the list",
    )
    DESTINATION_OPEN = (
        "destination.open",
        (
            "{name} has open positions and cannot be removed or become paper: "
            "close {tickers} there, or mark them closed, first"
        ),
    )
    DESTINATION_PENDING = (
        "destination.pending",
        (
            "{name} has unfinished orders and cannot be removed or become paper: "
            "try again once those of {tickers} have ended"
        ),
    )
    KEY_OF_DEFAULT = (
        "destination.key_of_default",
        "must not be in the entry default: {setting} outside of the list is its value",
    )
    NO_ENTRIES_TAKEN = (
        "destination.no_entries",
        "no destination takes these entries: correct the entry of {names} in the configuration first",
    )
    SAME_DESTINATION = (
        "destination.same_url",
        "must be unique: another destination has the same URL, which would execute each order twice",
    )
    GAP_TOO_LONG = (
        "destination.gap_too_long",
        "must be less than {seconds} s, the maximum age of a signal: an exit would expire within the gap",
    )
    DESTINATION_NO_URL = (
        "destination.no_url",
        "must be an http:// or https:// URL with a host",
        "allowed is an http:// or https:// URL with a host",
    )
    DESTINATION_INVISIBLE = "destination.invisible", "must not contain whitespace or control characters"
    DESTINATION_PORT = "destination.port", "its port must be a number from 1 to 65535"
    DESTINATION_ADDRESS = "destination.address", "its host is not a valid IP address"
    DESTINATION_HOST = (
        "destination.host",
        (
            "its host is not valid: at most 253 characters, and each part between dots must have 1 to 63 "
            "letters, digits, - or _"
        ),
    )
    DESTINATION_USER = (
        "destination.user",
        "its user name and password must be Latin-1 text, the user name without a colon",
    )
    MASK_OF_ANOTHER = "mask_of_another", "holds a mask ({mask}) of another URL: write the whole URL"
    MASK_OF_NONE = (
        "mask_of_none",
        "{mask} hides no known token: set FINVIZ_ELITE_AUTH in .env and omit auth=",
        "{mask} stands for no token: set FINVIZ_ELITE_AUTH in .env and leave auth= out",
    )
    FLAT_BESIDE_STRATEGIES = (
        "flat_beside_strategies",
        "is of a file with one strategy, and strategies is there, too: remove one of them",
    )
    NO_KNOWN_KEY = "no_known_key", "has no key that is read: {keys}"
    LIST_OF_OBJECTS = "list_of_objects", "must be a list of objects", "allowed is a list of objects"
    OBJECT = "object", "must be an object", "allowed is an object"
    MOMENT_YEARS = "moment_years", "must be between the years 1 and 9999 in UTC"
    TIME_ORDER = "time_order", "to must be later than from"
    ALARM_SUBJECT = "alarm_subject", "subject must be a ticker, and empty for orders_refused"
    VALUE_KIND = "value.kind", "must be {kind}, not {given}", "Expected {kind}, got {given}"
    VALUE_AT_LEAST = "value.at_least", "must be at least {low}", "Expected {kind} >= {low}"
    VALUE_AT_MOST = "value.at_most", "must be at most {high}", "Expected {kind} <= {high}"
    VALUE_ABOVE = "value.above", "must be more than {low}", "Expected {kind} > {low}"
    VALUE_EMPTY = "value.empty", "must not be empty"
    VALUE_LENGTH_AT_LEAST = "value.length_at_least", "must have at least {low} {parts}"
    VALUE_LENGTH_AT_MOST = "value.length_at_most", "must have at most {high} {parts}"
    VALUE_ENUM = "value.enum", "must be one of: {choices}"
    VALUE_LINE = "value.line", "must be one line without control characters"
    VALUE_REQUIRED = "value.required", "is required"
    VALUE_UNKNOWN = "value.unknown", "is not a known field"
    VALUE_WRONG = "value.wrong", "is not valid here"
    VALUE_BELOW = "value.below", "must be less than {high}"
    VALUE_ACTION = "value.action", "must be 1 to 40 characters a-z . -"
    VALUE_KIND_TEXT = "value.kind_text", "a text"
    VALUE_KIND_WHOLE = "value.kind_whole", "a whole number"
    VALUE_KIND_NUMBER = "value.kind_number", "a number"
    VALUE_KIND_SWITCH = "value.kind_switch", "true or false"
    VALUE_KIND_LIST = "value.kind_list", "a list"
    VALUE_KIND_OBJECT = "value.kind_object", "an object"
    VALUE_KIND_OTHER = "value.kind_other", "another kind of value"
    VALUE_PARTS_CHARACTERS = "value.parts_characters", "characters"
    VALUE_PARTS_ENTRIES = "value.parts_entries", "entries"
    NUL = "nul", "must not contain NUL"
    HALF_PAIR = "half_pair", "must not contain half of a surrogate pair: it is not text"
    # of an import or a clearance
    NO_EXPORT = (
        "no_export",
        "the first line has no column {names}: is this an export of signals?",
        "the first line names no column {names}: is this an export of signals?",
    )
    COLUMN_TWICE = "column_twice", "the first line names a column twice: is this an export of signals?"
    NO_CSV = (
        "no_csv",
        "the first line is not valid CSV: is this an export of signals?",
        "the first line is no CSV ({why}): is this an export of signals?",
    )
    FILE_TOO_LARGE = (
        "file_too_large",
        "the file must have at most {bytes} bytes: import it in parts",
        "at most {bytes} bytes are allowed: import the file in parts",
    )
    UNDELIVERED = "undelivered", "{count} signals are undelivered: wait until they have ended, then clear"
    CELLS = "cells", "has {found} cells, but the first line has {expected}"
    NO_TEXT = "no_text", "must be UTF-8 text without NUL"
    TYPE_MISSING = "type_missing", "is required, except for a rejected signal"
    FUTURE = "future", "must not be in the future"
    BASE64 = "base64", "must be base64 after {mark}"
    PRICE_SIZE = "price_size", "must be a number of a sensible size"
    UUID = "uuid", "must be a UUID"
    MOMENT = "moment", "must be a time with its offset from UTC, like {example}"
    STATUS = "status", "must be received, approved, forwarding, rejected, forwarded, failed or expired"
    TYPE = "type", "must be buy, sell, manual_sell, position_close or sell_all"
    WHOLE_NUMBER = "whole_number", "must be a whole number from {low} to {high}"
    EVENTS = "events", "must be a JSON list of events, as an export writes it"
    DELIVERIES = "deliveries", "must be a JSON list of attempts, as an export writes it"
    ORDERS = "orders", "must be a JSON list of orders, as an export writes it"
    ENTRY = "entry", "{reason} (entry {number}, {field})"
    ENTRY_WHOLE = "entry_whole", "{reason} (entry {number})"
    OUT_OF_RANGE = "out_of_range", "must be from {first} to {last}"
    LINE_LENGTH = "line_length", "a line must have at most {count} characters"
    ROW_NOT_CSV = (
        "row_not_csv",
        "is not valid CSV: a quote is not closed or is inside a cell, or a cell is too long",
    )
    NESTED = "nested", "nested too deeply"
    TICKER = (
        "ticker",
        "must be a ticker of 1 to 40 printable characters",
        "must be 1 to 40 printable characters",
    )
    NOT_STORABLE = "not_storable", "PostgreSQL cannot store this signal"
    # of a notification
    NOBODY_TO_NOTIFY = (
        "nobody_to_notify",
        "there is nobody to notify: set NOTIFY_URLS in .env and deploy again",
    )
    HOURS = "hours", "must be hours such as 09:30-16:00 America/New_York, and end after they begin"
    FLATTEN_MISSED = "flatten_missed", "it was due at {time} UTC, more than an hour ago"
    TIME_OF_DAY = "time_of_day", "must be a time such as 08:00, or 08:00 America/New_York"
    TARGET_NOT_KNOWN = "target_not_known", "the URL is not one that apprise knows"
    TARGET_NOT_ACCEPTING = "target_not_accepting", "the target did not accept it"
