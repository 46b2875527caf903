//! Which part of a file a request asks for, RFC 9110 §14.1.2. Pure.

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Everything.
    Whole,
    /// From the first byte to the last, both counted from 0 and sent.
    Bytes {
        /// First.
        first: u64,
        /// Last, which the file has.
        last: u64,
    },
    /// No byte of what is asked for exists.
    Nowhere,
}

/// The part of a file of `bytes` that the field `Range` asks for. What is no range, names another
/// unit or several parts is answered with everything, as is allowed.
pub(super) fn part_of(range: Option<&str>, bytes: u64) -> Part {
    let Some(range) = range.and_then(|range| range.trim().split_once('=')) else { return Part::Whole };
    let (unit, set) = range;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Number::None, Number::Some(suffix)) => match suffix.min(bytes) {
            0 => Part::Nowhere,
            suffix => Part::Bytes { first: bytes - suffix, last: bytes - 1 },
        },
        (Number::Some(first), last @ (Number::None | Number::Some(_))) => {
            let last = if let Number::Some(last) = last { last } else { u64::MAX };
            if last < first {
                Part::Whole
            } else if first >= bytes {
                Part::Nowhere
            } else {
                Part::Bytes { first, last: last.min(bytes - 1) }
            }
        }
        (Number::None, Number::None) | (Number::Bad, _) | (_, Number::Bad) => Part::Whole,
    }
}

enum Number {
    None,
    Some(u64),
    Bad,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        Number::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is more than any file has.
        Number::Some(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_range_is_served_and_everything_else_is_not_one() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (range, expected) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=0-", bytes(0, 99)),
            ("Bytes =10-19", bytes(10, 19)),
            ("bytes= 10-19 ", bytes(10, 19)),
            ("bytes=90-500", bytes(90, 99)),
            ("bytes=-1", bytes(99, 99)),
            ("bytes=-500", bytes(0, 99)),
            ("bytes=99-99999999999999999999999999", bytes(99, 99)),
            ("bytes=100-", Part::Nowhere),
            ("bytes=99999999999999999999999999-", Part::Nowhere),
            ("bytes=-0", Part::Nowhere),
            ("bytes=5-4", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes", Part::Whole),
            ("seconds=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part_of(Some(range), 100), expected, "{range}");
        }
        assert_eq!(part_of(None, 100), Part::Whole);
        assert_eq!(part_of(Some("bytes=0-"), 0), Part::Nowhere);
        assert_eq!(part_of(Some("bytes=-5"), 0), Part::Nowhere);
    }
}
