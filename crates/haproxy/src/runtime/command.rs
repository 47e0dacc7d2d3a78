//! Commands of the Runtime API, which cannot be made to hold a second one.

use std::fmt;

/// A word that would end the command or begin another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a word of a runtime command: printable ASCII without spaces, ';' and '\\' is"
)]
pub struct CommandError(String);

/// One command, as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(String);

impl Command {
    /// The command of these words.
    ///
    /// # Errors
    /// When a word has what would end the command or begin another (Management Guide, section 9.3: `;` and line ends;
    /// `\` escapes, and spaces part words; `<<` begins a payload).
    pub fn new(words: &[&str]) -> Result<Self, CommandError> {
        for word in words {
            let is_word = !word.is_empty()
                && !word.starts_with("<<")
                && word
                    .chars()
                    .all(|c| c.is_ascii_graphic() && c != ';' && c != '\\');
            if !is_word {
                return Err(CommandError(word.chars().take(80).collect()));
            }
        }
        Ok(Self(words.join(" ")))
    }

    /// A command without values.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// `show stat` of some kinds of rows of all proxies.
    pub(crate) fn masked(text: &'static str, mask: u8) -> Self {
        Self(format!("{text} {mask} -1"))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_begin_another_command() {
        assert_eq!(
            Command::new(&["show", "info"]).unwrap().to_string(),
            "show info"
        );
        for word in ["", "a b", "a;b", "a\nb", "a\\b", "ü", "<<", "\0"] {
            assert!(Command::new(&["set", word]).is_err(), "{word:?}");
        }
    }
}
