//! Where recordings are reached by those who are told of them.

use core::fmt;
use std::cell::OnceCell;
use std::rc::Rc;

/// Makes the address of a recording from the name of its file without the ending.
type Address = Box<dyn Fn(&str) -> String>;

/// The addresses of recordings: below one that the owner has named, or served by the box itself,
/// which is known once it listens. Clones share that.
#[derive(Clone, Default)]
pub struct RecordingAddresses {
    base: String,
    served: Rc<OnceCell<Address>>,
}

/// The ending of every recording.
const ENDING: &str = ".wav";

impl RecordingAddresses {
    /// Below this address, unless the box [serves](Self::serve) them.
    #[must_use]
    pub fn under(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), served: Rc::default() }
    }

    /// From now on the box serves them: `address` gives where, for a name without its ending. The
    /// first one counts.
    pub fn serve(&self, address: impl Fn(&str) -> String + 'static) {
        let _ = self.served.set(Box::new(address));
    }

    /// Where the recording in the file `file` is reached.
    #[must_use]
    pub fn of(&self, file: &str) -> String {
        match self.served.get() {
            Some(served) => format!("{}{ENDING}", served(file.strip_suffix(ENDING).unwrap_or(file))),
            None => format!("{}/{file}", self.base),
        }
    }

    /// The same, if the box serves it.
    #[must_use]
    pub fn served(&self, file: &str) -> Option<String> {
        self.served.get().map(|_| self.of(file))
    }

    /// The same for applications that put an ending of their own behind it. Whoever else serves
    /// the files has them by their whole names.
    #[must_use]
    pub fn of_any_ending(&self, file: &str) -> String {
        match self.served.get() {
            Some(served) => served(file.strip_suffix(ENDING).unwrap_or(file)),
            None => self.of(file),
        }
    }
}

impl PartialEq for RecordingAddresses {
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base && self.served.get().is_some() == other.served.get().is_some()
    }
}

impl Eq for RecordingAddresses {}

impl fmt::Debug for RecordingAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingAddresses")
            .field("base", &self.base)
            .field("served", &self.served.get().is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_serves_them_once_it_listens() {
        let addresses = RecordingAddresses::under("https://files.test/kept/");
        let told = addresses.clone();
        assert_eq!(told.of("a-1.wav"), "https://files.test/kept/a-1.wav");
        assert_eq!(told.of_any_ending("a-1.wav"), "https://files.test/kept/a-1.wav");
        assert_eq!(told.served("a-1.wav"), None);
        addresses.serve(|stem| format!("http://box/recordings/5ea1/{stem}"));
        addresses.serve(|_| String::new());
        assert_eq!(told.of("a-1.wav"), "http://box/recordings/5ea1/a-1.wav");
        assert_eq!(told.of_any_ending("a-1.wav"), "http://box/recordings/5ea1/a-1");
        assert_eq!(told.served("a-1.wav").as_deref(), Some("http://box/recordings/5ea1/a-1.wav"));
        assert_ne!(told, RecordingAddresses::under("https://files.test/kept"));
    }
}
