//! What happens, as it happens.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Prints lines with their time and who did it. Clones print to the same screen.
#[derive(Clone)]
pub(super) struct Timeline {
    began: Instant,
    screen: Arc<Mutex<()>>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), screen: Arc::default() }
    }

    /// One line; `who` is one of a few short names.
    pub(super) fn say(&self, who: &str, what: &str) {
        // Held while printing, so that lines of several threads do not mix.
        let _screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{:8.3}  {who:<8} {what}", self.began.elapsed().as_secs_f64());
    }
}
