//! Reading a table of a TOML file key by key, so that everything that is
//! wrong with it is found at once, each with its place.

use std::{net::SocketAddr, num::ParseIntError, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Complaint, Findings},
    interpolate::{Variables, interpolate},
    place::{Origin, Placed, Source},
    units,
};

/// How many of something there may be: far above any use, and below what
/// would overflow.
const COUNTS: RangeInclusive<usize> = 1..=1_000_000;

/// What a file is read with.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'d> {
    /// The file.
    pub(crate) source: &'d Source,
    /// What `${NAME}` stands for.
    pub(crate) variables: Variables<'d>,
    /// What is wrong.
    pub(crate) findings: &'d Findings,
}

/// A table that is being read. [`Section::finish`] reports the keys that
/// nobody asked for.
pub(crate) struct Section<'d> {
    reading: Reading<'d>,
    table: &'d DeTable<'d>,
    known: Vec<&'static str>,
}

/// A value in the file.
pub(crate) struct Value<'d> {
    reading: Reading<'d>,
    value: &'d Spanned<DeValue<'d>>,
}

/// A string, before and after its variables are filled in.
pub(crate) struct Filled<'d> {
    /// As it is written in the file: what an error may show.
    pub(crate) written: &'d str,
    /// What it stands for: may be a secret.
    pub(crate) value: String,
}

// === impl Section ===

impl<'d> Section<'d> {
    /// Begins to read a whole document.
    pub(crate) fn root(reading: Reading<'d>, table: &'d DeTable<'d>) -> Self {
        Self { reading, table, known: Vec::new() }
    }

    /// The value of `key` as `read` reads it: `None` where it is not there,
    /// or unfit, which is reported.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Result<T, Complaint>,
    ) -> Option<T> {
        Some(self.placed(key, read)?.value)
    }

    /// As [`Section::read`], with its place.
    pub(crate) fn placed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'d>) -> Result<T, Complaint>,
    ) -> Option<Placed<T>> {
        self.known.push(key);
        let value = Value { reading: self.reading, value: self.table.get(key)? };
        match read(&value) {
            Ok(read) => Some(Placed { value: read, origin: value.origin() }),
            Err(complaint) => {
                value.report(complaint);
                None
            }
        }
    }

    /// Puts the value of `key` into `setting`, which keeps what it holds
    /// where there is none.
    pub(crate) fn set<T>(
        &mut self,
        key: &'static str,
        setting: &mut T,
        read: impl FnOnce(&Value<'d>) -> Result<T, Complaint>,
    ) {
        if let Some(value) = self.read(key, read) {
            *setting = value;
        }
    }

    /// Whether there is a key of that name.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The table under `key`.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Self> {
        self.read(key, Value::section)
    }

    /// All keys and values, in the order of the file, and where each key
    /// stands.
    pub(crate) fn entries(&self) -> Vec<(&'d str, Origin, Value<'d>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| {
                let origin = self.reading.source.origin(key.span().start);
                (&**key.get_ref(), origin, Value { reading: self.reading, value })
            })
            .collect()
    }

    /// What it is read with.
    pub(crate) fn reading(&self) -> Reading<'d> {
        self.reading
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, origin, _) in self.entries() {
            if self.known.contains(&key) {
                continue;
            }
            let expected: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
            let complaint = Complaint::UnknownKey {
                key: key.to_owned(),
                nearest: nearest(key, &self.known),
                expected: expected.join(", "),
            };
            self.reading.findings.report(origin, complaint);
        }
    }
}

// === impl Value ===

impl<'d> Value<'d> {
    /// Where it stands.
    pub(crate) fn origin(&self) -> Origin {
        self.reading.source.origin(self.value.span().start)
    }

    /// Something is wrong with it.
    pub(crate) fn report(&self, complaint: impl Into<Complaint>) {
        self.reading.findings.report(self.origin(), complaint);
    }

