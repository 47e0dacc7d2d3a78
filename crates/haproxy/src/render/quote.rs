//! The one place where a value becomes a word of HAProxy's configuration.
//!
//! HAProxy splits a line into words at spaces, expands `$NAME` and `\x41`, and ends the line at `#`, unless quotes say
//! otherwise (Configuration Manual, section 2.2, "Quoting and escaping"). Inside single quotes nothing but the single
//! quote itself has a meaning; so whatever is not plainly harmless goes there.

/// Characters that mean nothing to HAProxy's parser anywhere in a word.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_./:,=@+*%()[]?&~!|<>^;".contains(c)
}

/// A character that no quoting can carry: HAProxy reads lines, and its strings end at NUL.
pub(crate) fn is_unspeakable(c: char) -> bool {
    c.is_control()
}

/// `value` as exactly one word, or nothing when it has a control character.
pub fn word(value: &str) -> Option<String> {
    if value.chars().any(is_unspeakable) {
        return None;
    }
    if !value.is_empty() && value.chars().all(is_plain) {
        return Some(value.to_owned());
    }
    Some(format!("'{}'", value.replace('\'', r"'\''")))
}

/// `value` where HAProxy expects a log-format string, so that it stands for itself (Configuration Manual, section
/// 8.2.4, "Custom log format": `%` begins a variable and `%%` is a percent sign).
pub(crate) fn format_literal(value: &str) -> String {
    value.replace('%', "%%")
}

/// Splits a line as HAProxy's manual says, for what this module writes.
pub(super) fn split(line: &str) -> Vec<String> {
    let (mut words, mut current, mut is_open, mut is_quoted) =
        (Vec::new(), String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => (is_quoted, is_open) = (!is_quoted, true),
            '\\' if !is_quoted => current.extend(chars.next()),
            ' ' if !is_quoted => {
                if is_open {
                    words.push(std::mem::take(&mut current));
                }
                is_open = false;
            }
            _ => {
                current.push(c);
                is_open = true;
            }
        }
    }
    if is_open {
        words.push(current);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn harmless_words_stay_readable() {
        assert_eq!(word("192.0.2.1:80").unwrap(), "192.0.2.1:80");
        assert_eq!(word("a b").unwrap(), "'a b'");
        assert_eq!(word("").unwrap(), "''");
        assert_eq!(word("it's $HOME").unwrap(), r"'it'\''s $HOME'");
    }

    proptest! {
        #[test]
        fn any_value_is_one_word_or_refused(value in any::<String>()) {
            match word(&value) {
                None => prop_assert!(value.chars().any(char::is_control)),
                Some(quoted) => {
                    prop_assert_eq!(split(&format!("server {quoted} end")), ["server", &value, "end"]);
                }
            }
        }
    }
}
