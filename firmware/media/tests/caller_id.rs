//! Caller ID in four standards: a thousand messages each in noise, off their frequencies and
//! levels, cut and damaged.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod signals;

use signals::{Noise, floats, quantised, rms, rms_of};
use tipring_media::dsp::caller_id::{
    Absence, AlertToneDetector, CallerId, CallerIdReceiver, CallerIdSender, HeardMessage, LineMessage,
    LineTime, SendAs, Standard, Text, digits::Form,
};

const EVERY: [SendAs; 7] = [
    SendAs::Bellcore,
    SendAs::BellcoreSingle,
    SendAs::Etsi,
    SendAs::NumberDisplay,
    SendAs::Digits(Form::Etsi),
    SendAs::Digits(Form::Denmark),
    SendAs::Digits(Form::StartsWithD),
];

fn standard(send_as: SendAs) -> Standard {
    match send_as {
        SendAs::Bellcore | SendAs::BellcoreSingle => Standard::Bellcore,
        SendAs::Etsi => Standard::Etsi,
        SendAs::NumberDisplay => Standard::NumberDisplay,
        SendAs::Digits(_) => Standard::Dtmf,
    }
}

/// A caller, as far as the standard can tell of one.
fn caller(noise: &mut Noise, send_as: SendAs) -> CallerId {
    let number: String = (0..3 + noise.below(13)).map(|_| char::from(b'0' + noise.below(10) as u8)).collect();
    let absent = if noise.below(2) == 0 { Absence::Withheld } else { Absence::Unavailable };
    let name: String = (0..1 + noise.below(15)).map(|_| char::from(b'A' + noise.below(26) as u8)).collect();
    let time = LineTime::new(
        1 + noise.below(12) as u8,
        1 + noise.below(28) as u8,
        noise.below(24) as u8,
        noise.below(60) as u8,
    );
    let all = CallerId {
        date_time: time,
        number: if noise.below(8) == 0 { Err(absent) } else { Ok(Text::new(&number, 32)) },
        name: if noise.below(8) == 0 { Err(absent) } else { Ok(Text::new(&name, 50)) },
        called: (noise.below(4) == 0).then(|| Text::new("2017", 32)),
    };
    let nameless = Err(Absence::NotSent);
    match send_as {
        SendAs::Bellcore => CallerId { called: None, ..all },
        SendAs::BellcoreSingle => CallerId { called: None, name: nameless, ..all },
        SendAs::Etsi => all,
        SendAs::NumberDisplay => CallerId { name: nameless, ..all },
        SendAs::Digits(_) => CallerId { number: all.number, ..CallerId::default() },
    }
}

fn sound(message: &LineMessage, send_as: SendAs, during_call: bool) -> Vec<i16> {
    let mut sender = CallerIdSender::new(message, send_as, during_call).unwrap();
    let mut all = Vec::new();
    loop {
        let mut part = [0; 160];
        let written = sender.fill(&mut part);
        all.extend_from_slice(&part[..written]);
        if written < part.len() {
            return all;
        }
    }
}

fn heard(samples: &[i16]) -> (Vec<HeardMessage>, u32) {
    let mut receiver = CallerIdReceiver::default();
    let mut all = Vec::new();
    samples.chunks(160).for_each(|part| receiver.push(part, |heard| all.push(heard)));
    (all, receiver.damaged())
}

/// Silence around the sound, the whole `gain_db` louder, in noise `snr_db` below it.
fn line(sound: &[f64], gain_db: f64, snr_db: f64, noise: &mut Noise) -> Vec<i16> {
    let mut all = vec![0.0; 1_600 + noise.below(400)];
    all.extend(sound.iter().map(|x| x * 10f64.powf(gain_db / 20.0)));
    all.resize(all.len() + 6_400, 0.0);
    let sounding: Vec<f64> = all.iter().copied().filter(|x| *x != 0.0).collect();
    noise.over(&all, rms(&sounding) * 10f64.powf(-snr_db / 20.0))
}

