//! The output of a program, line by line, with an eye on its silence.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a program may say nothing. The longest check of ours gives up after a minute and a half.
const PATIENCE: Duration = Duration::from_secs(150);

/// A program that runs, and what it prints. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Lines {
    child: Child,
    printed: Receiver<String>,
    line: String,
}

// === impl Lines ===

impl Lines {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(super) fn of(command: &mut Command) -> Result<Self> {
        let line = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("{line} did not start"))?;
        let out = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let (say, printed) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, printed, line })
    }

    /// The next line; none at the end.
    ///
    /// # Errors
    ///
    /// When the program is silent for too long.
    pub(super) fn next(&mut self) -> Result<Option<String>> {
        match self.printed.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} has said nothing for {} s", self.line, PATIENCE.as_secs())
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It has ended, or is to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_come_in_their_order_and_then_the_end() {
        let mut lines = Lines::of(Command::new("printf").arg("one\\ntwo")).unwrap();
        assert_eq!(lines.next().unwrap().as_deref(), Some("one"));
        assert_eq!(lines.next().unwrap().as_deref(), Some("two"));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Lines::of(&mut Command::new("no-such-program")).unwrap_err();
        assert!(error.to_string().contains("no-such-program"), "{error}");
    }
}
