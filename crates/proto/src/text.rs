//! A string that shares the bytes it was read from, or is the program's own.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    str,
};

use bytes::Bytes;

/// UTF-8 text in shared bytes: cloning it, or cutting it out of a larger
/// message, copies nothing.
#[derive(Clone)]
pub struct Text(Kind);

#[derive(Clone)]
enum Kind {
    /// A text of the program's own, which costs nothing to look at.
    Static(&'static str),
    Shared(Bytes),
}

// === impl Text ===

impl Text {
    /// A text that lives as long as the program.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Kind::Static(text))
    }

    /// Checks that `bytes` are UTF-8 and takes them as they are.
    ///
    /// # Errors
    ///
    /// Where the bytes are not UTF-8; the error says at which byte.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, str::Utf8Error> {
        str::from_utf8(&bytes)?;
        Ok(Self(Kind::Shared(bytes)))
    }

    /// The part of `whole` that `part` borrows from it.
    ///
    /// # Panics
    ///
    /// Where `part` does not lie in `whole`.
    pub(crate) fn slice_of(whole: &Bytes, part: &str) -> Self {
        Self(Kind::Shared(whole.slice_ref(part.as_bytes())))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Static(text) => text,
            // Checked again rather than assumed: without `unsafe` there is no
            // other way, and the strings kept this way are short.
            Kind::Shared(bytes) => str::from_utf8(bytes).expect("checked when it was made"),
        }
    }

    /// The bytes of the text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Static(text) => Bytes::from_static(text.as_bytes()),
            Kind::Shared(bytes) => bytes,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Static(text) => text.as_bytes(),
            Kind::Shared(bytes) => bytes,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from_static("")
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    /// As that of `str`, which is that of its bytes.
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    /// As `str` does it, so that a map of texts can be asked with a `str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Kind::Shared(Bytes::from(text)))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Kind::Shared(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
