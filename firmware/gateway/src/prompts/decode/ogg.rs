//! Ogg pages to packets (RFC 3533), of one logical stream in memory.
//!
//! A page whose check sum is wrong counts as lost, and so does a packet of which a part is
//! lost. What is no page is skipped.

/// Bytes of a page before its table of segments.
const HEADER_BYTES: usize = 27;
/// Longest packet that is put together, in bytes: an Opus packet of 120 ms has less, and what
/// is longer in front of the sound is a picture.
const PACKET_BYTES_MAX: usize = 65_536;
/// Broken pages after which the search for the next is given up. A page is up to 64 KiB long,
/// and each may be a false one that lies inside the one before.
const BROKEN_PAGES_MAX: usize = 100;

/// The page goes on with a packet of the one before.
const CONTINUED: u8 = 1;
/// The first page of a stream.
const FIRST: u8 = 2;
/// The last page of a stream.
const LAST: u8 = 4;

/// One page.
#[derive(Clone, Copy)]
struct Page<'a> {
    flags: u8,
    granule: Option<u64>,
    stream: u32,
    number: u32,
    segments: &'a [u8],
    body: &'a [u8],
}

/// The packets that end on one page.
pub(super) struct Packets {
    /// Those that are whole, in order.
    pub(super) whole: Vec<Vec<u8>>,
    /// The position at the end of the page, if the stream says it there.
    pub(super) granule: Option<u64>,
    /// Nothing follows.
    pub(super) is_last: bool,
}

/// Reads the first stream of a file, page by page.
pub(super) struct OggReader<'a> {
    rest: &'a [u8],
    stream: Option<u32>,
    next_number: Option<u32>,
    /// The beginning of a packet that the next page goes on with.
    begun: Option<Vec<u8>>,
    broken: usize,
    is_over: bool,
}

impl<'a> OggReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, stream: None, next_number: None, begun: None, broken: 0, is_over: false }
    }

    /// What the next page of the stream brings; none at its end.
    pub(super) fn next_page(&mut self) -> Option<Packets> {
        while !self.is_over {
            let Some(page) = self.find() else { break };
            let is_first = page.flags & FIRST != 0;
            let is_ours = match self.stream {
                None => is_first,
                Some(stream) => stream == page.stream && !is_first,
            };
            if is_ours {
                self.stream = Some(page.stream);
                return Some(self.take(page));
            }
        }
        self.is_over = true;
        None
    }

    /// The next page with a good check sum.
    fn find(&mut self) -> Option<Page<'a>> {
        while self.broken < BROKEN_PAGES_MAX {
            let at = self.rest.windows(4).position(|four| four == b"OggS")?;
            let from = self.rest.get(at..)?;
            if let Some((page, after)) = page(from) {
                self.rest = after;
                return Some(page);
            }
            self.broken += 1;
            self.rest = from.get(4..)?;
        }
        None
    }

    fn take(&mut self, page: Page<'a>) -> Packets {
        let mut packet = self.begun.take();
        let is_gap = self.next_number.is_some_and(|number| number != page.number);
        if is_gap || page.flags & CONTINUED == 0 {
            packet = None;
        }
        self.next_number = Some(page.number.wrapping_add(1));
        // Of a packet whose beginning is not there, the rest is passed over.
        let mut is_lost = page.flags & CONTINUED != 0 && packet.is_none();
        let mut whole = Vec::new();
        let mut body = page.body;
        for length in page.segments {
            // The table says how long the body is: this is never out of it.
            let (segment, after) = body.split_at_checked(usize::from(*length)).unwrap_or((body, &[]));
            body = after;
            if !is_lost {
                let packet = packet.get_or_insert_default();
                packet.extend_from_slice(segment);
                is_lost = packet.len() > PACKET_BYTES_MAX;
            }
            // A segment that is not full ends a packet (RFC 3533 §5).
            if *length < u8::MAX {
                let ended = packet.take();
                // One that is too long still counts as one: headers are told by their order.
                whole.push(if is_lost { Vec::new() } else { ended.unwrap_or_default() });
                is_lost = false;
            }
        }
        self.begun = if is_lost { None } else { packet };
        let is_last = page.flags & LAST != 0;
        self.is_over = is_last;
        Packets { whole, granule: page.granule, is_last }
    }
}

/// The page at the beginning of `bytes`, and what follows it.
fn page(bytes: &[u8]) -> Option<(Page<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [
        _,
        _,
        _,
        _,
        version,
        flags,
        g0,
        g1,
        g2,
        g3,
        g4,
        g5,
        g6,
        g7,
        s0,
        s1,
        s2,
        s3,
        n0,
        n1,
        n2,
        n3,
        c0,
        c1,
        c2,
        c3,
        count,
    ] = *header;
    if version != 0 {
        return None;
    }
    let (segments, rest) = rest.split_at_checked(usize::from(count))?;
    let length: usize = segments.iter().map(|length| usize::from(*length)).sum();
    let (body, after) = rest.split_at_checked(length)?;
    // The sum is taken with zeros in its own place (RFC 3533 §6).
    let before = header.get(..22)?;
    let sum = [before, &[0; 4], &[count], segments, body].into_iter().fold(0, crc);
    if sum != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    // "A special value of '-1' indicates that no packets finish on this page."
    let granule = u64::from_le_bytes([g0, g1, g2, g3, g4, g5, g6, g7]);
    let page = Page {
        flags,
        granule: (granule != u64::MAX).then_some(granule),
        stream: u32::from_le_bytes([s0, s1, s2, s3]),
        number: u32::from_le_bytes([n0, n1, n2, n3]),
        segments,
        body,
    };
    Some((page, after))
}

