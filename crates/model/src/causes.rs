//! An error and its causes in one line, as logs, status and answers show them.

use std::error::Error;

/// The words of `error`, then of each cause that they do not hold already.
pub fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn each_cause_is_told_once() {
        let error = Layer(
            "no: disk full",
            Some(Box::new(Layer(
                "disk full",
                Some(Box::new(Layer("28", None))),
            ))),
        );
        assert_eq!(with_causes(&error), "no: disk full: 28");
    }
}
