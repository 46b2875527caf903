//! Random numbers of the SIP lines.

/// Bits for SSRC and the like, asked of the system a page at a time.
pub(super) struct Random {
    page: [u8; 1_024],
    used: usize,
}

impl Random {
    pub(super) const fn new() -> Self {
        Self { page: [0; 1_024], used: 1_024 }
    }

    pub(super) fn next(&mut self) -> u128 {
        const BYTES: usize = 16;
        if self.used + BYTES > self.page.len() {
            // The daemon has read from the same source at its start.
            let _ = getrandom::fill(&mut self.page);
            self.used = 0;
        }
        let bytes = self.page.get(self.used..self.used + BYTES).and_then(|bytes| bytes.try_into().ok());
        self.used += BYTES;
        bytes.map_or(0, u128::from_ne_bytes)
    }

    /// RFC 8866 §5.2 wants a number that does not repeat; 62 bits read well everywhere.
    pub(super) fn session_id(&mut self) -> u64 {
        (self.next() as u64) >> 2
    }
}
