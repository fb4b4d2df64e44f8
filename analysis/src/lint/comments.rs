//! Comments of a YAML text, and which lines they are about. The loader has no use for them, so they are found here, line by
//! line: outside of quotes and of block scalars, which may hold anything.

use std::ops::Range;

/// A comment.
pub(super) struct Comment {
    /// Counted from 1.
    pub(super) line: u32,
    /// Of the `#`, counted from 1, in characters.
    pub(super) column: u32,
    /// From the `#` to the end of the line.
    pub(super) text: String,
    /// The lines that it is about.
    pub(super) lines: Range<u32>,
}

/// What a line is, as far as comments go.
enum Line<'t> {
    /// Nothing but white space, or inside of a block scalar.
    Blank,
    /// `---` or `...` with nothing behind.
    Separator,
    /// Fields, perhaps behind a `---`.
    Content { separated: bool, text: &'t str },
}

/// All comments that have lines to be about.
pub(super) fn find(text: &str) -> Vec<Comment> {
    if !text.contains('#') {
        return Vec::new();
    }
    let mut comments: Vec<Comment> = Vec::new();
    // Comments on lines of their own that wait for what they are about, and those of the whole document.
    let mut waiting: Vec<usize> = Vec::new();
    let mut of_document: Vec<usize> = Vec::new();
    let mut begun = false;
    let mut block: Option<usize> = None;
    let mut number = 0;
    for line in text.lines() {
        number += 1;
        let indent = line.len() - line.trim_start().len();
        if block.is_some_and(|outer| line.trim().is_empty() || indent > outer) {
            continue;
        }
        block = None;
        let comment = start_of_comment(line);
        let content = comment.map_or(line, |at| line.get(..at).unwrap_or(line));
        let kind = kind(content);
        if let Line::Separator | Line::Content { separated: true, .. } = kind
            && begun
        {
            end(&mut comments, &mut of_document, number);
            waiting.clear();
            begun = false;
        }
        let on_its_own = !matches!(kind, Line::Content { .. });
        if let Line::Content { text, .. } = kind {
            let about = if begun { &mut waiting } else { &mut of_document };
            let lines = number..number + 1;
            if begun {
                about.drain(..).for_each(|index| comments[index].lines = lines.clone());
            } else {
                of_document.append(&mut waiting);
                begun = true;
            }
            block = opens_block(text).then_some(indent);
        }
        if let Some(at) = comment {
            let column = line.get(..at).unwrap_or_default().chars().count();
            let column = u32::try_from(column + 1).unwrap_or(u32::MAX);
            if on_its_own {
                waiting.push(comments.len());
            }
            let text = line.get(at..).unwrap_or_default().to_owned();
            comments.push(Comment { line: number, column, text, lines: number..number + u32::from(!on_its_own) });
        }
    }
    end(&mut comments, &mut of_document, number + 1);
    comments
}

/// Comments before the first field are about all lines from theirs to where the document ends.
fn end(comments: &mut [Comment], of_document: &mut Vec<usize>, line: u32) {
    for index in of_document.drain(..) {
        comments[index].lines.end = line;
    }
}

fn kind(content: &str) -> Line<'_> {
    let (separated, rest) = match content.strip_prefix("---").or_else(|| content.strip_prefix("...")) {
        Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t']) => (true, rest),
        _ => (false, content),
    };
    match (separated, rest.trim()) {
        (true, "") => Line::Separator,
        (false, "") => Line::Blank,
        (false, text) if text.starts_with('%') && content.starts_with('%') => Line::Blank, // a directive of YAML
        (separated, text) => Line::Content { separated, text },
    }
}

/// The byte at which a comment begins: a `#` outside of quotes, first in the line or behind white space.
fn start_of_comment(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return Some(at),
            // Inside of a word it is an apostrophe; two of them are one inside of a text.
            None if matches!(c, '"' | '\'') && (before.is_whitespace() || matches!(before, '[' | '{' | ',' | '\'')) => {
                quote = Some(c);
            }
            None => {}
        }
        before = c;
    }
    None
}

/// Whether a block scalar begins behind this line: it ends in `|` or `>`, perhaps with indicators.
fn opens_block(content: &str) -> bool {
    let last = content.rsplit([' ', '\t']).next().unwrap_or_default();
    let mut chars = last.chars();
    matches!(chars.next(), Some('|' | '>')) && chars.all(|c| matches!(c, '+' | '-' | '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Vec<(u32, u32, Range<u32>)> {
        find(text).into_iter().map(|comment| (comment.line, comment.column, comment.lines)).collect()
    }

    #[test]
    fn the_three_positions() {
        let text =
            "# whole\nkind: A # here\n# next\n\n# also next\nspec: 1\n---\n# second\nkind: B\n# nothing follows\n";
        assert_eq!(
            about(text),
            [(1, 1, 1..7), (2, 9, 2..3), (3, 1, 6..7), (5, 1, 6..7), (8, 1, 8..11), (10, 1, 10..10)]
        );
    }

    #[test]
    fn a_separator_at_the_start_and_one_with_content() {
        assert_eq!(
            about("# one\n---\n# two\nkind: A\n--- {kind: B} # c\n"),
            [(1, 1, 1..5), (3, 1, 3..5), (5, 15, 5..6)]
        );
    }

    #[test]
    fn what_looks_like_a_comment_and_is_none() {
        for text in
            ["a: \"x # y\"", "a: 'it''s # y'", "a: x#y", "a: |\n  # y\n\n  # z", "- >-\n  # y", "a: \"\\\" # y\""]
        {
            assert_eq!(about(text), [], "{text}");
        }
        assert_eq!(about("a: |\n  # y\nb: it's # c"), [(3, 9, 3..4)]);
    }
}
