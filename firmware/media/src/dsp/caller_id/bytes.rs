//! The bytes of one message, of fixed size.

/// Longest message: type, length, 255 bytes, checksum.
pub const MESSAGE_MAX: usize = 258;

/// Bytes put one after the other; what has no room is left out and noted.
#[derive(Clone, Copy, Debug)]
pub struct MessageBytes {
    bytes: [u8; MESSAGE_MAX],
    length: usize,
    overflowed: bool,
}

impl Default for MessageBytes {
    fn default() -> Self {
        Self { bytes: [0; MESSAGE_MAX], length: 0, overflowed: false }
    }
}

impl MessageBytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Whether something had no room.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Appends a byte.
    pub fn push(&mut self, byte: u8) {
        match self.bytes.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.overflowed = true,
        }
    }

    /// Appends a parameter: type, length and what it holds, if all of it has room.
    pub fn push_parameter(&mut self, kind: u8, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else {
            self.overflowed = true;
            return;
        };
        if self.length + 2 + value.len() > MESSAGE_MAX {
            self.overflowed = true;
            return;
        }
        self.push(kind);
        self.push(length);
        value.iter().for_each(|byte| self.push(*byte));
    }

    /// Takes all bytes away.
    pub fn clear(&mut self) {
        self.length = 0;
        self.overflowed = false;
    }

    /// Changes one byte that is there.
    pub(super) fn set(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.bytes.get_mut(at).filter(|_| at < self.length) {
            *place = byte;
        }
    }
}

/// Parameters one after the other: type, length, value. Ends at the first that is cut short, and
/// gives its type.
pub(super) fn parameters(mut rest: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8]), u8>> {
    core::iter::from_fn(move || {
        let (kind, after) = rest.split_first()?;
        let cut =
            after.split_first().and_then(|(length, after)| after.split_at_checked(usize::from(*length)));
        Some(match cut {
            Some((value, after)) => {
                rest = after;
                Ok((*kind, value))
            }
            None => {
                rest = &[];
                Err(*kind)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_end_at_the_one_that_is_cut() {
        let all: Vec<_> = parameters(&[1, 2, 8, 9, 7, 0, 2, 3, 1]).collect();
        assert_eq!(all, [Ok((1, &[8, 9][..])), Ok((7, &[][..])), Err(2)]);
        assert_eq!(parameters(&[5]).collect::<Vec<_>>(), [Err(5)]);
    }

    #[test]
    fn what_has_no_room_is_left_out_whole() {
        let mut bytes = MessageBytes::default();
        bytes.push_parameter(7, &[1; 250]);
        bytes.push_parameter(7, &[1; 5]);
        assert_eq!(bytes.as_slice().len(), 252);
        assert!(bytes.overflowed());
        bytes.clear();
        assert!(bytes.as_slice().is_empty() && !bytes.overflowed());
    }
}
