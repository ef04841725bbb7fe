//! JSON text that is kept as it was written, and the tool that changes a part
//! of it without touching the rest.

use std::{borrow::Cow, fmt, ops::Range, str, sync::Arc};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

mod scan;

pub(crate) use scan::Scanner;

use crate::Text;

/// One JSON value as the text it was written in: key order, big integers,
/// white space and all. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Bytes);

/// Text that is not JSON; says where it stops being so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotJson {
    /// The bytes are not UTF-8.
    #[error("byte {offset} is not UTF-8")]
    NotUtf8 {
        /// How many bytes before it are.
        offset: usize,
    },
    /// The text breaks JSON's grammar.
    #[error("line {} column {}", source.line(), source.column())]
    Syntax {
        /// What the parser expected, and where.
        #[source]
        source: Arc<serde_json::Error>,
    },
}

/// Changes parts of one JSON text; every byte outside the parts stays.
///
/// Parts are values cut out of that same text (by [`Json::field`] and the
/// like), so no path has to be walked twice. They must not overlap.
#[derive(Debug)]
pub struct Splice {
    text: Bytes,
    /// Mostly there is one, the id of a message.
    first: Option<Cut>,
    more: Vec<Cut>,
}

#[derive(Debug)]
struct Cut {
    range: Range<usize>,
    with: Bytes,
}

// === impl Json ===

impl Json {
    /// Checks that `text` is one JSON value and takes it as it is.
    ///
    /// # Errors
    ///
    /// [`NotJson`] where it is not, with the place.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, NotJson> {
        let bytes = text.into();
        let raw: &RawValue = serde_json::from_str(utf8(&bytes)?)?;
        let trimmed = bytes.slice_ref(raw.get().as_bytes());
        Ok(Self(trimmed))
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    ///
    /// Where `value` cannot be JSON, such as a map whose keys are no strings.
    pub fn from_value<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(|text| Self(text.into()))
    }

    /// The value `{}`.
    #[must_use]
    pub const fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// A JSON string that holds `text`.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::from_value(text).expect("every str is a JSON string")
    }

    /// A JSON number.
    #[must_use]
    pub fn number(number: i64) -> Self {
        Self(Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes()))
    }

    /// Takes text that is known to be JSON because this crate wrote it.
    pub(crate) fn trusted(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }

    /// The part of `whole` that `part`, which is JSON, borrows from it.
    pub(crate) fn slice_of(whole: &Bytes, part: &str) -> Self {
        Self(whole.slice_ref(part.as_bytes()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("JSON is checked to be UTF-8 when it is made")
    }

    /// The bytes of the text.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of the text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The value in bytes of its own: for one who keeps it, while the message
    /// that it was cut out of, and the buffer around that, are let go.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Reads the value into a type of the caller's.
    ///
    /// # Errors
    ///
    /// Where the value has another shape than `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// The string this value is, without its quotes and escapes.
    #[must_use]
    pub fn to_text(&self) -> Option<Text> {
        match self.read::<Borrowed<'_>>().ok()?.0 {
            Cow::Borrowed(text) => Some(Text::slice_of(&self.0, text)),
            Cow::Owned(text) => Some(text.into()),
        }
    }

    /// The value of a member of this object: `None` where this is no object
    /// or has no such member. Of a member named twice, the last.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Self> {
        if !self.is_object() {
            return None;
        }
        let mut de = serde_json::Deserializer::from_slice(&self.0);
        let raw = de.deserialize_map(Field(name)).ok()??;
        Some(Self::slice_of(&self.0, raw.get()))
    }

    /// A member of a member, and so on.
    #[must_use]
    pub fn path(&self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self.clone(), |json, name| json.field(name))
    }

    /// The members of this array: `None` where it is no array.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Self>> {
        let raws: Vec<&RawValue> = self.read().ok()?;
        Some(raws.into_iter().map(|raw| Self::slice_of(&self.0, raw.get())).collect())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Bytes::from(String::from(Box::<str>::from(raw)))))
    }
}

pub(crate) fn utf8(bytes: &Bytes) -> Result<&str, NotJson> {
    str::from_utf8(bytes).map_err(|error| NotJson::NotUtf8 { offset: error.valid_up_to() })
}

// === impl NotJson ===

impl From<serde_json::Error> for NotJson {
    fn from(source: serde_json::Error) -> Self {
        Self::Syntax { source: Arc::new(source) }
    }
}

// === impl Splice ===

impl Splice {
    /// Begins to change `json`.
    #[must_use]
    pub fn of(json: &Json) -> Self {
        Self { text: json.0.clone(), first: None, more: Vec::new() }
    }

    /// Puts `with` in the place of `part`.
    ///
    /// # Panics
    ///
    /// Where `part` was not cut out of this splice's text.
    #[must_use]
    pub fn replace(self, part: &Json, with: &Json) -> Self {
        let range = offset_of(&self.text, &part.0);
        self.cut(range, with.0.clone())
    }

    /// Adds a member to `object`, at its beginning. The caller knows that the
    /// object has no member of that name.
    ///
    /// # Panics
    ///
    /// Where `object` is no object or was not cut out of this splice's text.
    #[must_use]
    pub fn insert(self, object: &Json, name: &str, value: &Json) -> Self {
        assert!(object.is_object(), "only an object has members");
        let at = offset_of(&self.text, &object.0).start + 1;
        let is_empty = object.0[1..].trim_ascii_start().first() == Some(&b'}');
        let is_first = !self.first.iter().chain(&self.more).any(|cut| cut.range == (at..at));
        let name = Json::string(name);
        let member = match (is_empty, is_first) {
            (true, true) => format!("{name}:{value}"),
            (true, false) => format!(",{name}:{value}"),
            (false, _) => format!("{name}:{value},"),
        };
        self.cut(at..at, member.into())
    }

