//! A disk with a volatile cache, and what a power cut leaves of it.
//!
//! What is written is in the cache until it is flushed, as in every drive and memory card
//! whose maker does not say otherwise. Pure: who asks for what, and when the power goes, is
//! given.

use std::collections::BTreeMap;

use tipring_testkit::random::Random;

/// What a drive writes in one piece, in bytes.
pub(crate) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// What becomes of the cache when the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// All of it is lost.
    Drop,
    /// Each group of so many sectors survives or does not, with equal chance: a drive writes
    /// its cache in any order.
    Half {
        /// 1 for a drive that tears, 8 for a card with pages of 4 KiB.
        group_sectors: u64,
    },
}

/// How much of the cache there was at the cut, in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AtCut {
    pub(crate) cached: usize,
    pub(crate) kept: usize,
}

/// A request that is not for whole sectors of this disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outside;

/// The disk.
pub(crate) struct Disk {
    durable: Vec<u8>,
    cache: BTreeMap<u64, Sector>,
    /// False from the cut on: the disk answers nothing any more.
    has_power: bool,
    /// Writes until the power goes, if it goes by writes.
    writes_left: Option<u32>,
}

impl Disk {
    /// A disk with power and an empty cache. An image that ends within a sector is filled up.
    pub(crate) fn new(mut image: Vec<u8>) -> Self {
        image.resize(image.len().next_multiple_of(SECTOR_BYTES), 0);
        Self { durable: image, cache: BTreeMap::new(), has_power: true, writes_left: None }
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.durable.len() as u64
    }

    /// Whether it still answers.
    pub(crate) fn has_power(&self) -> bool {
        self.has_power
    }

    /// Lets the power go right after the `writes`-th write from now.
    pub(crate) fn cut_after(&mut self, writes: u32) {
        self.writes_left = Some(writes);
    }

    /// Cuts the power.
    pub(crate) fn cut(&mut self) {
        self.has_power = false;
    }

    fn sectors(&self, offset: u64, length: usize) -> Result<std::ops::Range<u64>, Outside> {
        let sector = SECTOR_BYTES as u64;
        let end = offset.checked_add(length as u64).ok_or(Outside)?;
        if !offset.is_multiple_of(sector) || !end.is_multiple_of(sector) || end > self.bytes() {
            return Err(Outside);
        }
        Ok(offset / sector..end / sector)
    }

    fn durable(&mut self, sector: u64) -> &mut [u8] {
        // Only sectors of the disk come here: `sectors` has seen them.
        let at = usize::try_from(sector).unwrap_or(usize::MAX).saturating_mul(SECTOR_BYTES);
        self.durable.get_mut(at..at.saturating_add(SECTOR_BYTES)).unwrap_or_default()
    }

    /// What was written last, flushed or not.
    pub(crate) fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Outside> {
        let mut bytes = Vec::with_capacity(length);
        for sector in self.sectors(offset, length)? {
            match self.cache.get(&sector) {
                Some(cached) => bytes.extend_from_slice(cached),
                None => bytes.extend_from_slice(self.durable(sector)),
            }
        }
        Ok(bytes)
    }

    /// Writes into the cache; with `through` (FUA) past it.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], through: bool) -> Result<(), Outside> {
        let (pieces, _) = bytes.as_chunks::<SECTOR_BYTES>();
        for (sector, piece) in self.sectors(offset, bytes.len())?.zip(pieces) {
            if through {
                self.cache.remove(&sector);
                self.durable(sector).copy_from_slice(piece);
            } else {
                self.cache.insert(sector, *piece);
            }
        }
        if let Some(left) = &mut self.writes_left {
            *left = left.saturating_sub(1);
            self.has_power &= *left > 0;
        }
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(crate) fn flush(&mut self) {
        for (sector, piece) in std::mem::take(&mut self.cache) {
            self.durable(sector).copy_from_slice(&piece);
        }
    }