    /// A table.
    pub(crate) fn section(&self) -> Result<Section<'d>, Complaint> {
        let DeValue::Table(table) = self.value.get_ref() else {
            return Err(self.mistyped("a table"));
        };
        Ok(Section { reading: self.reading, table, known: Vec::new() })
    }

    /// A string with its variables filled in.
    pub(crate) fn filled(&self) -> Result<Filled<'d>, Complaint> {
        let DeValue::String(written) = self.value.get_ref() else {
            return Err(self.mistyped("a string"));
        };
        Ok(Filled { written, value: interpolate(written, self.reading.variables)? })
    }

    /// A string.
    pub(crate) fn string(&self) -> Result<String, Complaint> {
        Ok(self.filled()?.value)
    }

    /// Strings.
    pub(crate) fn strings(&self) -> Result<Vec<String>, Complaint> {
        let DeValue::Array(items) = self.value.get_ref() else {
            return Err(self.mistyped("an array of strings"));
        };
        let items = items.iter().map(|value| Value { reading: self.reading, value });
        Ok(items.filter_map(|item| item.string().map_err(|it| item.report(it)).ok()).collect())
    }

    /// One of some words.
    pub(crate) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Complaint> {
        let filled = self.filled()?;
        let found = words.iter().find(|(word, _)| *word == filled.value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            filled.unfit(format!("one of {}", words.join(", ")))
        })
    }

    /// Any number of some words.
    pub(crate) fn all_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<Vec<T>, Complaint> {
        let DeValue::Array(items) = self.value.get_ref() else {
            return Err(self.mistyped("an array of strings"));
        };
        let items = items.iter().map(|value| Value { reading: self.reading, value });
        Ok(items.filter_map(|it| it.one_of(words).map_err(|bad| it.report(bad)).ok()).collect())
    }

    /// Yes or no.
    pub(crate) fn boolean(&self) -> Result<bool, Complaint> {
        let DeValue::Boolean(is_so) = self.value.get_ref() else {
            return Err(self.mistyped("true or false"));
        };
        Ok(*is_so)
    }

    /// A number of things; at least one.
    pub(crate) fn count(&self) -> Result<usize, Complaint> {
        self.count_in(COUNTS)
    }

    /// A number of things; there may be none.
    pub(crate) fn count_or_zero(&self) -> Result<usize, Complaint> {
        self.count_in(0..=*COUNTS.end())
    }

    fn count_in(&self, counts: RangeInclusive<usize>) -> Result<usize, Complaint> {
        let written = self.integer()?;
        written.ok().filter(|count| counts.contains(count)).ok_or_else(|| Complaint::Unfit {
            wanted: format!("a number from {} to {}", counts.start(), counts.end()),
            written: self.written().to_owned(),
        })
    }

    /// A number of bytes from 1 KiB to 1 GiB.
    pub(crate) fn size(&self) -> Result<usize, Complaint> {
        const WANTED: &str = "a size from 1KiB to 1GiB, such as \"16MiB\"";
        let (size, written) = match self.value.get_ref() {
            DeValue::Integer(_) => (self.integer()?.ok(), self.written().to_owned()),
            _ => {
                let filled = self.filled()?;
                let size = units::size(&filled.value).and_then(|it| usize::try_from(it).ok());
                (size, format!("{:?}", filled.written))
            }
        };
        let is_fit = |size: &usize| (1 << 10..=1 << 30).contains(size);
        size.filter(is_fit).ok_or_else(|| Complaint::Unfit { wanted: WANTED.to_owned(), written })
    }

    /// A duration that is not nothing.
    pub(crate) fn duration(&self) -> Result<Duration, Complaint> {
        let filled = self.timed()?;
        units::duration(&filled.value)
            .filter(|it| !it.is_zero())
            .ok_or_else(|| filled.unfit("a duration, such as \"250ms\", \"30s\" or \"5m\""))
    }

    /// A duration that may be nothing.
    pub(crate) fn duration_or_zero(&self) -> Result<Duration, Complaint> {
        let filled = self.timed()?;
        units::duration(&filled.value)
            .ok_or_else(|| filled.unfit("a duration, such as \"0s\", \"250ms\" or \"30s\""))
    }

    /// An address to listen on.
    pub(crate) fn address(&self) -> Result<SocketAddr, Complaint> {
        let filled = self.filled()?;
        filled
            .value
            .parse()
            .map_err(|_| filled.unfit("an address and a port, such as \"127.0.0.1:8080\""))
    }

    fn timed(&self) -> Result<Filled<'d>, Complaint> {
        match self.value.get_ref() {
            DeValue::String(_) => self.filled(),
            _ => Err(self.mistyped("a string with a duration, such as \"30s\"")),
        }
    }

    fn integer(&self) -> Result<Result<usize, ParseIntError>, Complaint> {
        match self.value.get_ref() {
            DeValue::Integer(it) => Ok(usize::from_str_radix(it.as_str(), it.radix())),
            _ => Err(self.mistyped("an integer")),
        }
    }

    fn written(&self) -> &'d str {
        self.reading.source.text().get(self.value.span()).unwrap_or_default()
    }

    fn mistyped(&self, wanted: &'static str) -> Complaint {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        Complaint::Mistyped { wanted, found }
    }
}

// === impl Filled ===

impl Filled<'_> {
    /// It should have been something else.
    pub(crate) fn unfit(&self, wanted: impl Into<String>) -> Complaint {
        Complaint::Unfit { wanted: wanted.into(), written: format!("{:?}", self.written) }
    }
}

/// The known key that `key` was probably meant to be.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let close = known.iter().map(|known| (distance(key, known), *known));
    let (distance, nearest) = close.min()?;
    // More than a third of it wrong is another word.
    (distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// How many letters have to be added, left out or changed to make `a` of `b`
/// (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(!from.eq_ignore_ascii_case(&to));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let known = ["url", "transport", "call_timeout", "open_timeout"];
        for (key, meant) in [
            ("ur", Some("url")),
            ("URL", Some("url")),
            ("transprot", Some("transport")),
            ("calltimeout", Some("call_timeout")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known), meant, "{key}");
        }
    }
}
