//! The syntaxes of names in Kubernetes.

/// A syntax: a test, and what passes it in words.
pub(super) struct Syntax {
    pub(super) accepts: fn(&str) -> bool,
    pub(super) allowed: &'static str,
}

/// Names of most objects (rule 146).
pub(super) const SUBDOMAIN: Syntax = Syntax {
    accepts: is_subdomain,
    allowed: "must be lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part, and at \
              most 253 characters",
};

/// Names of namespaces (rule 147).
pub(super) const LABEL: Syntax = Syntax {
    accepts: is_label,
    allowed: "must be lower case letters, digits and '-', with a letter or digit at both ends, and at most 63 characters",
};

/// Keys of labels and annotations (rule 149).
pub(super) const QUALIFIED_NAME: Syntax = Syntax {
    accepts: is_qualified_name,
    allowed: "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, perhaps after a \
              DNS name and '/', such as example.com/role",
};

/// Values of labels (rule 150).
pub(super) const LABEL_VALUE: Syntax = Syntax {
    accepts: is_label_value,
    allowed: "must be empty, or at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
};

/// Names of ports (rule 157): what IANA allows for services.
pub(super) const PORT_NAME: Syntax = Syntax {
    accepts: is_port_name,
    allowed: "must be 1 to 15 lower case letters, digits and '-', with a letter among them, no '-' at an end and no '--'",
};

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

fn is_dns_part(text: &str) -> bool {
    framed(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    text.len() <= 63 && (text.is_empty() || framed(text, |byte| byte.is_ascii_alphanumeric(), b"-_."))
}

fn is_port_name(text: &str) -> bool {
    text.len() <= 15 && is_dns_part(text) && !text.contains("--") && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Not empty, of `ends` and `inner` bytes, with one of `ends` first and last.
fn framed(text: &str, ends: fn(&u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| ends(byte) || inner.contains(byte))
        && bytes.first().is_some_and(ends)
        && bytes.last().is_some_and(ends)
}

/// The known name that was probably meant: the nearest, if it is near.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| distance(unknown, name);
    let best = known.into_iter().min_by_key(near)?;
    // A third of it may be wrong, but for short words that would be anything.
    (near(&best) <= (best.len() / 3).min(3)).then_some(best)
}

/// How many characters to add, drop, change or swap with their neighbours, case aside.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    if left.len().abs_diff(right.len()) > LONGEST {
        return usize::MAX; // no use to measure what is that different
    }
    if is_swap(left, right) {
        return 1;
    }
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (index, a) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        for (b, cell) in right.chars().zip(row.iter_mut().skip(1)) {
            let change = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = *cell;
            before = change.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// Whether two neighbours changed places, as in `form`.
fn is_swap(left: &str, right: &str) -> bool {
    let same = left.bytes().zip(right.bytes()).take_while(|(a, b)| a == b).count();
    match (left.as_bytes().get(same..), right.as_bytes().get(same..)) {
        (Some([a, b, left @ ..]), Some([c, d, right @ ..])) => (a, b, left) == (d, c, right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(syntax: &Syntax, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert!((syntax.accepts)(text), "{text:?} is right");
        }
        for text in wrong {
            assert!(!(syntax.accepts)(text), "{text:?} is wrong");
        }
    }

    #[test]
    fn rule_146_subdomains() {
        let long = format!("{}.a", "a".repeat(251));
        let longer = format!("{long}a");
        check(
            &SUBDOMAIN,
            &["a", "web-1", "a.b.c", "0", &long],
            &["", "A", "-a", "a-", "a..b", ".a", "a_b", "ä", &longer],
        );
    }

    #[test]
    fn rule_147_labels() {
        let long = "a".repeat(63);
        check(&LABEL, &["a", "kube-system", &long], &["", "a.b", "Shop", "-", &format!("{long}a")]);
    }

    #[test]
    fn rule_149_qualified_names() {
        let long = "a".repeat(63);
        check(
            &QUALIFIED_NAME,
            &["app", "App_1.x", "example.com/app", "kubernetes.io/metadata.name", &long],
            &["", "/", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a b", "ä", &format!("{long}a")],
        );
    }

    #[test]
    fn rule_150_label_values() {
        let long = "a".repeat(63);
        check(&LABEL_VALUE, &["", "a", "A-b_c.9", &long], &["-a", "a.", "a b", "a/b", &format!("{long}a")]);
    }

    #[test]
    fn rule_157_port_names() {
        check(
            &PORT_NAME,
            &["http", "a", "dns-tcp", "8080-tcp", "abcdefghijklmno"],
            &["", "80", "HTTP", "-a", "a-", "a--b", "a_b", "abcdefghijklmnop"],
        );
    }

    #[test]
    fn the_nearest_name_is_one_that_could_be_meant() {
        let known = ["podSelector", "namespaceSelector", "ipBlock", "to"];
        for (unknown, meant) in [
            ("podSelectr", Some("podSelector")),
            ("PodSelector", Some("podSelector")),
            ("namespaceselctor", Some("namespaceSelector")),
            ("ipBlocks", Some("ipBlock")),
            ("ports", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, known), meant, "{unknown}");
        }
    }

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("AB", "ab", 0),
            ("form", "from", 1),
            ("abc", "cba", 2),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
