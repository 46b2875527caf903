"""The telephones, exchanges and caller's numbers of these tests, without a box: what they send, and what they hear."""
import os
import pathlib

import numpy as np
import pytest

import analog
import audio
import caller_sound
from countries import country
from waiting import until


# ------------------------------------------------------------------ ears


@pytest.mark.parametrize("code", ["us", "gb", "za", "jp", "au"])
def test_tones_are_told_apart_by_frequencies_and_cadence(code):
    """Shows: a country's tone is heard as itself, also through G.711 and between silences, and not as another."""
    tones = [country(code).dial, country(code).ringback, country(code).busy]
    for tone in tones:
        heard = audio.decode(audio.encode(played(tone, 7)))
        assert [audio.is_tone(heard, other.hz, other.cadence) for other in tones] == [other == tone for other in tones]
    assert not audio.is_tone(audio.voice(7), country(code).dial.hz)
    assert not audio.is_tone(audio.silence(7), country(code).busy.hz, country(code).busy.cadence)


def played(tone, seconds):
    time = np.arange(int(seconds * audio.RATE_HZ)) / audio.RATE_HZ
    sound = sum(2500 * np.sin(2 * np.pi * hz * time) for hz in tone.hz)
    if tone.cadence:
        edges = np.cumsum(tone.cadence) * audio.RATE_HZ // 1000
        sound[np.searchsorted(edges, np.arange(len(sound)) % edges[-1], side="right") % 2 == 1] = 0
    return sound.astype(np.int16)


def test_keys_are_heard():
    """Shows: short keys and doubled ones; no key in a voice, a dial tone or silence."""
    assert audio.keys(audio.dtmf("123A456B789C*0#D1155", 50, 50)) == "123A456B789C*0#D1155"
    assert audio.keys(np.concatenate([audio.voice(3), played(country("us").dial, 2), audio.silence(1)])) == ""


def test_how_clean_a_sound_is():
    """Shows: G.711 is clean; a sample more or less costs a part; noise of a seventh, and nothing at all, are not clean."""
    voice = audio.voice(2, seed=5)
    assert audio.clean_share(voice, audio.decode(audio.encode(voice))) == 1
    assert audio.clean_share(voice, np.concatenate([audio.silence(0.2), voice[:5000], voice[4999:]])) >= 0.95
    assert audio.clean_share(voice, voice + np.random.default_rng(1).normal(0, 900, len(voice))) < 0.5
    assert audio.clean_share(voice, audio.silence(3)) == 0


# ------------------------------------------------------------------ who calls


@pytest.mark.parametrize("standard", ["bellcore", "etsi", "dtmf"])
def test_a_caller_is_read_as_he_was_told(standard):
    """Shows: number, name and time, behind silence of any length; one bit wrong is nobody; other sounds are nobody."""
    name = None if standard == "dtmf" else "Zoe"
    sound = caller_sound.sound(standard, "5550100", name)
    time = None if standard == "dtmf" else "11291405"
    for pause in (0.3, 0.7123):
        heard = audio.decode(audio.encode(np.concatenate([audio.silence(pause), sound, audio.silence(0.3)])))
        assert caller_sound.read(heard) == [caller_sound.Caller(standard, "5550100", name, time)]
    if standard != "dtmf":
        sound[-700:-690] = -sound[-700:-690] + sound[-600:-590]
        assert caller_sound.read(sound) == []
    assert caller_sound.read(np.concatenate([audio.voice(2), played(country("us").busy, 2)])) == []


def test_the_bytes_of_known_messages():
    """Shows: the data sheets' example, its checksum, and NTT's parity and CRC (check value of the catalogues)."""
    message = caller_sound.message("8012345678", time="09301224")
    assert message[:3] == b"\x80\x16\x01" and sum(message) & 0xFF == 0 and b"09301224\x02\x0a8012345678" in message
    frame = caller_sound.number_display("0312345678")
    assert frame[:6] == b"\x90\x81\x87\x90\x82\xc0" and all(bin(byte).count("1") % 2 == 0 for byte in frame[:-2])
    assert caller_sound._crc(b"123456789") == 0x2189


# ------------------------------------------------------------------ the line card in software


def test_a_card_tells_what_it_did(card):
    """Shows: orders in their order, what was refused, and what was heard of silence."""
    card1 = card("LP")
    telephone = card1.telephone(2)
    telephone.lift()
    telephone.forget()
    before = card1.settled()
    until(lambda: card1.settled() > before + 800, what="a tenth of a second")
    assert audio.loud_seconds(telephone.heard()) == 0 < len(telephone.heard())
    card1.order("lift", port=1)
    card1.expect("refused")
    card1.order("dance")
    assert "dance" in card1.expect("refused")["why"]
    with pytest.raises(AssertionError, match="refused"):
        card1.order("ring", port=2, cadence=[1000, 4000])
        card1.expect("here")


def test_a_card_goes_with_its_names_and_comes_back(card):
    """Shows: unplugged, neither serial port nor pipes are there; plugged in they are, under the same names."""
    card1 = card("L")
    names = [pathlib.Path(card1.ready["serial"]), card1.directory / "heard.pipe", card1.directory / "played.pipe"]
    for _ in range(3):
        assert all(os.path.lexists(name) for name in names)
        card1.unplug()
        assert not any(os.path.lexists(name) for name in names)
        card1.plug()
    assert os.path.exists(card1.ready["serial"])


def test_two_cards_share_one_configuration_of_sound(card, tmp_path):
    """Shows: the system's configuration once, and a device for each card."""
    cards = [card("LL"), card("PP", name="card2")]
    text = pathlib.Path(analog.environment(tmp_path, cards)["ALSA_CONFIG_PATH"]).read_text()
    assert text.count("</usr/share/alsa/alsa.conf>") == 1 and [text.count(f"pcm.{one.name} ") for one in cards] == [1, 1]
    assert analog.environment(tmp_path, []) == {}
    assert 'kind = "linecard"' in cards[1].table() and cards[1].port(2) == "card2/2"
