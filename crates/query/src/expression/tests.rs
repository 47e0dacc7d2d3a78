use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::part::{Facts, Reading};
use crate::statistics::{Columns, RowKind, Statistics};
use crate::{Missing, ProcessInfo};

const PAGE: &str = "# pxname,svname,scur,slim,status,weight,act,bck,type,qcur,\n\
    web,FRONTEND,7,100,OPEN,,,,0,,\n\
    app,s1,4,,UP,1,1,0,2,0,\napp,s2,2,,UP,1,1,0,2,1,\napp,s3,0,,DOWN,1,1,0,2,0,\napp,b1,0,,UP,1,0,1,2,0,\n\
    app,BACKEND,6,10,UP,2,2,1,1,1,\nsolo,s9,1,,no check,1,1,0,2,0,\nsolo,BACKEND,1,10,UP,1,1,0,1,0,\n";

fn reading(id: &str) -> Reading {
    Reading {
        facts: Facts {
            id: id.into(),
            zone: "z1".into(),
            applied_revision: "3.17".into(),
            ..Facts::default()
        },
        statistics: Statistics::parse(PAGE).unwrap(),
        info: ProcessInfo::parse(
            "Name: HAProxy\nVersion: 2.6.12\nCurrConns: 12\nUlimit-n: 100\nFuture: 7\n",
        ),
        certificates: Vec::new(),
        age: std::time::Duration::ZERO,
    }
}

fn asked(expression: &Expression, ids: &[&str]) -> Asked {
    let wanted = expression.wanted();
    Asked {
        parts: ids.iter().map(|id| wanted.part(&reading(id))).collect(),
        missing: Vec::new(),
        newest_revision: "3.17".into(),
        newest_endpoints: String::new(),
    }
}

fn value(source: &str) -> Result<Value, String> {
    let expression = Expression::compile(source).map_err(|error| error.to_string())?;
    expression
        .answer(&asked(&expression, &["lb1", "lb2"]), 0)
        .outcome
}

