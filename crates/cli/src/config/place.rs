//! Where a setting stands.

use std::{fmt, fs, io, path::Path, sync::Arc};

use super::error::Complaint;

/// The text of a configuration file, and the name it was given by.
#[derive(Debug)]
pub(crate) struct Source {
    name: Arc<str>,
    text: String,
}

/// A place in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    file: Arc<str>,
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It stands in a file.
    File(Place),
    /// It is a whole file.
    Whole(Arc<str>),
    /// It was given with this flag.
    Flag(&'static str),
    /// It is missing everywhere.
    Nowhere,
    /// It was not given; this flag would change it.
    Default(&'static str),
}

/// A setting, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    /// The setting.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

// === impl Source ===

impl Source {
    /// Takes text as if it had been read from a file of that name.
    pub(crate) fn new(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        let (name, text) = (name.into(), text.into());
        // An editor's byte order mark is neither TOML nor JSON.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Self { name, text }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is not UTF-8.
    pub(crate) fn read(path: &Path) -> Result<Self, (Origin, Complaint)> {
        let name: Arc<str> = path.display().to_string().into();
        let text = fs::read(path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                io::Error::new(io::ErrorKind::InvalidData, format!("byte {at} is not UTF-8"))
            })
        });
        match text {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => Err((Origin::Whole(name), Complaint::Unreadable(error.to_string()))),
        }
    }

    /// What the file says.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The whole file.
    pub(crate) fn whole(&self) -> Origin {
        Origin::Whole(Arc::clone(&self.name))
    }

    /// The place of the byte `offset`.
    pub(crate) fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File(Place {
            file: Arc::clone(&self.name),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }

    /// The place of a line and a column, both counted from 1.
    pub(crate) fn origin_at(&self, line: usize, column: usize) -> Origin {
        let (line, column) = (line.max(1), column.max(1));
        Origin::File(Place { file: Arc::clone(&self.name), line, column })
    }

    /// The place of a part of this source's text.
    pub(crate) fn origin_of(&self, part: &str) -> Origin {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        self.origin(offset)
    }
}

// === impl Place ===

impl Place {
    /// The file, by the name it was given by.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1.
    pub(crate) const fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, counted from 1.
    pub(crate) const fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

// === impl Origin ===

impl Origin {
    /// Whether both stand in one file.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        matches!((self, other), (Self::File(one), Self::File(other)) if one.file == other.file)
    }

    /// The line and the column in the file, where there is one.
    pub(crate) const fn position(&self) -> Option<(usize, usize)> {
        match self {
            Self::File(place) => Some((place.line, place.column)),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::Whole(file) => f.write_str(file),
            Self::Flag(flag) => f.write_str(flag),
            Self::Nowhere => f.write_str("nowhere"),
            Self::Default(flag) => write!(f, "the default; choose with {flag}"),
        }
    }
}

// === impl Placed ===

impl<T> Placed<T> {
    /// A setting given with a flag.
    pub(crate) const fn by_flag(value: T, flag: &'static str) -> Self {
        Self { value, origin: Origin::Flag(flag) }
    }

    /// A setting that was not given and that a flag would change.
    pub(crate) const fn by_default(value: T, flag: &'static str) -> Self {
        Self { value, origin: Origin::Default(flag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new("f", "a\n\u{e9}\u{e9}b\n");
        for (offset, place) in [(0, "f:1:1"), (2, "f:2:1"), (6, "f:2:3"), (8, "f:3:1")] {
            assert_eq!(source.origin(offset).to_string(), place, "{offset}");
        }
        let part = &source.text()[6..7];
        assert_eq!(source.origin_of(part).to_string(), "f:2:3");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(Source::new("f", "\u{feff}a = 1").text(), "a = 1");
    }
}
