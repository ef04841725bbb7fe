//! Walks over JSON text and builds nothing of it (RFC 8259).

/// How deep what is scanned may be nested.
const DEEPEST: usize = 64;

/// A place in JSON text. What it walks over is JSON; `None` says only that a
/// parser is to look at the text.
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

// === impl Scanner ===

impl<'t> Scanner<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Walks over an object and gives each member to `take`, with the value as
    /// it is written; stops where that is `None`, or a name has escapes.
    pub(crate) fn members(
        &mut self,
        mut take: impl FnMut(&'t str, &'t str) -> Option<()>,
    ) -> Option<()> {
        self.skip_space();
        self.list(b'{', b'}', |scanner| {
            let name = scanner.slice(Self::string)?;
            let name = &name[1..name.len() - 1];
            scanner.colon()?;
            let value = scanner.slice(|scanner| scanner.value(DEEPEST))?;
            if name.contains('\\') {
                return None;
            }
            take(name, value)
        })
    }

    /// Whether nothing follows.
    pub(crate) fn end(mut self) -> Option<()> {
        self.skip_space();
        (self.at == self.text.len()).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.list(b'{', b'}', |scanner| {
                    scanner.string()?;
                    scanner.colon()?;
                    scanner.value(depth)
                })
            }
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.list(b'[', b']', |scanner| scanner.value(depth))
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => None,
        }
    }

    /// Items between brackets, with commas and space between them.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.skip_space();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.skip_space();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
            self.skip_space();
        }
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at += plain_length(&self.text.as_bytes()[self.at..]);
            if self.take(b'"').is_some() {
                return Some(());
            }
            self.take(b'\\')?;
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Option<()> {
        let digits = match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' => 4,
            _ => return None,
        };
        self.at += 1;
        let code = self.text.as_bytes().get(self.at..self.at + digits)?;
        self.at += digits;
        code.iter().all(u8::is_ascii_hexdigit).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let begin = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begin).then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_here = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if is_here {
            self.at += word.len();
        }
        is_here.then_some(())
    }

    fn colon(&mut self) -> Option<()> {
        self.skip_space();
        self.take(b':')?;
        self.skip_space();
        Some(())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here.then_some(())
    }

    /// What `walk` has walked over.
    fn slice(&mut self, walk: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'t str> {
        let begin = self.at;
        walk(self)?;
        self.text.get(begin..self.at)
    }
}

/// How many bytes come before the first that a string cannot hold as it is: a
/// quote, a backslash, a control character.
fn plain_length(bytes: &[u8]) -> usize {
    // Most strings are short, and those that are not are mostly long.
    let plain = plain_words(&bytes[..bytes.len().min(BLOCK)]);
    if plain < BLOCK {
        return plain;
    }
    let plain = plain + plain_blocks(&bytes[plain..]);
    plain + plain_words(&bytes[plain..])
}

/// The same, looking at eight bytes in one go.
fn plain_words(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is less than `limit`, and perhaps of bytes
    // after it.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = quote | backslash | below(word, 0x20);
        if special != 0 {
            return 8 * index + special.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| is_special(*byte));
    8 * words.len() + in_rest.unwrap_or(rest.len())
}

/// How many bytes at the beginning are in whole blocks without any special one.
/// A block is looked at to its end, whatever is in it, and without a branch:
/// that is what compilers can do with the widest registers there are.
fn plain_blocks(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let is_plain = |block: &&[u8; BLOCK]| {
        block.iter().fold(0, |found, byte| found | u8::from(is_special(*byte))) == 0
    };
    BLOCK * blocks.iter().take_while(is_plain).count()
}

/// Four of the registers that every x86-64 has.
const BLOCK: usize = 64;

const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::plain_length;

    fn first_special(bytes: &[u8]) -> usize {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
        bytes.iter().position(is_special).unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn eight_bytes_in_one_go_are_what_they_are_one_by_one(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(b'a'), 0x19..0x24_u8, 0x5b..0x5e_u8],
                0..40,
            ),
        ) {
            prop_assert_eq!(plain_length(&bytes), first_special(&bytes));
        }

        #[test]
        fn whole_blocks_in_one_go_are_what_they_are_one_by_one(
            mut bytes in prop::collection::vec(
                prop_oneof![Just(b'a'), 0x20..0x22_u8, 0x23..0x5c_u8, 0x5d_u8..],
                0..300,
            ),
            specials in prop::collection::vec(
                (0..300_usize, prop_oneof![0..0x20_u8, Just(b'"'), Just(b'\\')]),
                0..3,
            ),
        ) {
            for (at, special) in specials {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = special;
                }
            }
            prop_assert_eq!(plain_length(&bytes), first_special(&bytes));
        }
    }

    #[test]
    fn a_byte_that_is_special_is_found_wherever_in_a_block_it_is() {
        for at in 0..200 {
            for special in [b'"', b'\\', 0x1f, 0] {
                let mut bytes = [b'x'; 200];
                bytes[at] = special;
                assert_eq!(plain_length(&bytes), at);
            }
        }
    }
}
