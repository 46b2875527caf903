"""Sound as numpy arrays of 16-bit samples at 8 kHz: G.711, WAV files, tones, and how alike two sounds are."""
import struct
import wave

import numpy as np

RATE_HZ = 8000
FRAME_SAMPLES = 160         # 20 ms
SILENCE_DBFS = -60.0        # below this nothing is being said

# ------------------------------------------------------------------ G.711 (ITU-T G.711, tables 1 and 2)


def _ulaw_table():
    code = ~np.arange(256) & 0xFF
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = ((mantissa << 3) + 132 << exponent) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table():
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder(table):
    """The code whose value is nearest, for each of the 65,536 samples."""
    order = np.argsort(table, kind="stable")
    values = table[order].astype(np.int32)
    borders = (values[1:] + values[:-1]) / 2
    samples = np.arange(-32768, 32768)
    return order[np.searchsorted(borders, samples)].astype(np.uint8)


_DECODE = {"PCMU": _ulaw_table(), "PCMA": _alaw_table()}
_ENCODE = {name: _encoder(table) for name, table in _DECODE.items()}
_ENCODE["PCMU"][32768] = 0xFF        # of the two zeros the customary one
PAYLOAD_TYPE = {"PCMU": 0, "PCMA": 8}
CODEC_OF_TYPE = {0: "PCMU", 8: "PCMA"}


def encode(pcm, codec="PCMU"):
    return _ENCODE[codec][np.asarray(pcm, dtype=np.int32) + 32768].tobytes()


def decode(payload, codec="PCMU"):
    return _DECODE[codec][np.frombuffer(payload, dtype=np.uint8)]


# ------------------------------------------------------------------ sounds


def voice(seconds, seed=1, band_hz=(300, 1500), rate_hz=RATE_HZ, level=6000):
    """Noise of a voice's band and rhythm: never the same twice, so it can be lined up to the sample."""
    count = int(seconds * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0
    sound = np.fft.irfft(spectrum, count)
    time = np.arange(count) / rate_hz
    sound *= 0.65 + 0.35 * np.sin(2 * np.pi * 2.7 * time + seed)
    return np.clip(sound / sound.std() * level, -32000, 32000).astype(np.int16)


def silence(seconds):
    return np.zeros(int(seconds * RATE_HZ), dtype=np.int16)


_DTMF_LOW, _DTMF_HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
_DTMF_KEYS = "123A456B789C*0#D"


def dtmf(digits, tone_ms=80, gap_ms=80, level=5000):
    """The digits as pairs of tones (ITU-T Q.23)."""
    parts = []
    for digit in digits:
        row, column = divmod(_DTMF_KEYS.index(digit), 4)
        time = np.arange(RATE_HZ * tone_ms // 1000) / RATE_HZ
        pair = np.sin(2 * np.pi * _DTMF_LOW[row] * time) + np.sin(2 * np.pi * _DTMF_HIGH[column] * time)
        parts += [(pair * level).astype(np.int16), silence(gap_ms / 1000)]
    return np.concatenate(parts)


def keys(pcm):
    """The keys whose tones are heard, in their order: down for 30 ms at least, up for 20 ms between two of a kind."""
    size, step = 160, 80
    both = _DTMF_LOW + _DTMF_HIGH
    probes = np.exp(-2j * np.pi * np.outer(both, np.arange(size)) / RATE_HZ)
    down, run, quiet, found = None, (None, 0), 0, ""
    for at in range(0, len(pcm) - size + 1, step):
        block = np.asarray(pcm[at:at + size], np.float64)
        energy = (block ** 2).sum()
        power = np.abs(probes @ block) ** 2 * 2 / size
        row, column = int(power[:4].argmax()), int(power[4:].argmax())
        pure = energy > size * 100 ** 2 and power[row] + power[4 + column] > 0.7 * energy and 0.1 < power[row] / max(power[4 + column], 1) < 10
        key = _DTMF_KEYS[4 * row + column] if pure else None
        run = (key, run[1] + 1) if key == run[0] else (key, 1)
        quiet = quiet + 1 if key is None else 0
        if quiet >= 2:
            down = None
        if key and run[1] == 2 and key != down:
            found, down = found + key, key
    return found


def tone_share(pcm, hertz, width_hz=20):
    """How much of the sound's power lies within `width_hz` of `hertz` (0 to 1)."""
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)))) ** 2
    at = np.fft.rfftfreq(len(pcm), 1 / RATE_HZ)
    return float(power[np.abs(at - hertz) <= width_hz].sum() / max(power.sum(), 1e-9))


