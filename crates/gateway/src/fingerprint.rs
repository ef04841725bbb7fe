//! A short word for a text of any length. Nobody can find two texts that have
//! the same: it is half of a SHA-256.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// How many digits a fingerprint has.
pub(crate) const DIGITS: usize = 32;

/// The text's fingerprint, in hexadecimal digits: the same in every process
/// and on every machine.
pub(crate) fn fingerprint(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref()[..DIGITS / 2].iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Whether this is how fingerprints look.
pub(crate) fn is_fingerprint(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_the_first_half_of_the_digest() {
        let empty = fingerprint("");
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb924");
        assert!(is_fingerprint(&empty));
        assert!(!is_fingerprint(&empty[1..]) && !is_fingerprint(&empty.to_uppercase()));
    }
}
