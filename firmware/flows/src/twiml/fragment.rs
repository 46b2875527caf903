//! What an author may say in the fragment of an address about how it is asked: `#rc=2&rp=rt`.

use std::time::Duration;

/// How long is waited where nothing is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For a connection.
    pub(super) connect: Duration,
    /// For a complete answer.
    pub(super) whole: Duration,
}

/// How a request is made and repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Manner {
    /// Longest wait for a connection.
    pub(super) connect: Duration,
    /// Longest wait of one hop.
    pub(super) hop: Duration,
    /// Longest wait of all hops together.
    pub(super) total: Duration,
    /// How often it is repeated.
    pub(super) retries: u32,
    /// Repeated when the server was not reached.
    pub(super) on_connect: bool,
    /// Repeated when the answer was not complete in time.
    pub(super) on_read: bool,
    /// Repeated for a status from 400 to 499.
    pub(super) on_4xx: bool,
    /// Repeated for a status from 500.
    pub(super) on_5xx: bool,
}

impl Manner {
    /// How it is done where nothing is said.
    pub(super) const fn usual(waits: Waits) -> Self {
        Self {
            connect: waits.connect,
            hop: waits.whole,
            total: waits.whole,
            retries: 1,
            on_connect: true,
            on_read: false,
            on_4xx: false,
            on_5xx: false,
        }
    }

    /// The usual manner, and what the fragment of `url` changes about it. A fragment that is
    /// none of ours changes nothing.
    ///
    /// # Errors
    /// Something in it cannot be read or is out of its range: it counts for nothing as a whole.
    pub(super) fn of(url: &str, waits: Waits) -> Result<Self, ()> {
        let mut manner = Self::usual(waits);
        let timeout = waits.whole;
        let Some((_, fragment)) = url.split_once('#') else { return Ok(manner) };
        for (key, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = |min: u64, max: u64| {
                value.parse::<u64>().ok().filter(|number| (min..=max).contains(number)).ok_or(())
            };
            match key {
                "ct" => manner.connect = Duration::from_millis(number(100, 10_000)?).min(timeout),
                "rt" => manner.hop = Duration::from_millis(number(100, 15_000)?).min(timeout),
                "tt" => manner.total = Duration::from_millis(number(100, 15_000)?).min(timeout),
                "rc" => manner.retries = u32::try_from(number(0, 5)?).map_err(|_| ())?,
                "rp" => manner.repeat_on(value)?,
                _ => {}
            }
        }
        Ok(manner)
    }

    fn repeat_on(&mut self, words: &str) -> Result<(), ()> {
        (self.on_connect, self.on_read, self.on_4xx, self.on_5xx) = (false, false, false, false);
        for word in words.split(',') {
            match word {
                "ct" => self.on_connect = true,
                "rt" => self.on_read = true,
                "4xx" => self.on_4xx = true,
                "5xx" => self.on_5xx = true,
                "all" => (self.on_connect, self.on_read, self.on_4xx, self.on_5xx) = (true, true, true, true),
                _ => return Err(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_changes_what_it_names_or_nothing_at_all() {
        let waits = |whole| Waits { connect: Duration::from_secs(5), whole: Duration::from_secs(whole) };
        let fifteen = waits(15);
        let usual = Manner::usual(fifteen);
        let manner = |url: &str| Manner::of(url, fifteen);
        assert_eq!(manner("http://a/"), Ok(usual));
        assert_eq!(manner("http://a/#top"), Ok(usual));
        assert_eq!(manner("http://a/#e=ashburn&sni=n"), Ok(usual));
        let changed = manner("http://a/#ct=100&rt=2000&tt=4000&rc=5&rp=5xx,rt").unwrap();
        assert_eq!(changed.connect.as_millis(), 100);
        assert_eq!((changed.hop.as_millis(), changed.total.as_millis(), changed.retries), (2_000, 4_000, 5));
        assert!(changed.on_5xx && changed.on_read && !changed.on_connect && !changed.on_4xx);
        for bad in ["rp=maybe", "rc=6", "rc=x", "rt=99", "tt=15001", "ct=1"] {
            assert_eq!(manner(&format!("http://a/#{bad}")), Err(()), "{bad}");
        }
        assert_eq!(Manner::of("http://a/#rt=15000", waits(5)).unwrap().hop.as_secs(), 5);
    }
}
