//! Tags, branches and Call-IDs that nobody can guess: SHA-256 in counter mode over a seed.

use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(crate) struct Random {
    seed: [u8; 32],
    counter: u64,
    block: [u64; 4],
    left: usize,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Random {
        Random { seed, counter: 0, block: [0; 4], left: 0 }
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        if self.left == 0 {
            let mut hash = Sha256::new();
            hash.update(self.seed);
            hash.update(self.counter.to_le_bytes());
            self.counter += 1;
            let out = hash.finalize();
            for (word, bytes) in self.block.iter_mut().zip(out.chunks_exact(8)) {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                *word = u64::from_le_bytes(eight);
            }
            self.left = self.block.len();
        }
        self.left -= 1;
        self.block.get(self.left).copied().unwrap_or(0)
    }

    /// Uniform enough for jitter: 0 to `below - 1`; 0 when `below` is 0.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        if below == 0 { 0 } else { self.next_u64() % below }
    }
}
