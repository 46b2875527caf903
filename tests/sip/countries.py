"""The countries of the daemon's own table: how an exchange rings, sounds and says who calls."""
import tomllib
from dataclasses import dataclass

import programs

TABLE = programs.REPOSITORY / "firmware" / "data" / "countries.toml"


@dataclass(frozen=True)
class Tone:
    hz: tuple               # at once
    cadence: tuple          # ms on and off in turn; nothing for a tone that does not stop


@dataclass(frozen=True)
class Country:
    code: str
    ring: tuple             # ms on and off in turn
    dial: Tone
    ringback: Tone
    busy: Tone
    congestion: Tone
    caller_id: str          # the standard by which a number comes
    starts: str             # what comes before it
    waits_ms: int           # from that to the number
    rings_after_ms: int     # from the number to the ring, where it comes first
    flash_ms: int           # a hook flash that a telephone port takes for one
    recall_is_digit: bool   # a hook flash is followed by a digit
    emergency: tuple


def country(code):
    return _COUNTRIES[code]


def _tone(text):
    """The first step of `400+450/400-200-400-2000`: those with others are written out by nobody here."""
    frequencies, _, cadence = text.partition(",")[0].partition("/")
    return Tone(tuple(float(hz) for hz in frequencies.split("+")), tuple(int(ms) for ms in cadence.split("-")) if cadence else ())


def _country(row):
    shortest, longest = row["flash_accepted_ms"]
    return Country(code=row["code"], ring=tuple(int(ms) for ms in row["ring"].split("-")), dial=_tone(row["dial"]), ringback=_tone(row["ringback"]),
                   busy=_tone(row["busy"]), congestion=_tone(row["congestion"]), caller_id=row["caller_id"][0], starts=row["caller_id_start"],
                   waits_ms=row["caller_id_delay_ms"], rings_after_ms=row["caller_id_ring_ms"], flash_ms=(shortest + min(longest, 2 * shortest)) // 2,
                   recall_is_digit=longest < 200, emergency=tuple(row["emergency"]))


with open(TABLE, "rb") as _file:
    _COUNTRIES = {row["code"]: _country(row) for row in tomllib.load(_file)["country"]}
