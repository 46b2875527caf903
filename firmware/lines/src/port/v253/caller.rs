//! Who calls, as the chip writes it: `NMBR=5550100` and its like, a line each, with or without
//! blanks around the sign. Pure.

use tipring_model::{CallerId, Number};

/// Characters of a number and of a name at most.
const NUMBER_MAX: usize = 32;
const NAME_MAX: usize = 50;

/// The lines of one caller, as far as they have come.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct CallerText {
    /// Something has come.
    any: bool,
    caller: CallerId,
}

impl CallerText {
    /// Takes a line; whether it is of a caller.
    pub(super) fn take(&mut self, line: &str) -> bool {
        let Some((key, value)) = line.split_once('=') else { return false };
        let value = value.trim();
        match key.trim().to_ascii_uppercase().as_str() {
            "NMBR" | "DDN_NMBR" => {
                self.any = true;
                if let Some(number) = number(value) {
                    self.caller.number.get_or_insert(number);
                }
            }
            "NAME" => {
                self.any = true;
                let is_absent = matches!(value, "" | "P" | "O");
                let name = || value.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
                self.caller.name = (!is_absent).then(name);
            }
            // Of the call, but nothing is done with them.
            "DATE" | "TIME" | "MESG" => {}
            _ => return false,
        }
        true
    }

    /// The caller, if one has come: a name alone is one, and so is one who withheld both.
    pub(super) fn finish(&mut self) -> Option<CallerId> {
        let whole = std::mem::take(self);
        whole.any.then_some(whole.caller)
    }
}

/// `P` is private, `O` out of area; both are no number.
fn number(value: &str) -> Option<Number> {
    let plain: String = value.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    let dialled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '*' | '#');
    let fits = !plain.is_empty() && plain.len() <= NUMBER_MAX && plain.chars().all(dialled);
    fits.then(|| Number::new(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Option<(String, Option<String>)> {
        let mut text = CallerText::default();
        for line in lines {
            assert!(text.take(line), "{line}");
        }
        text.finish().map(|caller| (caller.number_or_anonymous().to_owned(), caller.name))
    }

    #[test]
    fn callers_are_read_with_and_without_blanks() {
        let ann = Some(("5550100".to_owned(), Some("Ann".to_owned())));
        assert_eq!(read(&["DATE=1129", "TIME=1405", "NMBR=5550100", "NAME=Ann"]), ann);
        assert_eq!(read(&["DATE = 1129", "TIME = 1405", "NAME = Ann", "NMBR = 555-0100"]), ann);
        assert_eq!(read(&["NMBR = P", "NAME = P"]), Some(("anonymous".to_owned(), None)));
        assert_eq!(read(&["NAME=Bob"]), Some(("anonymous".to_owned(), Some("Bob".to_owned()))));
        assert_eq!(read(&["DATE=1129", "MESG=0102"]), None);
        assert_eq!(read(&["NMBR=x;rm", "NAME="]), Some(("anonymous".to_owned(), None)));
        let mut text = CallerText::default();
        assert!(!text.take("RING") && !text.take("X=1") && text.finish().is_none());
    }
}