def frequencies(pcm, within_db=15):
    """The frequencies that a sound of tones consists of: [Hz, ...]. 0.4 s tell apart what is 12 Hz apart."""
    size = 8 * len(pcm)
    spectrum = np.abs(np.fft.rfft(np.asarray(pcm, np.float64) * np.hanning(len(pcm)), size))
    floor = spectrum.max() * 10 ** (-within_db / 20)
    peaks = np.flatnonzero((spectrum[1:-1] > spectrum[:-2]) & (spectrum[1:-1] >= spectrum[2:]) & (spectrum[1:-1] > max(floor, 1.0))) + 1
    return [float(peak * RATE_HZ / size) for peak in peaks]


def bursts(pcm, shortest_ms=60):
    """Sound and silence in turn, beginning with sound: [(loud, begins, ends), ...] in samples; what is shorter is bridged."""
    step = RATE_HZ // 100
    frames = np.asarray(pcm[:len(pcm) // step * step], np.float64).reshape(-1, step)
    runs = []
    for number, loud in enumerate(np.sqrt((frames ** 2).mean(axis=1)) > 100):
        if runs and runs[-1][0] == loud:
            runs[-1][2] = (number + 1) * step
        elif runs and runs[-1][2] - runs[-1][1] < shortest_ms * RATE_HZ // 1000 and len(runs) > 1:
            runs.pop()                      # it was a gap, or a click
            runs[-1][2] = (number + 1) * step
        else:
            runs.append([bool(loud), number * step, (number + 1) * step])
    return [tuple(run) for run in runs[0 if runs and runs[0][0] else 1:]]


def is_tone(pcm, hz, cadence=(), tolerance_hz=4, tolerance_ms=60):
    """The sound ends in this tone, for 0.7 s; with a cadence, it has each of its steps once in turn."""
    def fits(part):
        found = frequencies(part)
        return len(found) == len(hz) and all(abs(a - b) <= tolerance_hz for a, b in zip(found, sorted(hz)))

    if not cadence:
        last = pcm[-RATE_HZ * 7 // 10:]
        return len(last) == RATE_HZ * 7 // 10 and len(bursts(last)) == 1 and fits(last)
    runs = bursts(pcm)[:-1]                 # the last one may go on
    for at in range(len(runs) - len(cadence) + 1):
        turn = runs[at:at + len(cadence)]
        if turn[0][0] and all(abs((ends - begins) * 1000 / RATE_HZ - ms) <= tolerance_ms for (_, begins, ends), ms in zip(turn, cadence)):
            return fits(pcm[turn[0][1] + 160:turn[0][2] - 160])
    return False


def level_dbfs(pcm):
    rms = np.sqrt(np.mean(np.square(pcm.astype(np.float64)))) if len(pcm) else 0.0
    return 20 * np.log10(max(rms, 1e-3) / 32768)


def loud_seconds(pcm):
    """How long, in frames of 20 ms, there was anything to hear."""
    frames = pcm[:len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).astype(np.float64)
    return float((np.sqrt((frames ** 2).mean(axis=1)) > 33).sum() * FRAME_SAMPLES / RATE_HZ)


# ------------------------------------------------------------------ likeness


def likeness(reference, heard, finest=16):
    """Normalised cross-correlation of `reference` with the stretch of `heard` that fits best.

    1 is the same sound at any loudness, 0 has nothing to do with it. The alignment
    is found to 1/`finest` of a sample, so that a resampler's delay does not count.
    """
    return placed(reference, heard, finest)[0]


def placed(reference, heard, finest=16):
    """(likeness, sample of `heard` at which `reference` starts)"""
    reference, heard = np.asarray(reference, np.float64), np.asarray(heard, np.float64)
    if len(heard) < len(reference) // 2 or not heard.any():
        return 0.0, 0
    size = 1 << int(np.ceil(np.log2(len(reference) + len(heard))))
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size)), size)
    start = int(np.argmax(cross))
    if start > len(heard):          # the sound began before `heard` did
        start -= size
    window = np.zeros(len(reference) + 32)
    low, high = max(start - 16, 0), min(start + len(reference) + 16, len(heard))
    if high <= low:
        return 0.0, start
    window[low - (start - 16):high - (start - 16)] = heard[low:high]
    spectrum, hertz = np.fft.rfft(window), np.fft.rfftfreq(len(window))
    best = 0.0
    for step in range(-finest, finest + 1):
        shifted = np.fft.irfft(spectrum * np.exp(2j * np.pi * hertz * step / finest), len(window))[16:16 + len(reference)]
        norm = np.sqrt((shifted ** 2).sum() * (reference ** 2).sum())
        best = max(best, float((shifted * reference).sum() / norm) if norm else 0.0)
    return best, start


