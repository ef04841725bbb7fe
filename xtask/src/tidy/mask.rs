//! Rust without what its strings, characters and comments say, so that what is left can be searched for braces and keywords.

/// `text` with every string, character and comment turned into spaces. Lines stay where they are.
pub(super) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = hidden(rest);
        // A word is shown whole: a raw string begins with `r`, but not with the last letter of a name.
        let shown = word(rest).max(first.len_utf8());
        let taken = if hidden > 0 {
            let blank = |it| if it == '\n' { '\n' } else { ' ' };
            code.extend(rest[..hidden].chars().map(blank));
            hidden
        } else {
            code.push_str(&rest[..shown]);
            shown
        };
        rest = &rest[taken..];
    }
    code
}

/// How many bytes at the beginning of `rest` are a word.
fn word(rest: &str) -> usize {
    rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len())
}

/// How many bytes at the beginning of `rest` are a string, a character or a comment.
fn hidden(rest: &str) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        string(rest)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        raw_string(rest)
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    let close = rest[1..].find(|it| {
        let closes = it == '"' && !escaped;
        escaped = it == '\\' && !escaped;
        closes
    });
    close.map_or(rest.len(), |close| 1 + close + 1)
}

/// The length of a character, or nothing for the tick of a lifetime.
fn character(rest: &str) -> usize {
    let mut after_tick = rest[1..].chars();
    match after_tick.next() {
        Some('\\') => {
            let escaped = after_tick.next().map_or(0, char::len_utf8);
            let end = rest[2 + escaped..].find('\'');
            end.map_or(rest.len(), |end| 2 + escaped + end + 1)
        }
        Some(it) if after_tick.next() == Some('\'') => 1 + it.len_utf8() + 1,
        _ => 0,
    }
}

/// The length of a raw string, of bytes or of C as well, or nothing for anything else.
fn raw_string(rest: &str) -> usize {
    let Some(prefix) = ["r", "br", "cr"].into_iter().find(|it| {
        let after = rest.strip_prefix(it).unwrap_or_default();
        after.trim_start_matches('#').starts_with('"')
    }) else {
        return 0;
    };
    let hashes = rest[prefix.len()..].bytes().take_while(|&it| it == b'#').count();
    let open = prefix.len() + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = rest[open..].find(&close);
    end.map_or(rest.len(), |end| open + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that of `text` only `code` is left, white space apart.
    fn check(text: &str, code: &str) {
        let left = code_only(text);
        let squeezed = left.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed, code, "{text}");
        assert_eq!(left.matches('\n').count(), text.matches('\n').count(), "{text}");
    }

    #[test]
    fn comments_are_hidden() {
        check("a // b {\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check("a /* b", "a");
        check("a / b * c", "a / b * c");
    }

    #[test]
    fn strings_are_hidden() {
        check(r#"a("b { \" c \\") d"#, "a( ) d");
        check("a(\"b\nc\") d", "a( ) d");
        check("a(\"// b\") c", "a( ) c");
        check(r#"a(b"c", c"d")"#, "a(b , c )");
        check("a(\"b", "a(");
    }

    #[test]
    fn raw_strings_are_hidden() {
        check("a(r\"b \\\") c", "a( ) c");
        check("a(r#\"b \"c\" d\"#) e", "a( ) e");
        check("a(br##\"b \"# c\"##, cr\"d\") e", "a( , ) e");
        check("r#type = bar(r)", "r#type = bar(r)");
    }

    #[test]
    fn characters_are_hidden_and_lifetimes_are_not() {
        check(r"a('{', '\'', '\\', '\u{7b}', b'}', 'é') b", "a( , , , , b , ) b");
        check("fn a<'a, 'b>(c: &'a str) {}", "fn a<'a, 'b>(c: &'a str) {}");
        check("'a: loop {}", "'a: loop {}");
    }
}