/// The same sound, faster and higher by this factor, as from an exchange with another clock.
fn faster(sound: &[i16], by: f64) -> Vec<f64> {
    let last = sound.len() - 8;
    (8..)
        .map(|n| f64::from(n) * by)
        .take_while(|at| (*at as usize) < last)
        .map(|at| {
            let (whole, part) = (at as usize, at.fract());
            // Band-limited between the samples: a sinc under a Hann window of sixteen.
            (0..16)
                .map(|k| {
                    let x = part + 7.0 - f64::from(k);
                    let sinc = if x.abs() < 1e-9 {
                        1.0
                    } else {
                        (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI)
                    };
                    let window = 0.5 + 0.5 * (x / 8.0 * std::f64::consts::PI).cos();
                    f64::from(sound[whole + k as usize - 7]) * sinc * window
                })
                .sum::<f64>()
        })
        .collect()
}

#[test]
fn a_thousand_of_a_thousand_come_over_in_noise_of_20_db() {
    for send_as in EVERY {
        let mut noise = Noise(0xca11_e41d);
        let mut missed = 0;
        for _ in 0..1_000 {
            let message = LineMessage::Call(caller(&mut noise, send_as));
            let sent = floats(&sound(&message, send_as, noise.below(2) == 0));
            let gain = -20.0 + 25.0 * noise.uniform();
            let told = heard(&line(&sent, gain, 20.0, &mut noise));
            let expected = (vec![HeardMessage { standard: standard(send_as), message }], 0);
            missed += usize::from(told != expected);
            assert_eq!(told, expected, "{send_as:?} {gain:.1} dB");
        }
        println!("{send_as:?}: {} of 1000", 1_000 - missed);
    }
}

/// Where it breaks: 60 messages each.
#[test]
fn in_stronger_noise_most_come_over() {
    let marks = [
        (SendAs::Bellcore, 12.0, 60),
        (SendAs::Bellcore, 10.0, 59),
        (SendAs::Bellcore, 8.0, 52),
        (SendAs::Etsi, 12.0, 60),
        (SendAs::Etsi, 10.0, 59),
        (SendAs::Etsi, 8.0, 48),
        (SendAs::NumberDisplay, 10.0, 59),
        (SendAs::Digits(Form::Etsi), 12.0, 60),
    ];
    for (send_as, snr_db, least) in marks {
        let mut noise = Noise(7);
        let right = (0..60)
            .filter(|_| {
                let message = LineMessage::Call(caller(&mut noise, send_as));
                let sent = floats(&sound(&message, send_as, false));
                let (told, _) = heard(&line(&sent, -10.0, snr_db, &mut noise));
                told.first().map(|told| told.message) == Some(message)
            })
            .count();
        println!("{send_as:?} at {snr_db} dB: {right} of 60");
        assert!(right >= least, "{send_as:?} at {snr_db} dB: {right} of 60");
    }
}

#[test]
fn exchanges_with_another_clock_and_sloping_lines_are_heard() {
    for send_as in EVERY {
        let mut noise = Noise(11);
        for by in [0.985, 0.99, 1.01, 1.015] {
            for _ in 0..10 {
                let message = LineMessage::Call(caller(&mut noise, send_as));
                let sent = faster(&sound(&message, send_as, false), by);
                let told = heard(&line(&sent, -5.0, 25.0, &mut noise));
                assert_eq!(
                    told.0,
                    [HeardMessage { standard: standard(send_as), message }],
                    "{send_as:?} by {by}"
                );
            }
        }
        if matches!(send_as, SendAs::Digits(_)) {
            continue;
        }
        // A line of one pole or one zero: the frequencies differ by about 5 dB.
        for pole in [0.45, -0.45] {
            let message = LineMessage::Call(caller(&mut noise, send_as));
            let mut last = 0.0;
            let sent: Vec<f64> = floats(&sound(&message, send_as, false))
                .iter()
                .map(|x| {
                    last = x + pole * last;
                    last * 0.5
                })
                .collect();
            let told = heard(&line(&sent, 0.0, 25.0, &mut noise));
            assert_eq!(
                told.0,
                [HeardMessage { standard: standard(send_as), message }],
                "{send_as:?} pole {pole}"
            );
        }
    }
}

