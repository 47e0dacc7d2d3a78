use super::*;

fn error(content: &str) -> String {
    parse(content.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_server_needs_no_more_than_an_address() {
    let found = parse(br#"[{"address":"192.0.2.7"},{"address":"2001:db8::7","port":80}]"#).unwrap();
    let ids: Vec<_> = found.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, ["192.0.2.7", "[2001:db8::7]:80"]);
    assert_eq!((found[0].port, found[1].port), (None, Some(80)));
}

#[test]
fn all_that_is_given_is_taken() {
    let content = br#"[{"address":"192.0.2.7","name":"a","port":80,"weight":0,"zone":"z"}]"#;
    let found = parse(content).unwrap().remove(0);
    assert_eq!(found.id, "a");
    assert_eq!((found.port, found.weight), (Some(80), Some(0)));
    assert_eq!(found.zone.as_deref(), Some("z"));
}

#[test]
fn an_empty_list_is_an_answer_and_an_empty_file_is_none() {
    assert_eq!(parse(b"[]").unwrap(), []);
    assert!(error("").contains("line 1"));
}

#[test]
fn every_beginning_of_a_list_is_an_error() {
    let whole = r#"[{"address":"192.0.2.7","port":8080},{"address":"192.0.2.8","name":"b"}]"#;
    for end in 0..whole.len() {
        assert!(error(&whole[..end]).contains("line"), "{}", &whole[..end]);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (content, words) in [
        ("[\n{\"address\":\"a.test\"}]", "line 2"),
        (r#"[{"address":"192.0.2.7","prot":80}]"#, "`prot`"),
        (r#"[{"address":"192.0.2.7","port":0}]"#, "nonzero"),
        (r#"[{"address":"192.0.2.7","weight":257}]"#, "0 to 256"),
        (r#"[{"address":"192.0.2.7"}] x"#, "trailing"),
        (r#"{"address":"192.0.2.7"}"#, "line 1"),
        (
            r#"[{"address":"192.0.2.7"},{"address":"192.0.2.7"}]"#,
            "twice",
        ),
    ] {
        let error = error(content);
        assert!(error.contains(words), "{error}");
    }
}
