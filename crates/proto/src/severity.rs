//! How severe a log line is.

use serde::{Deserialize, Serialize};

/// How severe a log line is (server utilities, logging; RFC 5424), least
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For who debugs.
    Debug,
    /// In the course of things.
    Info,
    /// In the course of things, but worth a look.
    Notice,
    /// May go wrong.
    Warning,
    /// Has gone wrong.
    Error,
    /// Part of the server has failed.
    Critical,
    /// Somebody has to act.
    Alert,
    /// The server cannot be used.
    Emergency,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let names = r#"["debug","info","notice","warning","error","critical","alert","emergency"]"#;
        let names = Json::parse(names).expect("the test's JSON is valid");
        let all: Vec<Severity> = names.read().expect("they are names");
        assert!(all.is_sorted() && all.len() == 8);
        assert_eq!(Json::from_value(&all).expect("it is JSON"), names);
        for bogus in [Json::string("bogus"), Json::string("DEBUG"), Json::number(1)] {
            assert!(bogus.read::<Severity>().is_err(), "{bogus}");
        }
    }
}
