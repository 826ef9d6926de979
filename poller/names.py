"""Device names that are made of what others call their devices.

A name stands in topics, labels and Home Assistant's ids, so that it has only
small letters, digits, '_' and '-'. It depends on the text alone, never on which of two
devices came first: after a restart each has its own again.
"""

import hashlib
import re
import unicodedata

from readings.reading import is_device_name

LONGEST = 64
"""A text of at most so many characters may be a name as it is; longer ones are cut."""

_KEPT = 40
_DIGITS = 6
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "o", "ł": "l"})


def make_device_name(text: str) -> str:
    """A device's name for what somebody else calls it.

    A text that may be a name is its own. Of any other the readable part is
    kept, with some digits of its hash behind it: "Büro" and "buero" are two devices.

    >>> make_device_name("temp_indoor"), make_device_name("Büro Süd/2")
    ('temp_indoor', 'buero_sued_2-9fcc31')
    """
    if is_device_name(text) and len(text) <= LONGEST:
        return text
    # Composed and decomposed accents are one text to people, and to whoever typed it twice.
    composed = unicodedata.normalize("NFC", text)
    spelled = unicodedata.normalize("NFKD", composed.lower().translate(_SPELLED))
    letters = "".join(char for char in spelled if not unicodedata.combining(char))
    readable = re.sub(r"[^a-z0-9-]+", "_", letters)[:_KEPT].strip("_-")
    digits = hashlib.sha256(composed.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{readable or 'device'}-{digits}"
