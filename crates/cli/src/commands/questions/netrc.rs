//! User and password of a statistics page, out of the file that curl and others read (`~/.netrc`, or `$NETRC`).

/// What `text` has for `host`: the first entry of its name, or else the default.
pub(super) fn login(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = text.split_whitespace().peekable();
    let mut found: Option<(Option<String>, Option<String>)> = None;
    let mut fallback: Option<(Option<String>, Option<String>)> = None;
    let mut place: Option<bool> = None;
    while let Some(word) = words.next() {
        let mut entry = match place {
            Some(true) => found.as_mut(),
            Some(false) => fallback.as_mut(),
            None => None,
        };
        match word {
            "machine" => {
                let is_it = words.next() == Some(host) && found.is_none();
                place = is_it.then_some(true);
                if is_it {
                    found = Some((None, None));
                }
            }
            "default" => {
                place = Some(false);
                fallback = Some((None, None));
            }
            "login" => {
                let value = words.next().map(str::to_owned);
                if let Some(entry) = &mut entry {
                    entry.0 = value;
                }
            }
            "password" => {
                let value = words.next().map(str::to_owned);
                if let Some(entry) = &mut entry {
                    entry.1 = value;
                }
            }
            "account" => {
                words.next();
            }
            _ => {}
        }
    }
    let (user, password) = found.or(fallback)?;
    Some((user?, password.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_the_host_is_taken_and_else_the_default() {
        let text = "machine a login u1 password p1\nmachine b\n  login u2\n  password p2\ndefault login u3 password p3\n";
        let of = |host: &str| login(text, host);
        assert_eq!(of("a"), Some(("u1".into(), "p1".into())));
        assert_eq!(of("b"), Some(("u2".into(), "p2".into())));
        assert_eq!(of("c"), Some(("u3".into(), "p3".into())));
        assert_eq!(login("machine a login u password p", "c"), None);
        assert_eq!(login("machine", "a"), None);
    }
}
