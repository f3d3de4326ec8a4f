"""Read what an alert asks for from its words, sentiment and quantity. Pure.

Decision, position book and outgoing request use the same reading. It reads the alert alone;
`app.signals.book` then resolves it on the position.
"""

from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from app.signals.fields import Fields, read_number, read_text, shown
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import SignalType


class Intent(StrEnum):
    """What an alert asks for, and from the decision on what its order does."""

    OPEN = "open"
    ADD = "add"
    CLOSE = "close"
    REDUCE = "reduce"
    REDUCE_OR_CLOSE = "reduce_or_close"  # it has a quantity, and does not say whether that is all
    ADJUST = "adjust"  # changes orders at the destination; the position stays as it is


class Sentiment(StrEnum):
    """The position that the sender wants after the order."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


class Unit(StrEnum):
    """What a quantity counts."""

    SHARES = "shares"
    PERCENT = "percent"  # of the position: 50 is half of it
    OTHER = "other"  # dollars, percent of equity: how many shares that is, the destination decides


class Quantity(NamedTuple):
    """How much to buy or sell. `amount` None: unreadable."""

    amount: Decimal | None
    unit: Unit = Unit.SHARES

    @property
    def is_positive(self) -> bool:
        """Whether something can be bought or sold by it."""
        return self.amount is not None and self.amount > 0

    @property
    def shares(self) -> Decimal | None:
        """The number of shares; None if that is unknown."""
        return self.amount if self.is_positive and self.unit is Unit.SHARES else None

    @property
    def percent(self) -> Decimal | None:
        """The percentage of the position; None if it is not given as one."""
        return self.amount if self.is_positive and self.unit is Unit.PERCENT else None


class Reading(NamedTuple):
    """What an alert asks for, or None with the reason why it cannot be followed.

    `word` is the one that decided, in lower case without separators. `remarks` say what was not used, or
    was read otherwise than the sender may expect. `may_be_exit`: it is rejected, and what cannot be read may
    have been an exit. `sentiment` is the position after the order. `quantity` is the sender's, and
    None for a `CLOSE`.
    """

    intent: Intent | None
    reason: Reason | None = None
    word: str = ""
    remarks: tuple[Reason, ...] = ()
    may_be_exit: bool = False
    sentiment: Sentiment | None = None
    quantity: Quantity | None = None

    @property
    def stored_intent(self) -> str | None:
        """The value of column `signals.intent`."""
        return UNREAD if self.may_be_exit else self.intent

    @property
    def type(self) -> SignalType | None:
        """The signal's type; None if the alert is rejected."""
        if self.intent is None:
            return None
        return SignalType.BUY if self.intent in ENTRIES else SignalType.SELL


UNREAD = "unread"
MAY_COVER = Reason(ReasonCode.REMARK_MAY_COVER)
ENTRIES = (Intent.OPEN, Intent.ADD)  # a set would hash the intent by a function in Python
_ENTRY_WORDS = frozenset({"buy", "long", "enter", "enterlong", "buytoopen", "add"})
_EXIT_WORDS = frozenset({"sell", "exit", "close", "flat", "flatten", "exitlong", "closelong", "selltoclose"})
_REVERSE = "reverse"
_ADJUST_WORDS = frozenset({"cancel", "breakeven"})
_WORDS = _ENTRY_WORDS | _EXIT_WORDS | _ADJUST_WORDS | {_REVERSE}
_SHORT_WORDS = frozenset({"short", "sellshort", "entershort", "cover", "buytocover", "exitshort"})

SENTIMENTS = {  # by the words that the bridge documents
    "long": Sentiment.LONG,
    "bullish": Sentiment.LONG,
    "short": Sentiment.SHORT,
    "bearish": Sentiment.SHORT,
    "flat": Sentiment.FLAT,
}
_UNITS = {"": Unit.SHARES, "fixedquantity": Unit.SHARES, "percentofposition": Unit.PERCENT}  # by quantityType

_DECIDING = (
    "action",
    "side",
    "sentiment",
    "market_position",
    "prev_market_position",
    "quantity",
    "quantityType",
)
_CACHED_BYTES = 200  # of these values; longer ones are rare, and would fill the memory


def read(fields: Fields) -> Reading:
    """Read an alert's fields: `action` (else `side`), then `sentiment` or `market_position`, then `quantity`.

    Words count in any case, with or without whitespace, `_` and `-`.
    """
    deciding = tuple(map(fields.get, _DECIDING))
    is_short = sum(map(len, filter(None, deciding))) <= _CACHED_BYTES
    return _read_cached(deciding) if is_short else _read(deciding)


def _read(deciding: tuple[bytes | None, ...]) -> Reading:
    fields = {name: value for name, value in zip(_DECIDING, deciding, strict=True) if value is not None}
    word, reason = _read_word(fields)
    if reason:
        return Reading(None, reason, word, may_be_exit=word not in _SHORT_WORDS)
    if word in _ADJUST_WORDS:
        return Reading(Intent.ADJUST, word=word)
    return _read_entry(word, fields) if word in _ENTRY_WORDS else _read_exit(word, fields)