/// CRC-32 with the polynomial 0x04c11db7, not reflected, beginning with 0.
fn crc(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        let at = usize::from((sum >> 24) as u8 ^ byte);
        sum << 8 ^ CRC_OF_BYTE.get(at).copied().unwrap_or(0)
    })
}

const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    let mut rest: &mut [u32] = &mut table;
    while let Some((first, others)) = rest.split_first_mut() {
        let mut sum: u32 = at << 24;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000_0000 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 };
            bit += 1;
        }
        *first = sum;
        rest = others;
        at += 1;
    }
    table
};

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page with a good check sum.
    pub(crate) fn page_of(flags: u8, granule: u64, number: u32, segments: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = b"OggS\0".to_vec();
        bytes.push(flags);
        bytes.extend(granule.to_le_bytes());
        bytes.extend(7u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.push(segments.len() as u8);
        bytes.extend(segments);
        bytes.extend(body);
        sum_up(&mut bytes);
        bytes
    }

    /// Makes the check sum of a page right.
    fn sum_up(page: &mut [u8]) {
        page[22..26].fill(0);
        let sum = crc(0, page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
    }

    /// Makes the check sums of a file right, as far as its pages can be found.
    pub(crate) fn mend(mut file: &mut [u8]) {
        while file.len() >= HEADER_BYTES && file.starts_with(b"OggS") {
            let count = usize::from(file[26]);
            let segments = file.iter().skip(HEADER_BYTES).take(count);
            let length = HEADER_BYTES + count + segments.map(|length| usize::from(*length)).sum::<usize>();
            if length > file.len() {
                return;
            }
            let (page, after) = file.split_at_mut(length);
            sum_up(page);
            file = after;
        }
    }

    fn all(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut reader = OggReader::new(bytes);
        std::iter::from_fn(|| reader.next_page()).flat_map(|packets| packets.whole).collect()
    }

    #[test]
    fn the_check_sum_is_that_of_real_files() {
        let file = include_bytes!("../fixtures/mono-1000hz-750ms.opus");
        let packets = all(file);
        assert!(packets.len() > 38, "{}", packets.len());
        assert!(packets[0].starts_with(b"OpusHead") && packets[1].starts_with(b"OpusTags"));
    }

    #[test]
    fn packets_go_on_over_pages_and_are_lost_with_a_part() {
        let first = page_of(FIRST, 0, 0, &[3], b"abc");
        let second = page_of(0, 0, 1, &[2, 255], &[b"de".as_slice(), &[1; 255]].concat());
        let third = page_of(CONTINUED, 0, 2, &[255, 0, 1], &[[2; 255].as_slice(), b"f"].concat());
        let last = page_of(LAST, 0, 3, &[1], b"g");
        let long = [[1; 255], [2; 255]].concat();
        let file = [first.clone(), second.clone(), third.clone(), last.clone()].concat();
        let whole = [b"abc".to_vec(), b"de".to_vec(), long, b"f".to_vec(), b"g".to_vec()];
        assert_eq!(all(&file), whole);

        // Noise between pages, another stream, and what follows the end.
        let mut other = page_of(FIRST, 0, 0, &[3], b"xyz");
        other[14] = 8;
        sum_up(&mut other);
        let noisy = [&first, &b"OggS noise"[..], &other, &second, &third, &last, &first, &second].concat();
        assert_eq!(all(&noisy), whole);

        // Without its beginning, a packet is nothing, and what was begun is not gone on with.
        let gap = [first.clone(), third.clone(), last.clone()].concat();
        assert_eq!(all(&gap), [b"abc".to_vec(), vec![], b"f".to_vec(), b"g".to_vec()]);
        let hole = page_of(CONTINUED, 0, 5, &[1, 1], b"hi");
        let holed = all(&[first.clone(), second.clone(), hole].concat());
        assert_eq!(holed, [b"abc".to_vec(), b"de".to_vec(), vec![], b"i".to_vec()]);
        let mut broken = second;
        broken[30] ^= 1;
        assert_eq!(all(&[first, broken, last].concat()), [b"abc".to_vec(), b"g".to_vec()]);
    }

    #[test]
    fn a_packet_without_end_is_not_kept_and_false_pages_are_not_followed_forever() {
        let mut file = page_of(FIRST, 0, 0, &[1], b"a");
        for number in 1..10 {
            let flags = if number == 1 { 0 } else { CONTINUED };
            file.extend(page_of(flags, u64::MAX, number, &[255; 255], &[0; 255 * 255]));
        }
        file.extend(page_of(CONTINUED, 0, 10, &[1, 1], b"bc"));
        assert_eq!(all(&file), [b"a".to_vec(), vec![], b"c".to_vec()]);

        let good = page_of(FIRST, 0, 0, &[1], b"a");
        let false_pages = |count: usize| [b"OggS\x01".repeat(count), good.clone()].concat();
        assert_eq!(all(&false_pages(BROKEN_PAGES_MAX - 1)).len(), 1);
        assert!(all(&false_pages(BROKEN_PAGES_MAX)).is_empty());
    }
}
