//! Ids that nobody can guess.

use std::fmt::Write as _;

use wharf_proto::SessionId;

/// 128 bits: what nobody guesses, and what the gateway's ids must hold.
const RANDOM_BYTES: usize = 16;

/// How many digits an [`unguessable`] id has.
pub const ID_DIGITS: usize = 2 * RANDOM_BYTES;

/// A new session id: 128 random bits in hexadecimal.
///
/// # Panics
///
/// Where the operating system has no randomness to give. Nothing safe can be
/// done then.
#[must_use]
pub fn unguessable() -> SessionId {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    let mut text = String::with_capacity(ID_DIGITS);
    for byte in random {
        let _ = write!(text, "{byte:02x}");
    }
    SessionId::new(text).expect("hexadecimal digits are visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_long_hexadecimal_and_all_different() {
        let ids: HashSet<_> = (0..1000).map(|_| unguessable()).collect();
        assert_eq!(ids.len(), 1000);
        for id in &ids {
            assert_eq!(id.expose().len(), 32);
            assert!(id.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
