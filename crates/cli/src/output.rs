//! What commands print: always whole, so that a reader that goes away is
//! noticed in one place.

use std::{
    borrow::Cow,
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    iter,
};

use crate::failure::Failure;

/// Writes to standard output. Much of it is somebody else's text: where it is
/// a terminal, nothing but line breaks and tabs gets there that would steer
/// it; a file or a pipe gets everything.
///
/// # Errors
///
/// [`Failure::Unwritable`] where it takes nothing more.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let text = written(text.as_ref(), stdout.is_terminal());
    stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(Failure::Unwritable)
}

fn written(text: &[u8], to_terminal: bool) -> Cow<'_, [u8]> {
    let steers = |it: char| it.is_control() && !matches!(it, '\n' | '\t');
    if !to_terminal {
        return Cow::Borrowed(text);
    }
    let text = String::from_utf8_lossy(text).replace(steers, " ");
    Cow::Owned(text.into_bytes())
}

/// An error and its causes. A cause that an error above it has told already
/// is not told again.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for error in iter::successors(Some(error), |&error| error.source()) {
        let text = printable(&error.to_string());
        if !told.iter().any(|above| above.contains(&text)) {
            told.push(text);
        }
    }
    told
}

/// Text of somebody else's on one line, without what would steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// Rows with their columns one below the other.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [vec!["ID", "URL"], vec!["time", "http://x"], vec!["\u{e9}"]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(table(&rows), "ID    URL\ntime  http://x\n\u{e9}\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_terminal_gets_nothing_that_steers_it_and_a_pipe_gets_everything() {
        let text = "a\x1b]0;b\x07\r\n\tc\u{9b}2J\x7f\u{e9}\n".as_bytes();
        let calm = "a ]0;b  \n\tc 2J \u{e9}\n".as_bytes();
        assert_eq!(&*written(text, true), calm);
        assert_eq!(&*written(text, false), text);
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("no session: {0}")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("unreachable")]
        struct Inner(#[source] io::Error);

        let error = Outer(Inner(io::Error::other("refused\x1b[31m")));
        assert_eq!(causes(&error), ["no session: unreachable", "refused [31m"]);
    }
}
