use hickory_resolver::proto::op::{OpCode, Query};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::CNAME;

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    let ip = std::net::IpAddr::from([192, 0, 2, last]);
    Record::from_rdata(name(owner), ttl, RData::from(ip))
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn reply(code: ResponseCode, answers: &[Record]) -> Result<Reply, SourceError> {
    let mut message = Message::response(0, OpCode::Query);
    message.add_query(Query::query(name("app.test."), RecordType::A));
    message.add_answers(answers.iter().cloned());
    message.metadata.response_code = code;
    read(Ok(message), "it", &name("app.test."), RecordType::A)
}

fn known(reply: Result<Reply, SourceError>) -> (usize, Option<u64>) {
    match reply {
        Ok(Reply::Known(records)) => (records.data.len(), records.life.map(|life| life.as_secs())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_lives_as_long_as_what_lives_shortest_in_it() {
    let answers = [a("app.test.", 60, 1), a("App.Test.", 30, 2)];
    assert_eq!(known(reply(ResponseCode::NoError, &answers)), (2, Some(30)));
    let answers = [a("x.test.", 60, 1), alias("app.test.", 5, "x.test.")];
    assert_eq!(known(reply(ResponseCode::NoError, &answers)), (1, Some(5)));
}

#[test]
fn an_alias_to_elsewhere_is_followed_and_one_to_nothing_is_no_server() {
    let answers = [alias("app.test.", 5, "x.test.")];
    let elsewhere = Reply::Alias(name("x.test."), Duration::from_secs(5));
    assert_eq!(reply(ResponseCode::NoError, &answers), Ok(elsewhere));
    assert_eq!(known(reply(ResponseCode::NXDomain, &answers)), (0, Some(5)));
}

#[test]
fn aliases_in_a_circle_and_records_of_others_are_errors() {
    let circle = [
        alias("app.test.", 5, "x.test."),
        alias("x.test.", 5, "app.test."),
    ];
    for answers in [&circle[..], &[a("other.test.", 60, 1)]] {
        let error = reply(ResponseCode::NoError, answers).unwrap_err();
        assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
    }
}

#[test]
fn a_referral_is_an_error_and_a_name_without_records_is_not() {
    let mut none = NoRecords::new(
        Query::query(name("app.test."), RecordType::A),
        ResponseCode::NoError,
    );
    assert_eq!(known(nothing(&none).map_err(|_| unreachable!())), (0, None));
    none.ns = Some([].into());
    assert!(nothing(&none).unwrap_err().contains("refers"));
}
