//! What the spool asks of a store, whatever engine is behind it.

use std::io;

/// The spool's own record, which is always there.
pub(crate) const NOTE: Seq = Seq(0);

/// Number of a record; rises by one with each that is put, and is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seq(pub u64);

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("the store cannot be written or read")]
    Io(#[from] io::Error),
    /// What is on the disk makes no sense to the engine.
    #[error("the store is damaged")]
    Damaged,
}

/// One change of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Writes a record, which may replace one of the same number.
    Put(Seq, Vec<u8>),
    /// Removes a record; one that is not there is no fault.
    Remove(Seq),
}

/// Records by number.
///
/// What was changed counts as done only after a [`sync`](Self::sync) that succeeded.
/// After one that failed nothing of the store may be believed any more: the system may
/// have dropped what it could not write (S2).
pub trait Store: Send {
    /// Makes all of these changes or, should the process or the power end meanwhile, none.
    ///
    /// # Errors
    /// [`StoreError`]; the store must then be given up.
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Returns once everything before it would survive the loss of power.
    ///
    /// # Errors
    /// [`StoreError`]; the store must then be given up.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Sees whether what is written still goes where the next opening finds it.
    ///
    /// # Errors
    /// [`StoreError`]; the store must then be given up.
    fn look(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// One record.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, seq: Seq) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every record, by rising number.
    ///
    /// # Errors
    /// [`StoreError`]; what was seen until then is good.
    fn each(&self, see: &mut dyn FnMut(Seq, &[u8])) -> Result<(), StoreError>;
}
