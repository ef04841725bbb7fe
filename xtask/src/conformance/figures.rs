//! The figures: what passed, on every way, as text and as a document.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::program::Program;
use super::stage::Way;
use super::verdict::{Outcome, Verdict};

/// The document, and the marks between which the figures are.
const DOCUMENT: &str = "docs/CONFORMANCE.md";
const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Figures {
    tables: Vec<Table>,
}

/// What one program found.
#[derive(Debug)]
struct Table {
    title: String,
    rows: Vec<Row>,
}

/// A check, and how it went on each of the ways so far.
#[derive(Debug)]
struct Row {
    name: String,
    found: Vec<(Way, Verdict)>,
}

// === impl Figures ===

impl Figures {
    /// Enters what a program has found on a way. The direct way comes first.
    pub(super) fn enter(&mut self, program: &Program, way: Way, outcomes: Vec<Outcome>) {
        let title = program.title();
        if self.tables.last().is_none_or(|table| table.title != title) {
            self.tables.push(Table { title, rows: Vec::new() });
        }
        let table = self.tables.last_mut().expect("there is one now");
        for Outcome { name, verdict } in outcomes {
            match table.rows.iter_mut().find(|row| row.name == name) {
                Some(row) => row.found.push((way, verdict)),
                None => table.rows.push(Row { name, found: vec![(way, verdict)] }),
            }
        }
    }

    /// Whether nothing was run.
    pub(super) const fn are_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many checks pass directly and do not pass through Wharf.
    pub(super) fn lost(&self) -> usize {
        self.rows().map(|row| row.losses().len()).sum()
    }

    /// The totals, and everything that is not as it is directly.
    pub(super) fn as_text(&self) -> String {
        let mut text = String::new();
        let width = self.tables.iter().map(|table| table.title.len()).max().unwrap_or_default();
        let heads = Way::ALL.map(|way| format!("{:>21}", way.title())).concat();
        let _ = writeln!(text, "{:width$}{heads}", "passed of those that apply");
        for table in &self.tables {
            let totals = Way::ALL.map(|way| format!("{:>21}", table.total(way))).concat();
            let _ = writeln!(text, "{:width$}{totals}", table.title);
        }
        for table in &self.tables {
            for row in &table.rows {
                for (way, verdict) in row.remarks() {
                    let (title, name) = (&table.title, &row.name);
                    let (word, reason) = (verdict.word(), verdict.reason());
                    let _ =
                        writeln!(text, "\n{title}: {name}\n  {}: {word}: {reason}", way.title());
                }
            }
        }
        text
    }

    /// Puts the figures into the document.
    ///
    /// # Errors
    ///
    /// When the document is not there, or has lost its marks.
    pub(super) fn write_into(&self, root: &Path) -> Result<()> {
        let path = root.join(DOCUMENT);
        let document =
            fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
        let document = replaced(&document, &self.as_markdown());
        let document =
            document.with_context(|| format!("{DOCUMENT} has lost its marks: {BEGIN}{END}"))?;
        fs::write(&path, document).with_context(|| format!("cannot write {DOCUMENT}"))
    }

    fn as_markdown(&self) -> String {
        let heads = Way::ALL.map(|way| format!(" `{}` |", way.title())).concat();
        let line = format!("|---|{}\n", "---|".repeat(Way::ALL.len()));
        let mut text = format!("| passed of those that apply |{heads}\n{line}");
        for table in &self.tables {
            let totals = Way::ALL.map(|way| format!(" {} |", table.total(way))).concat();
            let _ = writeln!(text, "| {} |{totals}", table.title);
        }
        for table in &self.tables {
            let _ = write!(text, "\n### {}\n\n| check |{heads}\n{line}", table.title);
            for row in &table.rows {
                let words =
                    Way::ALL.map(|way| format!(" {} |", row.on(way).map_or("-", Verdict::word)));
                let _ = writeln!(text, "| {} |{}", row.name, words.concat());
            }
        }
        text
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.tables.iter().flat_map(|table| &table.rows)
    }
}

// === impl Table ===

impl Table {
    /// How many passed on a way, of how many that apply there.
    fn total(&self, way: Way) -> String {
        let verdicts = || self.rows.iter().filter_map(|row| row.on(way));
        let passed = verdicts().filter(|verdict| **verdict == Verdict::Passed).count();
        let apply = verdicts().filter(|verdict| !matches!(verdict, Verdict::Absent(_))).count();
        format!("{passed} of {apply}")
    }
}

// === impl Row ===

impl Row {
    fn on(&self, way: Way) -> Option<&Verdict> {
        self.found.iter().find(|(found, _)| *found == way).map(|(_, verdict)| verdict)
    }

    /// The ways on which it went worse than directly. A check that was not made on a way went worse.
    fn losses(&self) -> Vec<Way> {
        let missing = Verdict::Failed(String::new());
        let Some(direct) = self.on(Way::Direct) else {
            return Vec::new();
        };
        let through = Way::ALL.into_iter().filter(|way| *way != Way::Direct);
        through.filter(|way| !self.on(*way).unwrap_or(&missing).is_as_good_as(direct)).collect()
    }

    /// What is worth a word: every failure, and every warning.
    fn remarks(&self) -> impl Iterator<Item = &(Way, Verdict)> {
        self.found
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_) | Verdict::Warned(_)))
    }
}

/// A document with other text between its marks.
fn replaced(document: &str, figures: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

#[cfg(test)]
mod tests;
