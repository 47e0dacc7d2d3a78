//! What reading a statistics page costs.

use std::fmt::Write as _;
use std::time::Instant;

use hafleet_query::{RowKind, Statistics};

use crate::figure::{Figure, percentile_ms, progress};

const ROWS: usize = 10_000;

/// The columns of HAProxy 2.6.
fn header() -> String {
    let names = hafleet_query::columns::COLUMNS.iter();
    let names: Vec<_> = names.map(|column| column.name).collect();
    format!("# {},\n", names.join(","))
}

/// A page of so many servers, in which the columns have values as HAProxy has them.
fn page() -> String {
    let mut text = header();
    for row in 0..ROWS {
        for column in hafleet_query::columns::COLUMNS {
            match column.name {
                "pxname" => text.push_str("app"),
                "svname" => write!(text, "server{row}").expect("text takes text"),
                "status" => text.push_str("UP"),
                "type" => text.push('2'),
                "addr" => {
                    write!(text, "10.0.{}.{}:8080", row / 250, row % 250).expect("text takes text");
                }
                name if column.is_number && name.len() < 8 => {
                    write!(text, "{}", row * 7).expect("text takes text");
                }
                _ if column.is_number => text.push('0'),
                _ => {}
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// Reads the page again and again.
pub(super) fn measure(rounds: u32) -> Vec<Figure> {
    let page = page();
    let mut times = Vec::new();
    for round in 1..=rounds {
        let begun = Instant::now();
        let read = Statistics::parse(&page).expect("a page");
        let rows = read.of(RowKind::Server).count();
        times.push(begun.elapsed());
        assert_eq!(rows, ROWS, "all rows are read");
        progress("a page", round, rounds, "read");
    }
    let (name, size) = (
        format!("read a statistics page of {ROWS} rows, p99"),
        page.len(),
    );
    let figure = Figure::under(&name, percentile_ms(&times, 99), "ms", 30.0);
    vec![figure.beside(format!("{rounds} times, {size} bytes"))]
}