def clean_share(reference, heard, snr_db=20, part_ms=50):
    """The share of the reference's parts that are heard, each with this ratio of signal to noise at least (0 to 1).

    In parts: two clocks are kept together by a sample now and then, and a busy machine is late for a moment.
    """
    size, around = part_ms * RATE_HZ // 1000, RATE_HZ // 10
    enough = np.sqrt(1 / (1 + 10 ** (-snr_db / 10)))      # of a sound with noise, the likeness
    _, start = placed(reference, heard, 1)
    clean = parts = 0
    for at in range(0, len(reference) - size + 1, size):
        found = likeness(reference[at:at + size], heard[max(start + at - around, 0):max(start + at + size + around, 0)])
        clean, parts = clean + (found >= enough), parts + 1
    return clean / parts


# ------------------------------------------------------------------ files


def wav_bytes(pcm, rate_hz=RATE_HZ):
    import io
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(rate_hz)
        file.writeframes(np.asarray(pcm, "<i2").tobytes())
    return out.getvalue()


def aiff_bytes(pcm):
    """AIFF of 8 kHz: big-endian chunks, the rate as an 80-bit number."""
    sound = np.asarray(pcm, ">i2").tobytes()
    common = struct.pack(">hIh", 1, len(pcm), 16) + bytes.fromhex("400bfa00000000000000")
    chunks = b"".join(name + struct.pack(">I", len(chunk)) + chunk for name, chunk in ((b"COMM", common), (b"SSND", bytes(8) + sound)))
    return b"FORM" + struct.pack(">I", 4 + len(chunks)) + b"AIFF" + chunks


def write_wav(path, pcm, rate_hz=RATE_HZ):
    with open(path, "wb") as file:
        file.write(wav_bytes(pcm, rate_hz))
    return path


def read_wav(path):
    """(samples at 8 kHz, the file's own rate)"""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2, f"{path}: {file.getsampwidth() * 8} bit, expected 16"
        assert file.getnchannels() == 1, f"{path}: {file.getnchannels()} tracks, expected 1"
        rate_hz, pcm = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return resampled(pcm, rate_hz), rate_hz


def resampled(pcm, rate_hz):
    """The sound at 8 kHz, band-limited exactly."""
    if rate_hz == RATE_HZ:
        return pcm
    count = int(len(pcm) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(pcm)[:count // 2 + 1]
    return np.clip(np.fft.irfft(spectrum, count) * count / len(pcm), -32768, 32767).astype(np.int16)