# alerts repeat their words, and each is read at intake, decision and delivery
_read_cached = lru_cache(maxsize=1024)(_read)


def read_sentiment(fields: Fields, field: str) -> Sentiment | None:
    """Return the position that a field names; None if it names none."""
    return SENTIMENTS.get(_fold(read_text(fields.get(field))))


def read_quantity(fields: Fields) -> Quantity | None:
    """Return the quantity, None without one. `"50%"` is 50 percent of the position, whatever its type."""
    text = read_text(fields.get("quantity"))
    if not text:
        return None
    if text.endswith("%"):
        return Quantity(read_number(text[:-1].rstrip()), Unit.PERCENT)
    return Quantity(read_number(text), _UNITS.get(_fold(read_text(fields.get("quantityType"))), Unit.OTHER))


def _read_word(fields: Fields) -> tuple[str, Reason | None]:
    """Return the word that decides, and why it cannot be followed, None if it can.

    `side` counts only where `action` is empty or missing. `side: long` with a sell closes the long position,
    so it is valid. `action: buy` with `side: sell` is a contradiction.
    """
    action, side = read_text(fields.get("action")), read_text(fields.get("side"))
    action_word, side_word = _fold(action), _fold(side)
    for field, text, word in (("action", action, action_word), ("side", side, side_word)):
        if word in _SHORT_WORDS:
            return word, Reason(ReasonCode.SHORT_SELLING, field=field, word=shown(text).lower())
    field, text, word = ("action", action, action_word) if action_word else ("side", side, side_word)
    if not word:
        return word, Reason(ReasonCode.NO_ORDER)
    if word not in _WORDS:
        return word, Reason(ReasonCode.UNKNOWN_WORD, field=field, word=shown(text).lower())
    if word in _ENTRY_WORDS and word == action_word and side_word in _EXIT_WORDS:
        words = {"action": shown(action).lower(), "side": shown(side).lower()}
        return word, Reason(ReasonCode.CONTRADICTION, **words)
    return word, None


def _read_entry(word: str, fields: Fields) -> Reading:
    sentiment, remarks = _position_after(fields)
    if sentiment in {Sentiment.FLAT, Sentiment.SHORT}:
        return Reading(None, Reason(ReasonCode.COVERS_SHORT), word)
    if read_sentiment(fields, "prev_market_position") is Sentiment.SHORT:
        remarks += (MAY_COVER,)
    intent = Intent.ADD if word == "add" else Intent.OPEN
    return Reading(intent, None, word, remarks, sentiment=sentiment, quantity=read_quantity(fields))


def _read_exit(word: str, fields: Fields) -> Reading:
    sentiment, remarks = _position_after(fields)
    if word == _REVERSE or sentiment is Sentiment.SHORT:
        remarks += (Reason(ReasonCode.REMARK_NO_SHORT),)
        return Reading(Intent.CLOSE, None, word, remarks, sentiment=Sentiment.SHORT)
    quantity = None if sentiment is Sentiment.FLAT else read_quantity(fields)
    if quantity is None:
        if sentiment is Sentiment.LONG:
            remarks += (Reason(ReasonCode.REMARK_NO_QUANTITY),)
        return Reading(Intent.CLOSE, None, word, remarks, sentiment=sentiment)
    if quantity.is_positive:
        return _read_partial_exit(word, quantity, sentiment, remarks)
    text = shown(read_text(fields.get("quantity")))
    if sentiment is Sentiment.LONG:
        return Reading(None, Reason(ReasonCode.QUANTITY_UNUSABLE, word=text), word, may_be_exit=True)
    remarks += (Reason(ReasonCode.REMARK_QUANTITY, word=text),)
    return Reading(Intent.CLOSE, None, word, remarks)


def _read_partial_exit(
    word: str, quantity: Quantity, sentiment: Sentiment | None, remarks: tuple[Reason, ...]
) -> Reading:
    if sentiment is Sentiment.LONG:
        intent = Intent.REDUCE
    elif quantity.percent is None:
        intent = Intent.REDUCE_OR_CLOSE
    elif quantity.percent < 100:
        intent = Intent.REDUCE
    else:
        return Reading(Intent.CLOSE, None, word, remarks)
    return Reading(intent, None, word, remarks, sentiment=sentiment, quantity=quantity)


def _position_after(fields: Fields) -> tuple[Sentiment | None, tuple[Reason, ...]]:
    """Return the position after the order by the first field that can be read, and remarks on the others."""
    remarks = tuple[Reason, ...]()
    for field in ("sentiment", "market_position"):
        if found := read_sentiment(fields, field):
            return found, remarks
        if text := read_text(fields.get(field)):
            remarks += (Reason(ReasonCode.REMARK_SENTIMENT, field=field, word=shown(text)),)
    return None, remarks


def _fold(text: str) -> str:
    """Return a word in lower case, without whitespace, `_` and `-`."""
    return "".join(text.split()).translate(_SEPARATORS).lower() if text else ""


_SEPARATORS = str.maketrans("", "", "_-")
