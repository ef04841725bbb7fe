//! How long a function may be.

use super::Finding;
use super::mask::code_only;
use super::sources::Source;

/// The most lines that the body of a function may have, the lines of its two braces apart.
const MOST_LINES: usize = 60;

/// Finds functions that are too long. A test may be as long as the story that it tells.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || source.is_test() {
        return Vec::new();
    }
    let code = code_only(&source.text);
    let long = functions(&code).filter(|function| function.lines > MOST_LINES);
    long.map(|Function { name, line, lines }| {
        let message =
            format!("the body of `{name}` has {lines} lines; a function has at most {MOST_LINES}");
        Finding::of_line(&source.path, line, message)
    })
    .collect()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    name: &'a str,
    /// The line of the word `fn`, counted from 1.
    line: usize,
    /// The lines between the braces.
    lines: usize,
}

/// The functions in text of which only the code is left. A function inside another counts for both.
fn functions(code: &str) -> impl Iterator<Item = Function<'_>> {
    code.match_indices("fn ").filter_map(|(start, keyword)| {
        if code[..start].ends_with(is_part_of_word) {
            return None;
        }
        let rest = &code[start + keyword.len()..];
        let name = rest.split(|it| !is_part_of_word(it)).next()?;
        if name.is_empty() {
            return None; // A name that a macro fills in.
        }
        let body = body(rest)?;
        Some(Function {
            name,
            line: code[..start].matches('\n').count() + 1,
            lines: body.matches('\n').count().saturating_sub(1),
        })
    })
}

/// What is between the braces of the function whose name and signature `rest` begins with.
fn body(rest: &str) -> Option<&str> {
    let mut brackets = 0_usize;
    let open = rest.find(|it| {
        match it {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        // A semicolon between brackets belongs to the type of an array.
        brackets == 0 && (it == '{' || it == ';')
    })?;
    let body = rest[open..].strip_prefix('{')?;
    let mut braces = 1_usize;
    let close = body.find(|it| {
        match it {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        braces == 0
    })?;
    Some(&body[..close])
}

fn is_part_of_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the names and the lengths of the functions in `text`.
    fn check_lengths(text: &str, expected: &[(&str, usize)]) {
        let code = code_only(text);
        let found: Vec<_> = functions(&code).map(|it| (it.name, it.lines)).collect();
        assert_eq!(found, expected, "{text}");
    }

    fn source(path: &str, lines: usize) -> Source {
        Source {
            path: path.into(),
            text: format!("//! A.\n\nfn a() {{\n{}}}\n", "    b();\n".repeat(lines)),
        }
    }

    #[test]
    fn a_body_is_counted_between_its_braces() {
        check_lengths("fn a() {}\n", &[("a", 0)]);
        check_lengths("pub(crate) async fn a(\n    b: u8,\n) -> u8 {\n    b\n}\n", &[("a", 1)]);
        check_lengths("fn a<T>()\nwhere\n    T: Fn(u8),\n{\n    b();\n    c();\n}\n", &[("a", 2)]);
    }

    #[test]
    fn a_function_inside_another_counts_for_both() {
        let text = "fn a() {\n    fn b() {\n        c();\n    }\n}\n";
        check_lengths(text, &[("a", 3), ("b", 1)]);
    }

    #[test]
    fn what_has_no_body_is_no_function() {
        check_lengths(
            "trait A {\n    fn a(b: [u8; 4]);\n    fn c() {\n        d();\n    }\n}\n",
            &[("c", 1)],
        );
        check_lengths("type A = fn (u8) -> u8;\nfn $name() {}\nlet often = 1;\n", &[]);
    }

    #[test]
    fn an_array_in_a_signature_does_not_end_it() {
        check_lengths("fn a() -> [u8; 4] {\n    [0; 4]\n}\n", &[("a", 1)]);
    }

    #[test]
    fn braces_and_functions_that_are_only_talked_about_do_not_count() {
        let text =
            "fn a() {\n    b('{', \"}\"); // }\n    /* fn c() {} */\n    d(r#\"fn e() {}\"#);\n}\n";
        check_lengths(text, &[("a", 3)]);
    }

    #[test]
    fn a_function_past_the_bound_is_found() {
        assert_eq!(check(&source("src/a.rs", MOST_LINES)), []);
        let found = check(&source("src/a.rs", MOST_LINES + 1));
        let message = "src/a.rs:3: the body of `a` has 61 lines; a function has at most 60";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
    }

    #[test]
    fn a_test_may_be_long() {
        assert_eq!(check(&source("src/a/tests.rs", MOST_LINES + 1)), []);
        assert_eq!(check(&source("tests/tests/a.rs", MOST_LINES + 1)), []);
    }
}
