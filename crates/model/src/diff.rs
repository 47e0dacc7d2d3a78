//! Differences between texts, as people read them.

use similar::TextDiff;

/// The unified difference from `old` to `new` with three lines of context; empty when they are equal.
pub fn unified(old_name: &str, old: &str, new_name: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(3)
        .header(old_name, new_name)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_differ_in_nothing() {
        assert_eq!(unified("a", "x\n", "b", "x\n"), "");
    }

    #[test]
    fn a_changed_line_is_shown_with_both_names() {
        let text = unified("1.1", "a\nb\n", "1.2", "a\nc\n");
        assert!(
            text.contains("--- 1.1") && text.contains("+++ 1.2"),
            "{text}"
        );
        assert!(text.contains("-b") && text.contains("+c"), "{text}");
    }
}
