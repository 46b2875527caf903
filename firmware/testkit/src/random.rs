//! Numbers that are the same for the same seed.

/// A small generator (splitmix64): for tests and mutations, never for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// `bytes` with one to five random changes: bytes flipped, inserted, removed,
    /// stretches doubled or cut.
    #[must_use]
    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        const LENGTH_MAX: usize = 65_536;
        let mut mutated = bytes.to_vec();
        for _ in 0..=self.below(5) {
            let at = self.below(mutated.len() + 1);
            match self.below(5) {
                0 if at < mutated.len() => {
                    if let Some(byte) = mutated.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                1 => mutated.insert(at, (self.next() & 0xff) as u8),
                2 if at < mutated.len() => {
                    mutated.remove(at);
                }
                3 => {
                    let end = (at + self.below(40)).min(mutated.len());
                    let stretch = mutated.get(at..end).unwrap_or(&[]).to_vec();
                    mutated.splice(at..at, stretch);
                }
                _ => {
                    let end = (at + self.below(20)).min(mutated.len());
                    mutated.drain(at..end);
                }
            }
        }
        mutated.truncate(LENGTH_MAX);
        mutated
    }
}
