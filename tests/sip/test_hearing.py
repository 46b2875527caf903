"""Prompts are told apart, counted and put in order by likeness."""
import numpy as np

import audio
from hearing import order, prompt

PROMPTS = {name: prompt(number) for number, name in enumerate(("welcome", "menu", "goodbye"))}


def through_g711(*sounds):
    return audio.decode(audio.encode(np.concatenate(sounds)))


def test_prompts_are_found_in_their_order():
    """Shows: twice the same one, silence of any length between, nothing that was not there."""
    heard = through_g711(audio.silence(0.31), PROMPTS["welcome"], PROMPTS["menu"], audio.silence(2.017), PROMPTS["menu"], audio.silence(0.1))
    assert order(PROMPTS, heard) == ["welcome", "menu", "menu"]


def test_half_a_prompt_does_not_count():
    half = PROMPTS["menu"][:len(PROMPTS["menu"]) // 2]
    assert order(PROMPTS, through_g711(PROMPTS["welcome"], half, audio.silence(1))) == ["welcome"]


def test_tones_and_other_voices_are_no_prompts():
    heard = through_g711(audio.dtmf("1234"), audio.voice(3, seed=1), PROMPTS["goodbye"], audio.silence(0.5))
    assert order(PROMPTS, heard) == ["goodbye"]
    assert order(PROMPTS, audio.silence(2)) == [] == order(PROMPTS, np.zeros(0, np.int16))
