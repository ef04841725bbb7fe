//! The table in `docs/REGRESSIONS.md`, read.

/// The rows about one fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The fault: a heading of the document.
    pub(crate) fault: String,
    pub(crate) rows: Vec<Row>,
}

/// A row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// The name of the test; none where the row does not apply.
    pub(crate) test: Option<String>,
    pub(crate) asserts: String,
}

/// The groups of the document: the headings under which there are rows.
pub(crate) fn groups(text: &str) -> Vec<Group> {
    let mut groups = Vec::<Group>::new();
    for line in text.lines() {
        if let Some(fault) = line.strip_prefix("## ") {
            groups.push(Group { fault: fault.to_owned(), rows: Vec::new() });
        } else if let (Some(group), Some(row)) = (groups.last_mut(), row(line)) {
            group.rows.push(row);
        }
    }
    groups.retain(|group| !group.rows.is_empty());
    groups
}

fn row(line: &str) -> Option<Row> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let [id, test, asserts, _naive] = cells.split(" | ").collect::<Vec<_>>()[..] else {
        return None;
    };
    let test = test.strip_prefix('`').and_then(|test| test.strip_suffix('`')).map(str::to_owned);
    (id != "row").then(|| Row { id: id.to_owned(), test, asserts: asserts.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_grouped_by_the_headings_they_stand_under() {
        let text = "# Title\n\n## Prose\n\nWords | and | more.\n\n## A fault\n\n| row | test | asserts | naive |\n\
                    |---|---|---|---|\n| A1 | `a1_it_lives` | It lives. | fails |\n\
                    | A2 | - | Does not apply: it has none. |  |\n";
        let groups = groups(text);
        assert_eq!(groups.len(), 1, "{groups:?}");
        assert_eq!(groups[0].fault, "A fault");
        let [lives, does_not_apply] = &groups[0].rows[..] else { panic!("{groups:?}") };
        assert_eq!((lives.id.as_str(), lives.test.as_deref()), ("A1", Some("a1_it_lives")));
        assert_eq!(does_not_apply.test, None);
        assert_eq!(does_not_apply.asserts, "Does not apply: it has none.");
    }
}
