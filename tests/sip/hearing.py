"""Which prompts somebody heard, and in which order."""
import time

import numpy as np

import audio
from waiting import until

LIKE = 0.97         # G.711 alone lies between
SLACK = audio.RATE_HZ * 20 // 1000      # samples: less of its end than this is not missed
PAUSE_S = 0.2


def prompt(number, seconds=0.8):
    """A sound that is like no other prompt; each number is another one."""
    return audio.voice(seconds, seed=900 + number)


def order(prompts, heard, like=LIKE):
    """The names of `prompts` in the order in which `heard` has them, each as often as it is there to its end."""
    found = []
    for name, sound in prompts.items():
        rest = np.array(heard)
        while True:
            likeness, start = audio.placed(sound, rest)
            # Almost all of a prompt is already like it; a key pressed then would cut it short.
            if likeness < like or start + len(sound) > len(heard) + SLACK:
                break
            found.append((start, name))
            rest[max(start, 0):start + len(sound)] = 0
    return [name for _, name in sorted(found)]


def wait_for(rtp, prompts, *names, timeout=15.0):
    """Until exactly these prompts have been heard, in this order; one that began is heard to its end."""
    wanted, last = list(names), []

    def there():
        last[:] = order(prompts, rtp.heard())
        return last[-len(wanted):] == wanted

    until(there, timeout, lambda: f"the prompts {wanted} (heard {last})", PAUSE_S)
    assert last == wanted, f"heard {last}, expected {wanted}"
    return time.monotonic()
