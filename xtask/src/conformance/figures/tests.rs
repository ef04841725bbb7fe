//! Tests of the figures.

use super::super::kit::SuiteRelease;
use super::*;

const PROGRAM: Program = Program::Suite(SuiteRelease::Second, "2025-11-25");

fn figures(found: &[(Way, Verdict)]) -> Figures {
    let mut figures = Figures::default();
    for (way, verdict) in found {
        let outcome = Outcome { name: "ping".to_owned(), verdict: verdict.clone() };
        figures.enter(&PROGRAM, *way, vec![outcome]);
    }
    figures
}

fn failed() -> Verdict {
    Verdict::Failed("the reason".to_owned())
}

#[test]
fn a_check_that_passes_everywhere_is_no_loss() {
    let figures = figures(&Way::ALL.map(|way| (way, Verdict::Passed)));
    assert_eq!(figures.lost(), 0);
    assert!(figures.as_text().contains("1 of 1"));
    assert!(figures.as_markdown().contains("| ping | passed | passed | passed | passed |"));
}

#[test]
fn a_check_that_fails_only_through_wharf_is_a_loss_with_its_reason() {
    let figures = figures(&[
        (Way::Direct, Verdict::Passed),
        (Way::Alone, failed()),
        (Way::AloneOverSse, Verdict::Passed),
        (Way::Together, Verdict::Absent("no name".to_owned())),
    ]);
    assert_eq!(figures.lost(), 1);
    assert!(figures.as_text().contains("ping\n  /servers/{id}: FAILED: the reason"));
    assert!(figures.as_markdown().contains("| ping | passed | FAILED | passed | - |"));
}

#[test]
fn a_check_that_was_not_made_through_wharf_is_a_loss() {
    let figures = figures(&[(Way::Direct, Verdict::Passed), (Way::Alone, Verdict::Passed)]);
    assert_eq!(figures.lost(), 2);
}

#[test]
fn a_check_that_fails_directly_is_no_loss_of_ours() {
    assert_eq!(figures(&Way::ALL.map(|way| (way, failed()))).lost(), 0);
}

#[test]
fn the_figures_of_a_document_are_replaced_and_the_rest_is_kept() {
    let document = format!("before\n{BEGIN}old\n{END}after\n");
    let document = replaced(&document, "new\n").unwrap();
    assert_eq!(document, format!("before\n{BEGIN}\nnew\n\n{END}after\n"));
    assert_eq!(replaced(&document, "new\n").as_ref(), Some(&document));
    assert_eq!(replaced("no marks", "new"), None);
}
