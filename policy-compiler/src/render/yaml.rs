//! YAML for people to read: block style, and only as much quoting as keeps a text a text.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// Several documents, one for each value.
pub fn documents<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(|value| format!("---\n{}", document(value))).collect()
}

/// One document, without a line that starts it.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    // A String takes every write.
    _ = write(&mut out, value, 0);
    if out.starts_with('\n') { out.split_off(1) } else { out + "\n" }
}

/// Writes what stands behind a key's colon or an entry's dash, the line's end of collections included.
fn write(out: &mut String, value: &Value, indent: usize) -> fmt::Result {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            for (key, value) in fields {
                write!(out, "{:indent$}{}:", "", Text(key))?;
                entry(out, value, indent)?;
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                write!(out, "{:indent$}-", "")?;
                let start = out.len();
                entry(out, item, indent)?;
                // A collection starts in the line of its dash.
                let line = out[start..].strip_prefix('\n').map(|rest| format!(" {}", rest.trim_start()));
                if let Some(line) = line {
                    out.replace_range(start.., &line);
                }
            }
        }
        Value::String(text) => write!(out, "{}", Text(text))?,
        scalar_or_empty => write!(out, "{scalar_or_empty}")?,
    }
    Ok(())
}

fn entry(out: &mut String, value: &Value, indent: usize) -> fmt::Result {
    let start = out.len();
    write(out, value, indent + 2)?;
    if !out[start..].starts_with('\n') {
        out.insert(start, ' ');
        out.push('\n');
    }
    Ok(())
}

/// A text as YAML reads it back: plain where nothing else could be meant, as JSON otherwise.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
        let text = self.0;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(plain);
        if is_plain && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            f.write_str(text)
        } else {
            write!(f, "{}", Value::from(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn collections_are_blocks_and_texts_stay_texts() {
        let value = json!({
            "kind": "Pod", "empty": {}, "none": [], "port": 80, "text": "80", "no": "no", "cidr": "fd00::/64",
            "list": [{"a": 1, "b": {"c": "d"}}, "x", ["y z", []], null], "": "",
        });
        let expected = "kind: Pod\nempty: {}\nnone: []\nport: 80\ntext: \"80\"\n\"no\": \"no\"\ncidr: \"fd00::/64\"\n\
            list:\n  - a: 1\n    b:\n      c: d\n  - x\n  - - \"y z\"\n    - []\n  - null\n\"\": \"\"\n";
        assert_eq!(document(&value), expected);
        assert_eq!(document(&json!([])), "[]\n");
        assert_eq!(documents([&json!("a"), &json!({"b": 1})]), "---\na\n---\nb: 1\n");
    }
}