    pub(crate) fn cut(mut self, range: Range<usize>, with: Bytes) -> Self {
        let cut = Cut { range, with };
        match &self.first {
            None => self.first = Some(cut),
            Some(_) => self.more.push(cut),
        }
        self
    }

    /// The changed text.
    ///
    /// # Panics
    ///
    /// Where a part that was replaced lies within another.
    #[must_use]
    pub fn finish(self) -> Json {
        Json(self.finish_and_map(&mut []))
    }

    /// The changed text, with `ranges` of the old text moved to where they
    /// are in the new one. A range may hold whole cuts but not part of one.
    pub(crate) fn finish_and_map(mut self, ranges: &mut [&mut Range<usize>]) -> Bytes {
        let cuts = if self.more.is_empty() {
            self.first.as_slice()
        } else {
            self.more.splice(..0, self.first);
            self.more.sort_by_key(|cut| cut.range.start);
            &self.more
        };
        // To the byte, so that what is made of it is not moved once more.
        let cut_out: usize = cuts.iter().map(|cut| cut.range.len()).sum();
        let put_in: usize = cuts.iter().map(|cut| cut.with.len()).sum();
        let mut out = Vec::with_capacity((self.text.len() + put_in).saturating_sub(cut_out));
        let mut from = 0;
        for cut in cuts {
            assert!(from <= cut.range.start, "parts that are replaced must not overlap");
            out.extend_from_slice(&self.text[from..cut.range.start]);
            out.extend_from_slice(&cut.with);
            from = cut.range.end;
        }
        out.extend_from_slice(&self.text[from..]);
        for range in ranges {
            **range = moved(cuts, range.start)..moved(cuts, range.end);
        }
        out.into()
    }
}

/// Where what stood at `offset` is after the cuts.
fn moved(cuts: &[Cut], offset: usize) -> usize {
    cuts.iter()
        .filter(|cut| cut.range.end <= offset && cut.range.start < offset)
        .fold(offset, |at, cut| at + cut.with.len() - cut.range.len())
}

/// Where `part` lies in `whole`.
///
/// # Panics
///
/// Where it does not.
pub(crate) fn offset_of(whole: &Bytes, part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    let end = start.wrapping_add(part.len());
    assert!(start <= end && end <= whole.len(), "a part must be cut out of the text it changes");
    start..end
}

/// A string that is borrowed where it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Borrowed<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Looks for one member and passes over the others without building them.
struct Field<'n>(&'n str);

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key without keeping it.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let key = Borrowed::deserialize(deserializer).map_err(D::Error::custom)?;
        Ok(key.0 == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).expect("the test's JSON is valid")
    }

    #[test]
    fn a_replaced_part_leaves_every_other_byte() {
        let whole = json(r#"{ "b":1.0,  "a":{"x":[ ],"big":99999999999999999999}, "c":null}"#);
        let big = whole.path(&["a", "big"]).expect("is there");
        let changed = Splice::of(&whole).replace(&big, &Json::number(7)).finish();
        assert_eq!(changed.as_str(), r#"{ "b":1.0,  "a":{"x":[ ],"big":7}, "c":null}"#);
    }

    #[test]
    fn a_member_is_inserted_into_full_and_empty_objects() {
        for (before, after) in
            [("{}", r#"{"k":1}"#), ("{ }", r#"{"k":1 }"#), (r#"{"a":2}"#, r#"{"k":1,"a":2}"#)]
        {
            let object = json(before);
            let changed = Splice::of(&object).insert(&object, "k", &Json::number(1)).finish();
            assert_eq!(changed.as_str(), after);
        }
    }

    #[test]
    fn two_members_are_inserted_into_full_and_empty_objects() {
        for (before, after) in [
            ("{}", r#"{"k":1,"l":2}"#),
            ("{ }", r#"{"k":1,"l":2 }"#),
            (r#"{"a":3}"#, r#"{"k":1,"l":2,"a":3}"#),
        ] {
            let object = json(before);
            let splice = Splice::of(&object).insert(&object, "k", &Json::number(1));
            let changed = splice.insert(&object, "l", &Json::number(2)).finish();
            assert_eq!(changed.as_str(), after);
        }
    }

    #[test]
    fn fields_are_found_by_their_unescaped_name() {
        let whole = json(r#"{"\u0061":1,"b":"\u0041"}"#);
        assert_eq!(whole.field("a").expect("is there").as_str(), "1");
        assert_eq!(whole.field("b").and_then(|b| b.to_text()).expect("is there"), "A");
        assert_eq!(whole.field("c"), None);
        assert_eq!(json("[1]").field("a"), None);
    }

    #[test]
    fn what_is_not_json_is_an_error_that_says_where() {
        let error = Json::parse("{\"a\":1,\n oops}").expect_err("is broken");
        assert_eq!(error.to_string(), "line 2 column 2");
        let error = Json::parse(vec![b'"', 0xff, b'"']).expect_err("is no text");
        assert_eq!(error.to_string(), "byte 1 is not UTF-8");
    }

    #[test]
    #[should_panic(expected = "cut out of the text")]
    fn a_part_of_another_text_is_refused() {
        let _ = Splice::of(&json("[1]")).replace(&json("1"), &json("2"));
    }
}
