"""The media end of a call: one UDP socket on a loopback address that hears, speaks and misbehaves."""
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass

import numpy as np

import audio
from waiting import until

FRAME_S = 0.02
EVENTS = "0123456789*#ABCD"       # RFC 4733, table 7


@dataclass
class Packet:
    at: float               # time.monotonic()
    source: tuple
    payload_type: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: int
    payload: bytes


def build(payload, seq, timestamp, ssrc, payload_type=0, marker=False, first=0x80):
    return struct.pack("!BBHII", first, payload_type | (0x80 if marker else 0), seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class RtpParty:
    """Records every packet with its arrival time from the moment it exists."""

    def __init__(self, ip="127.0.0.2", codec="PCMU"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((ip, 0))
        self.ip, self.port = self.socket.getsockname()
        self.codec, self.event_type = codec, 101
        self.peer = None            # where to send: set from the other side's SDP
        self.packets, self.rubbish = [], []
        self._random = random.Random(self.port)
        self.ssrc = self._random.getrandbits(32)
        self._seq, self._zero, self._clock = self._random.getrandbits(15), time.monotonic(), self._random.getrandbits(30)
        self._spoken_to = None              # the RTP clock where the last sound ended
        self._turn = threading.Lock()       # one voice at a time
        self._open = True
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- hearing

    def _receive(self):
        self.socket.settimeout(0.2)
        while self._open:
            try:
                data, source = self.socket.recvfrom(4096)
            except socket.timeout:
                continue
            except OSError:
                return
            now = time.monotonic()
            if len(data) < 12 or data[0] >> 6 != 2:
                self.rubbish.append((now, source, data))
                continue
            first, second, seq, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
            body = data[12 + 4 * (first & 15):]
            self.packets.append(Packet(now, source, second & 127, bool(second & 128), seq, timestamp, ssrc, body))

    def audio_packets(self, since=0.0, source=None):
        return [p for p in list(self.packets) if p.payload_type in audio.CODEC_OF_TYPE and p.at >= since
                and (source is None or p.source == tuple(source))]

    def heard(self, since=0.0, source=None):
        """What was received, laid out by its RTP time stamps; what is missing is silence."""
        parts, ssrc, end = [], None, 0
        for packet in sorted_by_sequence(self.audio_packets(since, source)):
            sound = audio.decode(packet.payload, audio.CODEC_OF_TYPE[packet.payload_type])
            if packet.ssrc == ssrc:
                gap = (packet.timestamp - end) & 0xFFFFFFFF
                if 0 < gap < 60 * audio.RATE_HZ:
                    parts.append(np.zeros(gap, np.int16))
            ssrc, end = packet.ssrc, packet.timestamp + len(sound)
            parts.append(sound)
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)

    def heard_payload(self, since=0.0):
        """The encoded bytes in order, for comparing to the bit."""
        return b"".join(p.payload for p in sorted_by_sequence(self.audio_packets(since)))

    def lost(self, since=0.0):
        """Packets missing by sequence number, over every source heard."""
        missing = 0
        for ssrc in {p.ssrc for p in self.audio_packets(since)}:
            seqs = sorted(set(_unwrapped([p.seq for p in self.packets if p.ssrc == ssrc and p.at >= since])))
            missing += seqs[-1] - seqs[0] + 1 - len(seqs)
        return missing

    def events(self):
        """The RFC 4733 digits received, one for each time stamp."""
        seen = {}
        for packet in list(self.packets):
            if packet.payload_type == self.event_type and len(packet.payload) >= 4:
                seen.setdefault((packet.ssrc, packet.timestamp), EVENTS[packet.payload[0] & 15])
        return "".join(seen.values())

    def wait_packets(self, count, timeout=5.0, since=0.0):
        until(lambda: len(self.audio_packets(since)) >= count, timeout,
              lambda: f"{count} audio packets at {self.ip}:{self.port} (have {len(self.audio_packets(since))})")

    def wait_loud(self, seconds=0.1, timeout=5.0, since=0.0):
        """Until there have been `seconds` of sound."""
        until(lambda: audio.loud_seconds(self.heard(since)) >= seconds, timeout,
              lambda: f"{seconds:g} s of sound at {self.ip}:{self.port} (have {audio.loud_seconds(self.heard(since)):.2f} s)", 0.05)

    def wait_quiet(self, seconds=0.3, timeout=20.0):
        """Until the last `seconds` held nothing to hear."""
        until(lambda: audio.loud_seconds(self.heard(time.monotonic() - seconds)) == 0, timeout, "silence", 0.05)

    # -------------------------------------------------------------- speaking

    def _next(self):
        self._seq = (self._seq + 1) & 0xFFFF
        return self._seq

    def _now(self):
        """The RTP clock at this instant (RFC 3550, section 5.1: it runs through silence).

        What follows the last sound within a frame or two continues it without a seam.
        """
        now = self._clock + int((time.monotonic() - self._zero) * audio.RATE_HZ)
        if self._spoken_to is not None and now - self._spoken_to < 2 * audio.FRAME_SAMPLES:
            return self._spoken_to
        return now

    def send(self, data, to=None):
        self.socket.sendto(data, to or self.peer)

    def say(self, pcm, payload=None):
        """Sends the sound at its own pace and returns when it is over."""
        payload = payload if payload is not None else audio.encode(pcm, self.codec)
        frames = [payload[i:i + audio.FRAME_SAMPLES] for i in range(0, len(payload), audio.FRAME_SAMPLES)]
        with self._turn:
            start, stamp = time.monotonic(), self._now()
            for number, frame in enumerate(frames):
                _sleep_until(start + number * FRAME_S)
                if not self._open:
                    return
                try:
                    self.send(build(frame, self._next(), stamp, self.ssrc, audio.PAYLOAD_TYPE[self.codec], number == 0))
                except OSError:
                    return
                stamp += len(frame)
            self._spoken_to = stamp
            _sleep_until(start + len(frames) * FRAME_S)

    def start_saying(self, pcm, payload=None):
        """The same in the background; join() what it returns."""
        thread = threading.Thread(target=self.say, args=(pcm, payload), daemon=True)
        thread.start()
        return thread

    def press(self, digits, tone_ms=100, gap_ms=80):
        """RFC 4733 events: one packet in 20 ms while the key is down, the last sent three times."""
        with self._turn:
            for digit in digits:
                stamp, code = self._now(), EVENTS.index(digit)
                start, steps = time.monotonic(), max(1, tone_ms // 20)
                for step in range(1, steps + 1):
                    _sleep_until(start + (step - 1) * FRAME_S)
                    self._event(code, False, step * 160, stamp, step == 1)
                for _ in range(3):
                    self._event(code, True, steps * 160, stamp, False)
                self._spoken_to = stamp + (tone_ms + gap_ms) * audio.RATE_HZ // 1000
                _sleep_until(start + (tone_ms + gap_ms) / 1000)

    def _event(self, code, end, duration, stamp, marker):
        body = struct.pack("!BBH", code, (0x80 if end else 0) | 10, duration)
        self.send(build(body, self._next(), stamp, self.ssrc, self.event_type, marker))

    def close(self):
        if self._open:
            self._open = False
            self.socket.sendto(b"", (self.ip, self.port))       # wakes the receiving thread
            self._thread.join(1)
        self.socket.close()


def _sleep_until(instant):
    wait = instant - time.monotonic()
    if wait > 0:
        time.sleep(wait)


def _unwrapped(seqs):
    out, last = [], None
    for seq in seqs:
        if last is None:
            out.append(seq)
        else:
            out.append(out[-1] + ((seq - last + 0x8000) & 0xFFFF) - 0x8000)
        last = seq
    return out


def sorted_by_sequence(packets):
    """Each source's packets in the order they were sent, once each; sources in the order first heard."""
    by_source = {}
    for packet in packets:
        by_source.setdefault(packet.ssrc, []).append(packet)
    out = []
    for group in by_source.values():
        numbered = dict(zip(_unwrapped([p.seq for p in group]), group))
        out += [numbered[seq] for seq in sorted(numbered)]
    return out