#[test]
fn expressions_are_evaluated_over_all_load_balancers() {
    for (source, expected) in [
        ("size(lbs)", json!(2)),
        ("lbs.map(lb, lb.id)", json!(["lb1", "lb2"])),
        (
            "lbs.all(lb, lb.servers.exists(s, s.status == 'DOWN'))",
            json!(true),
        ),
        (
            "lbs.all(lb, lb.servers.all(s, s.state == 'up'))",
            json!(false),
        ),
        (
            "lbs[0].servers.filter(s, s.state == 'down').map(s, s.name)",
            json!(["s3"]),
        ),
        ("sum(lbs.map(lb, lb.info.CurrConns))", json!(24)),
        (
            "sum(flatten(lbs.map(lb, lb.servers.map(s, s.scur))))",
            json!(14),
        ),
        (
            "max(flatten(lbs.map(lb, lb.servers.map(s, s.qcur))))",
            json!(1),
        ),
        (
            "lbs[0].backends.filter(b, b.name == 'app')[0].servers.map(s, s.svname)",
            json!(["s1", "s2", "s3", "b1"]),
        ),
        ("lbs.exists_one(lb, lb.id == 'lb2')", json!(true)),
        (
            "lbs[0].servers.filter(s, s.backup).map(s, s.name)",
            json!(["b1"]),
        ),
        (
            "lbs.all(lb, lb.applied_revision == newest_revision)",
            json!(true),
        ),
        ("lbs[0].info['Ulimit-n'] + 1", json!(101)),
        ("lbs[0].info['Future'] == 7", json!(true)),
        ("has(lbs[0].servers[0].slim)", json!(false)),
        ("has(lbs[0].frontends[0].slim)", json!(true)),
        ("double(lbs[0].frontends[0].scur) / 2.0", json!(3.5)),
        ("lbs[0].info.Version.startsWith('2.')", json!(true)),
        ("'lb2' in lbs.map(lb, lb.id)", json!(true)),
        ("rolling_restartable('app', 1, 0.3)", json!(true)),
        ("rolling_restartable('app', 1, 0.5)", json!(false)),
        ("up('app')", json!(true)),
        ("survives_restart('s1')", json!(true)),
        ("converged()", json!(true)),
        ("connections() > 10 ? 'many' : 'few'", json!("many")),
        ("{'a': 1, 'b': 2}.size()", json!(2)),
        (
            "lbs.map(lb, {'id': lb.id, 'n': size(lb.servers)})",
            json!([{"id": "lb1", "n": 5}, {"id": "lb2", "n": 5}]),
        ),
        ("[1, 2, 3].map(x, x * 2)", json!([2, 4, 6])),
        ("sum([])", json!(0)),
        ("lbs[0].age < 1.5", json!(true)),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_column_before_anybody_is_asked() {
    for (source, column, part) in [
        (
            "lbs.all(lb, lb.server.all(s, true))",
            16,
            "a lb has no server; did you mean servers?",
        ),
        (
            "lbs.all(lb, lb.servers.all(s, s.scr > 1))",
            33,
            "did you mean scur?",
        ),
        (
            "lbs.all(lb, lb.servers.all(s, s.scur > 'a'))",
            40,
            "int and string have no order",
        ),
        (
            "lbs.all(lb, lb.id)",
            16,
            "this has to be true or false, and is a string",
        ),
        ("lb.id == 'x'", 1, "there is no lb here; did you mean lbs?"),
        ("lbs.id", 5, "a list has no fields"),
        ("sum(lbs.map(lb, lb.id))", 4, "write sum(LIST of numbers)"),
        (
            "rolling_restartable('app')",
            20,
            "write rolling_restartable(",
        ),
        ("lbs.frobnicate(x, 1)", 16, "there is no x here"),
        ("connections() + 1.5", 17, "numbers of two types do not mix"),
        ("size(lbs) == 'a'", 14, "int and string are never equal"),
        ("lbs[0] == lbs[1]", 4, "whole records cannot be compared"),
        ("1 + ", 5, "it ends too early"),
        ("lbs.all(lb, ", 13, "it ends too early"),
        ("(1", 3, "missing ')' at the end"),
        ("'é' + b", 7, "there is no b here"),
        ("1 +\n  b", 3, "there is no b here"),
        ("lbs.all(1, true)", 9, "argument must be a simple name"),
        ("b'x'", 1, "there are no bytes"),
        ("", 1, "there is no expression"),
        ("lbs[0].info.Currconns", 13, "did you mean CurrConns?"),
        ("lbs[0].matches('a')", 15, "there is no function matches"),
    ] {
        let error = Expression::compile(source).expect_err(source);
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.to_string().contains(part), "{source}: {error}");
    }
    let error = Expression::compile("1 +\n  b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 3: there is no b here; there are lbs, newest_revision\n    b\n    ^"
    );
}

#[test]
fn only_what_is_touched_is_asked_for() {
    let wanted = |source: &str| Expression::compile(source).unwrap().wanted();
    let columns = |source: &str| match wanted(source).table.unwrap().columns {
        Columns::Some(columns) => columns.into_iter().collect::<Vec<_>>(),
        Columns::All => vec!["all".to_owned()],
    };
    assert_eq!(
        columns("lbs.all(lb, lb.servers.all(s, s.scur < 5))"),
        ["scur"]
    );
    assert_eq!(
        columns("lbs.map(lb, lb.servers.filter(s, s.state == 'up').size())"),
        ["bck", "status", "weight"]
    );
    assert_eq!(columns("lbs.map(lb, lb.servers)"), ["all"]);
    assert_eq!(
        columns("lbs.map(lb, lb.servers.filter(s, s.scur > 5))"),
        ["all"]
    );
    assert_eq!(
        columns("sum(lbs.map(lb, size(lb.servers)))"),
        Vec::<String>::new()
    );
    let restart = wanted("rolling_restartable('app', 2, 0.8)").table.unwrap();
    assert_eq!(restart.proxies, Some(["app".to_owned()].into()));
    assert_eq!(restart.kinds, [RowKind::Backend, RowKind::Server].into());
    assert_eq!(wanted("lbs.all(lb, lb.id != '')").table, None);
    let wanted = wanted("sum(lbs.map(lb, lb.info.CurrConns))");
    assert_eq!(
        (
            wanted.table.is_none(),
            wanted.info.has("CurrConns"),
            wanted.info.has("Pid")
        ),
        (true, true, false)
    );
}

#[test]
fn what_one_does_not_know_nobody_knows() {
    let unknown = |source: &str| value(source).unwrap_err();
    assert!(unknown("up('solo')").contains("cannot say"));
    assert!(unknown("up('missing')").contains("no load balancer has a backend missing"));
    assert!(unknown("lbs.all(lb, lb.servers.all(s, s.slim > 0))").contains("no slim"));
    assert!(unknown("1 / 0").contains("divides by zero"));
    assert!(unknown("lbs[7].id").contains("shorter"));
    assert!(unknown("max([])").contains("empty list"));
    let expression = Expression::compile("size(lbs) > 0").unwrap();
    let mut asked = asked(&expression, &["lb1"]);
    asked.missing.push(Missing {
        lb: "lb2".into(),
        reason: "it is dead".into(),
    });
    let strict = expression.answer(&asked, 0).outcome.unwrap_err();
    assert_eq!(strict, "1 of 2 load balancers did not answer: lb2");
    assert_eq!(expression.answer(&asked, 1).outcome, Ok(json!(true)));
}

#[test]
fn the_book_has_every_field() {
    let book = include_str!("../../../../docs/src/snapshot.md");
    let records = [
        types::Type::Lb,
        types::Type::Info,
        types::Type::Row(RowKind::Frontend),
        types::Type::Row(RowKind::Backend),
        types::Type::Row(RowKind::Server),
        types::Type::Row(RowKind::Listener),
    ];
    for record in records {
        for name in record.field_names() {
            assert!(book.contains(&format!("| `{name}` |")), "{record}: {name}");
        }
    }
    let questions = include_str!("../../../../docs/src/questions.md");
    for (name, _) in functions::Function::ALL {
        assert!(questions.contains(&format!("`{name}(")), "{name}");
    }
}

#[test]
fn what_would_take_for_ever_is_refused() {
    let degree = |source: &str| cost::degree(&Parser::new().parse(source).unwrap());
    assert_eq!(
        degree("lbs.all(lb, lb.backends.all(b, b.servers.all(s, s.scur > 0)))"),
        1
    );
    assert_eq!(
        degree("lbs.all(lb, lb.servers.filter(s, s.scur > 0).all(s, s.qcur > 0))"),
        1
    );
    assert_eq!(degree("lbs.all(a, lbs.all(b, a.id == b.id))"), 2);
    assert_eq!(
        degree("lbs.all(a, a.servers.all(s, a.servers.all(t, t.scur == s.scur)))"),
        2
    );
    assert_eq!(degree("flatten(lbs.map(a, lbs))"), 2);
    assert_eq!(degree("lbs.all(a, up('app'))"), 2);
    assert!(cost::allow(1, 1_000_000).is_ok());
    assert!(cost::allow(2, 2_000).is_ok());
    let words = cost::allow(3, 10_000).unwrap_err();
    assert!(words.contains("everything with everything"), "{words}");
}

#[test]
fn the_longest_and_the_deepest_expressions_end() {
    let fits = |text: &str| text.len() <= MAX_BYTES;
    let chain = vec!["1"; 2_000].join("+");
    let selects = format!("lbs{}", ".a".repeat(2_000));
    let ands = vec!["true"; 680].join("&&");
    let brackets = format!("{}1{}", "(".repeat(2_000), ")".repeat(2_000));
    let lists = format!("{}1{}", "[".repeat(45), "]".repeat(45));
    let minus = format!("{}1", "- ".repeat(2_000));
    for text in [&chain, &selects, &ands, &brackets, &lists, &minus] {
        assert!(fits(text), "{}", text.len());
    }
    assert_eq!(value(&chain), Ok(json!(2_000)));
    assert_eq!(value(&ands), Ok(json!(true)));
    assert!(value(&selects).is_err());
    assert!(value(&brackets).is_err());
    let _ = value(&lists);
    let _ = value(&minus);
    assert!(
        value(&"1".repeat(MAX_BYTES + 1))
            .unwrap_err()
            .contains("4096 are the most")
    );
}

fn fragments() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "lbs",
        "lb",
        "s",
        ".all(",
        ".exists(",
        ".map(",
        ".filter(",
        "lb.servers",
        "s.scur",
        "s.status",
        "has(",
        "sum(",
        "up(",
        "'app'",
        "1",
        "2.5",
        "true",
        "&&",
        "||",
        "!",
        "==",
        "<",
        "in",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "-",
        "é",
        "\"",
        "size(",
        "flatten(",
        ".info.CurrConns",
        " ",
    ]);
    prop::collection::vec(word, 1..14).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_asked_there_is_a_value_or_an_error_with_a_place(source in fragments()) {
        match Expression::compile(&source) {
            Err(error) => {
                prop_assert!(!error.message.is_empty());
                prop_assert!(error.line >= 1 && error.column >= 1);
                let lines = source.lines().count().max(1);
                prop_assert!(error.line <= lines + 1);
                prop_assert!(error.column <= source.chars().count() + 2, "{error}");
            }
            Ok(expression) => {
                let answer = expression.answer(&asked(&expression, &["lb1", "lb2"]), 0);
                if let Err(words) = answer.outcome {
                    prop_assert!(!words.is_empty());
                }
            }
        }
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(source in "\\PC{0,60}") {
        let _ = Expression::compile(&source);
    }
}
