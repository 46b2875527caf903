//! Who is served at one time, by address: so that nobody takes every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Those who are served.
#[derive(Clone, Debug)]
pub(crate) struct Guests {
    of: Arc<Mutex<HashMap<IpAddr, usize>>>,
    all_max: usize,
    of_one_max: usize,
}

/// The place of one; dropping it gives it to another.
#[derive(Debug)]
pub(crate) struct Place {
    guests: Guests,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// Everybody together has them all.
    All,
    /// This address has as many as one may have.
    OfOne,
}

impl Guests {
    /// So many places, and so many for one address.
    pub(crate) fn new(all_max: usize, of_one_max: usize) -> Self {
        Self { of: Arc::default(), all_max, of_one_max }
    }

    /// Gives a place to `address`.
    pub(crate) fn take_in(&self, address: IpAddr) -> Result<Place, Full> {
        let mut guests = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = guests.values().sum();
        let own = guests.get(&address).copied().unwrap_or(0);
        if own >= self.of_one_max {
            return Err(Full::OfOne);
        }
        if all >= self.all_max {
            return Err(Full::All);
        }
        guests.insert(address, own + 1);
        Ok(Place { guests: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = guests.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_every_place() {
        let guests = Guests::new(64, 48);
        let one: IpAddr = [192, 168, 1, 2].into();
        let places: Vec<_> = std::iter::from_fn(|| guests.take_in(one).ok()).take(100).collect();
        assert_eq!((places.len(), guests.take_in(one).err()), (48, Some(Full::OfOne)));
        let others = (0..=255).filter_map(|last| guests.take_in([10, 0, 0, last].into()).ok());
        let others: Vec<_> = others.collect();
        assert_eq!((others.len(), guests.take_in([10, 0, 0, 99].into()).err()), (16, Some(Full::All)));
        assert!(guests.of.lock().unwrap().len() <= 64, "who was refused is remembered");
        drop((places, others));
        assert!(guests.take_in(one).is_ok());
    }
}
