use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::screen;
use super::super::snapshot::tests::snapshot;
use super::*;

fn seen() -> Model {
    let mut model = Model::default();
    model.see(Ok(snapshot()), 1.0);
    model
}

fn press(model: &mut Model, keys: &str) -> Effect {
    let mut effect = Effect::None;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            '↓' => KeyCode::Down,
            other => KeyCode::Char(other),
        };
        effect = model.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

fn drawn(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, model)).unwrap();
    terminal.backend().to_string()
}

#[track_caller]
fn assert_shows(model: &Model, words: &[&str]) {
    let screen = drawn(model, 100, 12);
    for word in words {
        assert!(screen.contains(word), "{word:?} is not on\n{screen}");
    }
}

fn names(model: &Model) -> Vec<String> {
    let rows = model.rows();
    rows.iter().map(|row| row.subject.to_string()).collect()
}

#[test]
fn all_that_is_known_is_on_the_screen() {
    let mut model = Model::default();
    assert_shows(&model, &["asking the fleet"]);
    model.see(Ok(snapshot()), 1.0);
    assert_shows(
        &model,
        &[
            "2 nodes, 14 connections, 60/s",
            "no answer: n3",
            "app/s1",
            "DOWN on 1, UP on 1",
            "L4CON",
            "q quit",
        ],
    );
    press(&mut model, "2");
    assert_shows(&model, &["BACKEND↓", "1 of 2"]);
    press(&mut model, "1");
    assert_shows(&model, &["leads", "serves", "3.2.1", "n3", "no answer"]);
}

#[test]
fn rows_are_sorted_by_any_column_and_filtered_by_any_word() {
    let mut model = seen();
    assert_eq!(names(&model), ["app/s1", "app/s2"]);
    press(&mut model, "o");
    assert_eq!(names(&model), ["app/s2", "app/s1"]);
    press(&mut model, "osss");
    assert_eq!(model.view.columns()[model.sort()].title, "queue");
    assert_eq!(names(&model), ["app/s2", "app/s1"]);
    press(&mut model, "/DOXX\x08\x08wn\n");
    assert_eq!(
        (names(&model), &*model.filter),
        (vec!["app/s2".to_owned()], "DOwn")
    );
    press(&mut model, "\x1b");
    assert_eq!(names(&model).len(), 2);
    // Letters are no commands while a filter is typed.
    assert_eq!(press(&mut model, "/q"), Effect::None);
    assert!(names(&model).is_empty());
    assert_shows(&model, &["/q"]);
}

#[test]
fn nothing_is_asked_without_a_yes() {
    let mut model = seen();
    assert_eq!(press(&mut model, "↓d"), Effect::None);
    assert_shows(&model, &["drain app/s2 on all nodes? y/n"]);
    assert_eq!(press(&mut model, "n"), Effect::None);
    assert_shows(&model, &["nothing was asked"]);
    let action = |is_drain, subject| Effect::Do(Action { is_drain, subject });
    let server = Subject::Server {
        backend: "app".into(),
        server: "s2".into(),
    };
    assert_eq!(press(&mut model, "dy"), action(true, server.clone()));
    assert_eq!(press(&mut model, "ry"), action(false, server));
    let node = Subject::Node("n1".into());
    assert_eq!(press(&mut model, "1dy"), action(true, node));
    assert_eq!(press(&mut model, "2dy"), Effect::None);
    assert_shows(&model, &["cannot be drained"]);
    assert_eq!(press(&mut model, "\n"), Effect::None);
    assert_eq!((model.view, &*model.filter), (View::Servers, "app/"));
}

#[test]
fn the_chosen_row_stays_chosen_when_rows_move_or_go() {
    let mut model = seen();
    press(&mut model, "↓↓↓");
    assert_eq!(model.position(&model.rows()), Some(1));
    press(&mut model, "o");
    assert_eq!(model.position(&model.rows()), Some(0));
    let mut fewer = snapshot();
    fewer.servers.pop();
    model.see(Ok(fewer), 1.0);
    assert_eq!(model.position(&model.rows()), Some(0));
    model.see(Ok(Snapshot::default()), 1.0);
    assert_eq!(model.position(&model.rows()), None);
    assert_eq!(press(&mut model, "↓d\n"), Effect::None);
}

#[test]
fn a_fleet_that_goes_is_shown_as_last_seen() {
    let mut model = seen();
    model.see(Err("nobody answers\nat all".into()), 1.0);
    assert_shows(&model, &["as last seen: nobody answers", "app/s1"]);
    model.see(Ok(snapshot()), 1.0);
    assert!(!drawn(&model, 100, 12).contains("as last seen"));
}

#[test]
fn errors_are_shown_by_the_second_and_a_reload_makes_none() {
    let mut model = seen();
    let mut later = snapshot();
    later.servers[0].traffic.errors += 10;
    later.servers[1].traffic.errors = 0;
    model.see(Ok(later), 4.0);
    let rows = model.rows();
    let shown: Vec<_> = rows.iter().map(|row| row.cells[5].text()).collect();
    assert_eq!(shown, ["2.5", "0.0"]);
}

#[test]
fn any_size_of_terminal_will_do() {
    let mut model = seen();
    for view in ["1", "2", "3"] {
        press(&mut model, view);
        for (width, height) in [(1, 1), (3, 2), (10, 4), (40, 5), (300, 100)] {
            drawn(&model, width, height);
        }
    }
    assert!(drawn(&model, 47, 8).contains("app/s1"));
}

#[test]
fn both_ways_out() {
    let mut model = seen();
    assert_eq!(press(&mut model, "q"), Effect::Quit);
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut model, "/");
    assert_eq!(model.press(control), Effect::Quit);
}
