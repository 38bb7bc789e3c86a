"""Tones that are sent and recognised again: the only proof that people hear each other."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

RATE = 8000


def make_tone(path: Path, frequency: float, seconds: float = 60.0) -> Path:
    """A WAV file of 8 kHz, mono, 16 bit, at a quarter of full volume. Whole numbers of hertz and of seconds are made
    of one second again and again."""
    once = round(RATE * (1 if frequency == int(frequency) and seconds == int(seconds) else seconds))
    samples = (round(8000 * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(once))
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples) * round(RATE * seconds / once))
    return path


def share_of(path: Path, frequency: float, last_seconds: float | None = None) -> float:
    """How much of the power in a recording lies at one frequency, 0 to 1 (Goertzel over slices of 100 ms, silence left
    out). ``last_seconds``: only the end of the recording, for what was heard after a hold or a transfer."""
    samples = read(path)
    if last_seconds is not None:
        samples = samples[-round(RATE * last_seconds):]
    return share_in(samples, frequency)


def share_in(samples: list[int], frequency: float) -> float:
    """The same of samples of 8 kHz."""
    step = RATE // 10
    shares = []
    for start in range(0, len(samples) - step + 1, step):
        part = samples[start:start + step]
        power = sum(sample * sample for sample in part)
        if power < step * 100.0**2:
            continue
        shares.append(_goertzel(part, frequency) / power)
    return sum(shares) / len(shares) if shares else 0.0


def loud_seconds(path: Path, last_seconds: float | None = None) -> float:
    """How long a recording is not silent."""
    samples = read(path)
    if last_seconds is not None:
        samples = samples[-round(RATE * last_seconds):]
    return loud_seconds_in(samples)


def loud_seconds_in(samples: list[int]) -> float:
    """The same of samples of 8 kHz."""
    step = RATE // 10
    parts = (samples[start:start + step] for start in range(0, len(samples) - step + 1, step))
    return sum(0.1 for part in parts if sum(s * s for s in part) >= step * 100.0**2)


def read(path: Path) -> list[int]:
    """The samples of a WAV file, also of one whose writer was stopped before it could note the length."""
    data = path.read_bytes()
    begin = data.find(b"data")
    if begin < 0:
        # linphonec writes the header at the end of the call; until then its room is full of zeros.
        body = data[44:] if not any(data[:44]) else b""
        return list(struct.unpack(f"<{len(body) // 2}h", body[:len(body) // 2 * 2]))
    body = data[begin + 8:]
    channels = struct.unpack_from("<H", data, data.find(b"fmt ") + 10)[0]
    count = len(body) // 2
    return list(struct.unpack(f"<{count}h", body[:2 * count])[::channels])


def _goertzel(samples: list[int], frequency: float) -> float:
    count = len(samples)
    coefficient = 2 * math.cos(2 * math.pi * frequency / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    return 2 * power / count