    /// What is found when the power is back.
    pub(crate) fn after_cut(mut self, fate: Fate, random: &mut Random) -> (Vec<u8>, AtCut) {
        let cache = std::mem::take(&mut self.cache);
        let mut at_cut = AtCut { cached: cache.len(), kept: 0 };
        if let Fate::Half { group_sectors } = fate {
            let mut group = None;
            let mut survives = false;
            for (sector, piece) in cache {
                if group != Some(sector / group_sectors) {
                    group = Some(sector / group_sectors);
                    survives = random.below(2) == 0;
                }
                if survives {
                    self.durable(sector).copy_from_slice(&piece);
                    at_cut.kept += 1;
                }
            }
        }
        (self.durable, at_cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTORS: usize = 64;

    fn disk() -> Disk {
        Disk::new(vec![0; SECTORS * SECTOR_BYTES])
    }

    fn after(disk: Disk, fate: Fate) -> Vec<u8> {
        disk.after_cut(fate, &mut Random::new(1))
            .0
            .as_chunks::<SECTOR_BYTES>()
            .0
            .iter()
            .map(|s| s[0])
            .collect()
    }

    #[test]
    fn what_was_flushed_survives_and_what_was_not_is_read_but_lost() {
        let mut disk = disk();
        disk.write(0, &[1; SECTOR_BYTES], false).unwrap();
        disk.flush();
        disk.write(0, &[2; 2 * SECTOR_BYTES], false).unwrap();
        disk.write(1_024, &[3; SECTOR_BYTES], true).unwrap();
        assert_eq!(disk.read(0, 3 * SECTOR_BYTES).unwrap()[..], [[2; 1_024].as_slice(), &[3; 512]].concat());
        assert_eq!(after(disk, Fate::Drop)[..4], [1, 0, 3, 0]);
    }

    #[test]
    fn a_write_past_the_cache_is_not_undone_by_what_the_cache_held() {
        let mut disk = disk();
        disk.write(0, &[1; SECTOR_BYTES], false).unwrap();
        disk.write(0, &[2; SECTOR_BYTES], true).unwrap();
        disk.flush();
        assert_eq!(after(disk, Fate::Drop)[0], 2);
    }

    #[test]
    fn about_half_of_the_cache_survives_in_whole_groups() {
        for group_sectors in [1, 8] {
            let mut disk = disk();
            disk.write(0, &[1; SECTORS * SECTOR_BYTES], false).unwrap();
            let left = after(disk, Fate::Half { group_sectors });
            let kept = left.iter().filter(|first| **first == 1).count();
            assert!((8..=56).contains(&kept), "{kept} of {SECTORS}, groups of {group_sectors}");
            let groups = left.chunks(usize::try_from(group_sectors).unwrap());
            assert!(groups.into_iter().all(|group| group.iter().all(|first| *first == group[0])));
        }
    }

    #[test]
    fn the_power_goes_right_after_the_write_that_was_named() {
        let mut disk = disk();
        disk.cut_after(2);
        disk.write(0, &[1; SECTOR_BYTES], false).unwrap();
        assert!(disk.has_power());
        disk.write(0, &[2; SECTOR_BYTES], false).unwrap();
        assert!(!disk.has_power());
        assert_eq!(disk.after_cut(Fate::Drop, &mut Random::new(1)).1, AtCut { cached: 1, kept: 0 });
    }

    #[test]
    fn what_lies_outside_or_between_sectors_is_refused() {
        let mut disk = disk();
        for (offset, length) in
            [(1, 512), (0, 511), (disk.bytes(), 512), (u64::MAX - 511, 512), (disk.bytes() - 512, 1_024)]
        {
            assert_eq!(disk.read(offset, length), Err(Outside), "{offset} {length}");
            assert_eq!(disk.write(offset, &vec![0; length], false), Err(Outside), "{offset} {length}");
        }
        assert_eq!(Disk::new(vec![7; 513]).bytes(), 1_024);
    }
}
