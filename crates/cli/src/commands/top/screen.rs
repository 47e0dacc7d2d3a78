//! How the state is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::model::{Mode, Model};
use super::table::{self, Cell as Figure, View};
use crate::print::{Tone, has_colour};

const HELP: &str = "q quit  Tab view  s sort  o order  / filter  d drain  r ready";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(model)), head);
    draw_table(frame, model, body);
    frame.render_widget(Paragraph::new(footing(model)), foot);
}

fn colour(tone: Tone) -> Style {
    let style = Style::new();
    if !has_colour() {
        return style;
    }
    match tone {
        Tone::Plain => style,
        Tone::Good => style.fg(Color::Green),
        Tone::Warning => style.fg(Color::Yellow),
        Tone::Bad => style.fg(Color::Red),
    }
}

fn heading(model: &Model) -> Vec<Line<'_>> {
    let tabs = View::ALL.iter().enumerate().map(|(index, view)| {
        let style = if *view == model.view {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        Span::styled(format!(" {} {} ", index + 1, view.title()), style)
    });
    let mut tabs: Vec<_> = tabs.collect();
    if !model.filter.is_empty() {
        tabs.push(Span::raw(format!("  filter: {}", model.filter)));
    }
    vec![Line::from(summary(model)), Line::from(tabs)]
}

/// What is wrong first: a narrow terminal cuts off the rest.
fn summary(model: &Model) -> Vec<Span<'_>> {
    let mut spans = Vec::new();
    let mut wrong = |words: String| {
        spans.push(Span::styled(words, colour(Tone::Bad)));
        spans.push(Span::raw("  "));
    };
    if let Some(trouble) = &model.trouble {
        let words = trouble.lines().next().unwrap_or_default();
        wrong(format!("as last seen: {words}"));
    }
    let Some(snapshot) = &model.snapshot else {
        spans.push(Span::raw("asking the fleet"));
        return spans;
    };
    if !snapshot.missing.is_empty() {
        let missing: Vec<_> = snapshot.missing.iter().map(|node| &*node.lb).collect();
        wrong(format!("no answer: {}", missing.join(", ")));
    }
    let traffic = || snapshot.nodes.iter().map(|node| node.traffic);
    let sessions: u64 = traffic().map(|traffic| traffic.sessions).sum();
    let rate: u64 = traffic().map(|traffic| traffic.rate).sum();
    let nodes = snapshot.nodes.len();
    spans.push(Span::raw(format!(
        "{nodes} nodes, {sessions} connections, {rate}/s"
    )));
    spans
}

fn draw_table(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let fitting = model.view.fitting(area.width);
    let columns = model.view.columns();
    let rows = model.rows();
    let header = fitting.iter().map(|position| {
        let title = columns[*position].title.to_uppercase();
        let mark = match (model.sort() == *position, model.is_reversed()) {
            (false, _) => "",
            (true, false) => "↓",
            (true, true) => "↑",
        };
        Cell::new(format!("{title}{mark}"))
    });
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    let body = rows.iter().map(|row| drawn(row, &fitting));
    // Names and states take what is left.
    let widths = fitting.iter().map(|position| match position {
        0 | 1 => Constraint::Min(columns[*position].width),
        other => Constraint::Length(columns[*other].width),
    });
    let table = Table::new(body, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(model.position(&rows));
    frame.render_stateful_widget(table, area, &mut state);
}

fn drawn<'a>(row: &'a table::Row, fitting: &[usize]) -> Row<'a> {
    let cells = fitting.iter().map(|position| {
        let cell = row.cells.get(*position);
        let text = cell.map_or("", Figure::text);
        match position {
            1 => Cell::new(text).style(colour(row.tone)),
            _ => Cell::new(text),
        }
    });
    Row::new(cells)
}

fn footing(model: &Model) -> Line<'_> {
    match &model.mode {
        Mode::Filter => Line::from(format!("/{}", model.filter)),
        Mode::Confirm(action) => {
            let style = colour(Tone::Warning).add_modifier(Modifier::BOLD);
            Line::styled(format!("{} y/n", action.question()), style)
        }
        Mode::Browse if !model.message.is_empty() => Line::from(model.message.as_str()),
        Mode::Browse => Line::from(HELP),
    }
}
