use proptest::prelude::*;

use super::*;

const PAGE: &str = "# pxname,svname,scur,status,type,\nweb,FRONTEND,3,OPEN,0,\napp,s1,1,UP,2,\n\
    app,\"s,2\",,no check,2,\napp,BACKEND,1,UP,1,\n";

fn only(kinds: &[RowKind], columns: &[&str]) -> Selection {
    Selection {
        kinds: kinds.iter().copied().collect(),
        columns: Columns::Some(columns.iter().map(|name| (*name).to_owned()).collect()),
        proxies: None,
    }
}

#[test]
fn a_page_is_read_by_the_names_of_its_columns() {
    let page = Statistics::parse(PAGE).unwrap();
    let servers: Vec<_> = page.of(RowKind::Server).map(Row::service).collect();
    assert_eq!(servers, ["s1", "s,2"]);
    let second = page.of(RowKind::Server).nth(1).unwrap();
    assert_eq!(second.field("status"), Some("no check"));
    assert_eq!(second.field("scur"), None);
    assert_eq!(second.field("missing"), None);
    assert_eq!(page.backend("app").unwrap().number("scur"), Some(1));
    assert!(page.backend("web").is_none());
}

#[test]
fn less_of_a_page_is_a_page() {
    let page = Statistics::parse(PAGE).unwrap();
    let less = page.select(&only(&[RowKind::Server], &["status"]));
    let csv = less.to_csv();
    assert_eq!(
        csv,
        "# pxname,svname,status,type\napp,s1,UP,2\napp,\"s,2\",no check,2\n"
    );
    assert_eq!(Statistics::parse(&csv).unwrap(), less);
    let proxies = Some(["other".to_owned()].into());
    let none = page.select(&Selection {
        proxies,
        ..only(&RowKind::ALL, &[])
    });
    assert_eq!(none.rows().count(), 0);
    assert!(Statistics::parse(&none.to_csv()).is_ok());
}

#[test]
fn what_was_cut_off_is_an_error_wherever_it_was_cut() {
    let whole = Statistics::parse(PAGE).unwrap();
    for end in 0..PAGE.len() {
        match Statistics::parse(&PAGE[..end]) {
            // A page that ends with a row may be shorter; of its last row nothing may be missing.
            Ok(page) => {
                let rows = page.rows().count();
                let same = whole.rows().zip(page.rows());
                assert!(
                    same.take(rows)
                        .all(|(one, other)| one.service() == other.service()
                            && one.kind() == other.kind()),
                    "{end}"
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let cut = Statistics::parse("# pxname,svname,status,type,\napp,s1,U");
    assert!(
        matches!(
            cut,
            Err(StatisticsError::CutOff {
                row: 1,
                found: 3,
                ..
            })
        ),
        "{cut:?}"
    );
}

#[test]
fn what_is_no_page_is_told_so() {
    for (text, expected) in [
        (
            "<html><body>401 Unauthorized",
            "but with \"<html><body>401 Unauthorized\"",
        ),
        ("", "it does not begin with"),
        ("# a,b\n", "it has no column pxname"),
        ("# pxname,svname,type\na,b,7\n", "row 1 has type \"7\""),
    ] {
        let error = Statistics::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_page_or_an_error(text in "(# )?(pxname,svname,type)?[\\PC\n,\"]{0,200}") {
        if let Ok(page) = Statistics::parse(&text) {
            prop_assert_eq!(Statistics::parse(&page.select(&Selection {
                kinds: RowKind::ALL.into_iter().collect(),
                columns: Columns::All,
                proxies: None,
            }).to_csv()).unwrap().rows().count(), page.rows().count());
        }
    }

    #[test]
    fn names_survive_the_wire(names in proptest::collection::vec("[ -~é]{1,12}", 1..8)) {
        let mut writer = csv::Writer::from_writer(b"# ".to_vec());
        writer.write_record(["pxname", "svname", "type"]).unwrap();
        for name in &names {
            writer.write_record(["app", name, "2"]).unwrap();
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let page = Statistics::parse(&text).unwrap();
        let again = Statistics::parse(&page.to_csv()).unwrap();
        let read: Vec<_> = again.rows().map(Row::service).collect();
        prop_assert_eq!(read, names);
    }
}

#[test]
fn a_row_that_is_longer_than_the_header_is_read_as_far_as_columns_have_names() {
    let page = "# pxname,svname,type\napp,s1,2,more\napp,BACKEND,1\n";
    let read = Statistics::parse(page).unwrap();
    let again = Statistics::parse(&read.to_csv()).unwrap();
    assert_eq!(again.rows().count(), 2);
    let row = again.of(RowKind::Server).next().unwrap();
    assert_eq!((row.proxy(), row.service()), ("app", "s1"));
}
