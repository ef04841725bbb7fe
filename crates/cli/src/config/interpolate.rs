//! `${NAME}` and `${NAME:-default}` in the strings of a configuration.

use std::{env, ffi::OsString};

/// Looks up a variable.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A reference to a variable that has no value. Names the variable and not
/// what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReference {
    /// There is no such variable.
    #[error(
        "the variable `{name}` is not set; set it, or give a default as in `${{{name}:-default}}`"
    )]
    Missing {
        /// Its name.
        name: String,
    },
    /// The variable holds something that is no text.
    #[error("the variable `{name}` is not UTF-8")]
    NotUnicode {
        /// Its name.
        name: String,
    },
    /// The name is none.
    #[error(
        "`${{{name}}}` does not name a variable: letters, digits and `_`; write `$${{` for `${{`"
    )]
    NotAName {
        /// What stands there.
        name: String,
    },
    /// The brace is not closed.
    #[error("`${{` without `}}`; write `$${{` for `${{`")]
    Unclosed,
}

/// The variables of this process.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// Puts the values of variables into `text`. `$${` is a literal `${`. IDEs
/// write `${env:NAME}` for `${NAME}`, so that is understood too.
///
/// # Errors
///
/// [`BadReference`] where a variable has no value.
pub(crate) fn interpolate(text: &str, variables: Variables<'_>) -> Result<String, BadReference> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or(BadReference::Unclosed)?;
        out.push_str(before);
        out.push_str(&resolve(reference, variables)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn resolve(reference: &str, variables: Variables<'_>) -> Result<String, BadReference> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let name = name.strip_prefix("env:").unwrap_or(name);
    if !is_name(name) {
        return Err(BadReference::NotAName { name: name.to_owned() });
    }
    let set = variables(name);
    match (set, default) {
        // As in a shell, `:-` stands in for an empty value too.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => {
            value.into_string().map_err(|_| BadReference::NotUnicode { name: name.to_owned() })
        }
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(BadReference::Missing { name: name.to_owned() }),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let variables = |name: &str| match name {
            "TOKEN" => Some("s3cret".into()),
            "EMPTY" => Some("".into()),
            "_A1" => Some("a".into()),
            _ => None,
        };
        interpolate(text, &variables).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_stand_anywhere_and_more_than_once() {
        for (text, expected) in [
            ("", ""),
            ("plain $ {} } text", "plain $ {} } text"),
            ("Bearer ${TOKEN}", "Bearer s3cret"),
            ("${TOKEN}${_A1}-${env:TOKEN}", "s3creta-s3cret"),
            ("${NONE:-http://x:1/}", "http://x:1/"),
            ("${NONE:-}", ""),
            ("${EMPTY:-default}", "default"),
            ("${EMPTY}", ""),
            ("${TOKEN:-default}", "s3cret"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_one_before_a_brace() {
        assert_eq!(filled("$${TOKEN}").as_deref(), Ok("${TOKEN}"));
        assert_eq!(filled("$${a} ${TOKEN} $$").as_deref(), Ok("${a} s3cret $$"));
        assert_eq!(filled("$${").as_deref(), Ok("${"));
    }

    #[test]
    fn a_value_is_not_interpolated_again() {
        let variables = |_: &str| Some("${TOKEN}".into());
        assert_eq!(interpolate("${A}", &variables).as_deref(), Ok("${TOKEN}"));
    }

    #[test]
    fn what_has_no_value_is_named() {
        for (text, expected) in [
            (
                "a ${NONE}",
                "the variable `NONE` is not set; set it, or give a default as in `${NONE:-default}`",
            ),
            ("${TOKEN", "`${` without `}`; write `$${` for `${`"),
            (
                "${input:key}",
                "`${input:key}` does not name a variable: letters, digits and `_`; write `$${` for `${`",
            ),
            (
                "${}",
                "`${}` does not name a variable: letters, digits and `_`; write `$${` for `${`",
            ),
        ] {
            assert_eq!(filled(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_not_shown() {
        use std::os::unix::ffi::OsStringExt;
        let variables = |_: &str| Some(OsString::from_vec(vec![b'k', 0xff]));
        let error = interpolate("${KEY}", &variables).expect_err("is not UTF-8");
        assert_eq!(error.to_string(), "the variable `KEY` is not UTF-8");
    }
}
