"""Who calls, as sound: what an exchange sends by each of the four standards, and what a telephone reads of it.

Telcordia GR-30 (Bell 202), ETSI EN 300 659 (V.23), NTT's number display (V.23 with parity and CRC), and digits.
Nothing here is taken from the daemon, so that neither hides the other's mistakes.
"""
from dataclasses import dataclass

import numpy as np

import audio

BAUD = 1200
BELL_202, V23 = (1200, 2200), (1300, 2100)      # Hz of a 1 and of a 0
LEVEL = 4800                                    # about -13.5 dBm0, full scale being 3.14
SEIZURE_BITS, MARK_BITS, MARK_BITS_SHORT = 300, 180, 80
DATE_TIME, NUMBER, CALLED_OR_DIALLED, NUMBER_ABSENT, NAME = 1, 2, 3, 4, 7
ALERT_HZ, ALERT_MS = (2130, 2750), 100


@dataclass
class Caller:
    standard: str           # bellcore, etsi, number-display or dtmf
    number: str = None
    name: str = None
    time: str = None        # MMDDHHMM
    absent: str = None      # the letter that says why there is no number


# ------------------------------------------------------------------ sending


def sound(standard, number=None, name=None, absent=None, time="11291405", form="AC"):
    """The sound by one of the four standards. `form` is the first and last key of a row of digits."""
    if standard == "dtmf":
        first, last = form
        row = f"{first}{number}{last}" if number else {"P": "B10C", "O": "B00C"}[absent]
        return audio.dtmf(row, tone_ms=70, gap_ms=70, level=3500)
    if standard == "number-display":
        return _modem(V23, "1" * MARK_BITS_SHORT + _bits(number_display(number, absent, time)))
    spec = {"bellcore": BELL_202, "etsi": V23}[standard]
    return _modem(spec, "01" * (SEIZURE_BITS // 2) + "1" * MARK_BITS + _bits(message(number, name, absent, time)))


def alert():
    """The tones before a message that comes before the first ring."""
    time = np.arange(audio.RATE_HZ * ALERT_MS // 1000) / audio.RATE_HZ
    return (3000 * sum(np.sin(2 * np.pi * hz * time) for hz in ALERT_HZ)).astype(np.int16)


def message(number=None, name=None, absent=None, time="11291405"):
    """Type, length, parameters, and what makes the sum zero."""
    content = _parameter(DATE_TIME, time)
    content += _parameter(NUMBER, number) if number else _parameter(NUMBER_ABSENT, absent)
    content += _parameter(NAME, name) if name else b""
    whole = bytes([0x80, len(content)]) + content
    return whole + bytes([-sum(whole) & 0xFF])


def number_display(number=None, absent=None, time="11291405"):
    """NTT: DLE SOH header DLE STX, service, length, parameters, DLE ETX, all with even parity, and a CRC."""
    content = _parameter(DATE_TIME, time) + (_parameter(NUMBER, number) if number else _parameter(NUMBER_ABSENT, absent))
    body = content.replace(b"\x10", b"\x10\x10")
    frame = bytes(byte | (bin(byte).count("1") & 1) << 7 for byte in b"\x10\x01\x07\x10\x02\x40" + bytes([len(content)]) + body + b"\x10\x03")
    return frame + _crc(frame[2:]).to_bytes(2, "little")


def _parameter(kind, text):
    value = text.encode("latin-1")
    return bytes([kind, len(value)]) + value


def _crc(data):
    """ITU-T V.41, the least significant bit first."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def _bits(data):
    """A start bit, eight bits from the least significant, a stop bit, for each byte."""
    return "".join("0" + format(byte, "08b")[::-1] + "1" for byte in data) + "1" * 6


def _modem(spec, bits):
    count = int(len(bits) * audio.RATE_HZ / BAUD)
    which = np.array([bit == "1" for bit in bits])[np.minimum(np.arange(count) * BAUD // audio.RATE_HZ, len(bits) - 1)]
    turns = np.cumsum(np.where(which, *spec)) / audio.RATE_HZ
    return (LEVEL * np.sin(2 * np.pi * turns)).astype(np.int16)


# ------------------------------------------------------------------ reading


def read(pcm):
    """Every Caller that is told in a sound, in their order by standard: Bellcore, ETSI, then digits."""
    found = []
    for standard, spec in (("bellcore", BELL_202), ("etsi", V23)):
        for bytes_, at in _heard(pcm, spec):
            caller = _caller(standard, bytes_)
            # Either modem reads the other's bits; the mark before the message says whose they are.
            if caller and _mark(pcm, at) == standard:
                found.append(caller)
    keys = audio.keys(pcm)
    for first, last in ("AC", "A#", "DC"):
        if first in keys and last in keys[keys.index(first):]:
            row = keys[keys.index(first) + 1:]
            found.append(Caller("dtmf", number=row[:row.index(last)]))
            break
    return found


def lamps(pcm):
    """What a telephone is told of waiting messages (type 0x82, visual indicator), by either modem: [True or False, ...] in their order."""
    told = []
    for spec in (BELL_202, V23):
        for bytes_, at in _heard(pcm, spec):
            whole = len(bytes_) >= 6 and bytes_[0] == 0x82 and sum(bytes_[:3 + bytes_[1]]) & 0xFF == 0
            if whole and bytes_[2:4] == b"\x0b\x01" and _mark(pcm, at) == {BELL_202: "bellcore", V23: "etsi"}[spec]:
                told.append((at, bytes_[4] == 0xFF))
    return [on for _, on in sorted(told)]


def _caller(standard, message_):
    if len(message_) < 3 or message_[0] != 0x80 or len(message_) < 3 + message_[1] or sum(message_[:3 + message_[1]]) & 0xFF:
        return None
    caller, content = Caller(standard), message_[2:2 + message_[1]]
    while len(content) >= 2:
        kind, value = content[0], content[2:2 + content[1]].decode("latin-1")
        content = content[2 + content[1]:]
        field = {DATE_TIME: "time", NUMBER: "number", NUMBER_ABSENT: "absent", NAME: "name"}.get(kind)
        if field:
            setattr(caller, field, value)
    return caller


def _mark(pcm, at):
    """By which standard the mark of the 90 ms before this sample is."""
    before = pcm[max(at - 720, 0):at].astype(np.float64)
    share = {standard: audio.tone_share(before, spec[0], 30) if len(before) else 0 for standard, spec in (("bellcore", BELL_202), ("etsi", V23))}
    return max(share, key=share.get)


def _heard(pcm, spec):
    """Rows of bytes between pauses or marks, and where each begins: [(bytes, sample)]."""
    samples = np.asarray(pcm, np.float64)
    if not samples.any():
        return []
    window, time = np.ones(7), np.arange(len(samples))
    power = [np.abs(np.convolve(samples * np.exp(-2j * np.pi * hz * time / audio.RATE_HZ), window, "same")) ** 2 for hz in spec]
    is_mark = power[0] >= power[1]
    loud = np.convolve(samples ** 2, np.ones(80) / 80, "same") > 200 ** 2
    rows, row, began, at, bit = [], b"", 0, 1, audio.RATE_HZ / BAUD
    last = -10 ** 9
    falls = np.flatnonzero(~is_mark[1:] & is_mark[:-1] & loud[1:]) + 1
    for fall in falls:
        if fall < at:
            continue
        places = (fall + bit * (np.arange(10) + 0.5)).astype(int)
        if places[-1] >= len(samples):
            break
        bits = is_mark[places]
        if bits[0] or not bits[9]:
            continue
        if fall - last > 3 * bit:           # something between: another row
            rows.append((row, began))
            row, began = b"", fall
        row += bytes([int(sum(1 << n for n in range(8) if bits[n + 1]))])
        at = last = int(fall + bit * 9.4)
    return rows + [(row, began)]
