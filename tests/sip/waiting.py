"""Waiting for something to become true, with a deadline and without guessing how long it takes."""
import time


def until(condition, timeout=5.0, what="the condition", pause=0.02):
    """The first true value of `condition()`; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what() if callable(what) else what}: not within {timeout:g} s")
        time.sleep(pause)