#[test]
fn messages_that_wait_come_over() {
    for send_as in [SendAs::Bellcore, SendAs::Etsi] {
        for (waiting, count) in [(true, Some(3)), (true, None), (false, None)] {
            let message = LineMessage::MessageWaiting { waiting, count };
            let (told, _) = heard(&line(&floats(&sound(&message, send_as, false)), 0.0, 30.0, &mut Noise(3)));
            assert_eq!(told, [HeardMessage { standard: standard(send_as), message }]);
        }
    }
    let waiting = LineMessage::MessageWaiting { waiting: true, count: None };
    for send_as in [SendAs::BellcoreSingle, SendAs::NumberDisplay, SendAs::Digits(Form::Etsi)] {
        assert!(CallerIdSender::new(&waiting, send_as, false).is_none());
    }
}

/// Cut anywhere, with a hole anywhere: nothing wrong is told, and the next message is heard.
#[test]
fn cut_and_damaged_messages_are_never_told_wrong() {
    for send_as in EVERY {
        let mut noise = Noise(23);
        let date_time = match send_as {
            SendAs::Digits(_) => None,
            SendAs::Bellcore | SendAs::BellcoreSingle | SendAs::Etsi | SendAs::NumberDisplay => {
                LineTime::new(11, 29, 23, 59)
            }
        };
        let number = Ok(Text::new("0312345678", 32));
        let message = LineMessage::Call(CallerId { date_time, number, ..CallerId::default() });
        let whole = sound(&message, send_as, false);
        let expected = HeardMessage { standard: standard(send_as), message };
        for _ in 0..60 {
            let cut = noise.below(whole.len());
            let mut samples = whole[..cut].to_vec();
            samples.resize(samples.len() + 8_000, 0);
            let first = samples.len();
            samples.extend(&whole);
            samples.resize(samples.len() + 8_000, 0);
            let mut receiver = CallerIdReceiver::default();
            let mut told = Vec::new();
            receiver.push(&samples[..first], |heard| told.push(heard));
            // Digits carry no checksum: a row that is cut is a shorter number.
            if !matches!(send_as, SendAs::Digits(_)) {
                assert!(told.iter().all(|heard| *heard == expected), "{send_as:?} cut at {cut}: {told:?}");
            }
            told.clear();
            receiver.push(&samples[first..], |heard| told.push(heard));
            assert_eq!(told, [expected], "{send_as:?} after a cut at {cut}");
        }
        if matches!(send_as, SendAs::Digits(_)) {
            continue;
        }
        for _ in 0..60 {
            let mut samples = whole.clone();
            let (from, length) = (noise.below(whole.len()), 10 + noise.below(200));
            for sample in samples.iter_mut().skip(from).take(length) {
                *sample = (rms_of(-10.0) * noise.normal()) as i16;
            }
            samples.resize(samples.len() + 8_000, 0);
            let (told, _) = heard(&samples);
            assert!(told.iter().all(|heard| *heard == expected), "{send_as:?} hole at {from}: {told:?}");
        }
    }
}

#[test]
fn a_damaged_message_is_counted_once() {
    let message =
        LineMessage::Call(CallerId { number: Ok(Text::new("0312345678", 32)), ..CallerId::default() });
    for send_as in [SendAs::Bellcore, SendAs::Etsi] {
        let mut samples = sound(&message, send_as, false);
        let hole = samples.len() - 500;
        samples[hole..hole + 60].fill(0);
        samples.resize(samples.len() + 8_000, 0);
        assert_eq!(heard(&samples), (Vec::new(), 1), "{send_as:?}");
    }
}

#[test]
fn noise_and_speech_are_no_messages_and_hold_no_alert_tone() {
    let speech = signals::speech(60);
    let mut alert = AlertToneDetector::default();
    let alerts = speech.chunks(160).filter(|part| alert.push(part)).count();
    println!("alert tones in an hour of speech: {alerts}");
    assert_eq!(alerts, 0);
    let (told, damaged) = heard(&speech[..8_000 * 60 * 10]);
    assert!(told.is_empty(), "{told:?}");
    println!("messages begun in ten minutes of speech: {damaged}");
    let white = quantised(&Noise(1).white(8_000 * 120, -20.0));
    assert_eq!(heard(&white).0, []);
}
