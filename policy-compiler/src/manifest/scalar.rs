//! What a scalar is: text, number, boolean or nothing, by the rules of kubectl and the API server, which read YAML 1.1
//! (`sigs.k8s.io/yaml`). So `yes` and `on` are booleans here and `0777` is octal; no library for YAML 1.2 says so.

use std::sync::Arc;

use serde_json::Number;
use serde_saphyr::granit_parser::Tag;

use super::tree::Value;

/// The value of a scalar; `plain` is what stands in no quotes.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Value {
    let Some(tag) = tag else {
        return if plain { resolve_plain(text) } else { Value::String(text.into()) };
    };
    let value = resolve_plain(text);
    match (tag.core_suffix(), &value) {
        (Some("str"), _) => Value::String(text.into()),
        (Some("null"), Value::Null) | (Some("bool"), Value::Bool(..)) => value,
        (Some("float"), Value::Number(..)) => value,
        (Some("int"), Value::Number(number, _)) if !number.is_f64() => value,
        (Some(kind @ ("null" | "bool" | "float" | "int")), _) => {
            Value::Unreadable(format!("{text:?} is no {kind}, as its tag says").into())
        }
        _ if tag.handle().is_empty() && tag.suffix() == "!" => Value::String(text.into()),
        _ => foreign(tag),
    }
}

/// A value with a tag that says nothing to Kubernetes.
pub(super) fn foreign(tag: &Tag) -> Value {
    Value::Unreadable(format!("the tag {:?} has no meaning here", tag.original()).into())
}

fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "y" | "Y" | "on" | "On" | "ON" => {
            Value::Bool(true, text.into())
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "n" | "N" | "off" | "Off" | "OFF" => {
            Value::Bool(false, text.into())
        }
        _ => number(text).map_or_else(|| Value::String(text.into()), |number| Value::Number(number, Arc::from(text))),
    }
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// With a prefix for the base; a zero in front is the prefix of octal numbers.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None; // a second sign
    }
    let number = i128::from_str_radix(digits, base).ok()?;
    Number::from_i128(if negative { -number } else { number })
}

fn float(text: &str) -> Option<Number> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None; // Rust reads words too
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> serde_json::Value {
        super::super::tree::Node {
            mark: super::super::tree::Mark { line: 1, column: 1 },
            value: resolve(text, true, None),
        }
        .to_json()
    }

    #[test]
    fn plain_scalars_are_what_the_api_server_takes_them_for() {
        let cases = [
            ("~", "null"),
            ("", "null"),
            ("yes", "true"),
            ("Off", "false"),
            ("y", "true"),
            ("80", "80"),
            ("+80", "80"),
            ("-1", "-1"),
            ("8_080", "8080"),
            ("0777", "511"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("08", "8.0"),
            ("80.0", "80.0"),
            ("1e3", "1000.0"),
            (".5", "0.5"),
            ("18446744073709551615", "18446744073709551615"),
            ("2024-01-02", r#""2024-01-02""#),
            ("10.0.0.0/8", r#""10.0.0.0/8""#),
            ("1.2.3", r#""1.2.3""#),
            ("-", r#""-""#),
            ("--1", r#""--1""#),
            ("+inf", r#""+inf""#),
            ("1e999", r#""1e999""#),
            ("nan", r#""nan""#),
            ("tRUE", r#""tRUE""#),
            ("<<", r#""<<""#),
        ];
        for (text, json) in cases {
            assert_eq!(plain(text).to_string(), json, "{text:?}");
        }
    }

    #[test]
    fn quotes_make_a_text_of_anything() {
        assert_eq!(resolve("80", false, None), Value::String("80".into()));
        assert_eq!(resolve("", false, None), Value::String("".into()));
    }
}
