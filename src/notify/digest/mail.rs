//! A digest as the HTML of a mail: responsive, readable on dark grounds, its chart inside the mail.

use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::super::email::mjml_to_html;
use super::super::limits::{digest as short, mail as limits};
use super::super::{Chart, text};
use super::{Mark, Row, Section, Sheet};

/// The template, laid out once; data never passes through MJML.
static TEMPLATE: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let html = mjml_to_html(include_str!("../../../templates/digest.mjml"))?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .add_template_owned("digest", html)
        .map_err(|error| error.to_string())?;
    Ok(environment)
});

#[derive(Serialize)]
struct Page<'a> {
    verdict: &'a str,
    about: &'a str,
    color: String,
    notes: &'a [String],
    picture: Option<PictureView<'a>>,
    sections: Vec<SectionView>,
    receiver: String,
    decided: &'a str,
}

#[derive(Serialize)]
struct PictureView<'a> {
    cid: &'a str,
    alt: &'a str,
}

#[derive(Serialize)]
struct SectionView {
    heading: String,
    head: Vec<&'static str>,
    rows: Vec<RowView>,
    more: Option<String>,
}

#[derive(Serialize)]
struct RowView {
    cells: Vec<CellView>,
    is_new: bool,
    href: Option<String>,
}

#[derive(Serialize)]
struct CellView {
    /// The head of its column, for narrow screens.
    name: String,
    text: String,
    class: String,
}

/// Texts of at most so many characters stay on one line.
const SHORT: usize = 14;

/// How much of it is shown.
#[derive(Clone, Copy)]
struct Room {
    rows: usize,
    cell: usize,
}

/// The HTML body, with less detail when it is too large; `None` when it fails, and the plain text goes alone.
/// `picture` has the Content-ID of the chart.
pub(in crate::notify) fn html(
    sheet: &Sheet,
    receiver: &str,
    decided: &str,
    picture: Option<(&str, &Chart)>,
) -> Option<String> {
    let whole = Room {
        rows: usize::MAX,
        cell: short::CELL,
    };
    let less = Room {
        rows: short::FEW_ROWS,
        cell: short::SHORT_CELL,
    };
    for room in [whole, less] {
        match filled(sheet, receiver, decided, picture, room) {
            Ok(html) if html.len() <= limits::HTML_BYTES => return Some(html),
            Ok(_) => {}
            Err(error) => {
                tracing::error!("digest sent as plain text: its template failed: {error}");
                return None;
            }
        }
    }
    tracing::warn!("digest sent as plain text: its HTML is too large");
    None
}

fn filled(
    sheet: &Sheet,
    receiver: &str,
    decided: &str,
    picture: Option<(&str, &Chart)>,
    room: Room,
) -> Result<String, String> {
    let page = Page {
        verdict: &sheet.verdict,
        about: &sheet.about,
        color: format!("#{:06x}", sheet.mark.rgb()),
        notes: &sheet.notes,
        picture: picture.map(|(cid, chart)| PictureView {
            cid,
            alt: &chart.alt,
        }),
        sections: sheet.sections.iter().map(|part| view(part, room)).collect(),
        receiver: text::line(receiver, 80),
        decided,
    };
    let environment = TEMPLATE.as_ref().map_err(Clone::clone)?;
    let template = environment.get_template("digest");
    let html = template.and_then(|template| template.render(Serde(page)));
    html.map_err(|error| error.to_string())
}

fn view(part: &Section, room: Room) -> SectionView {
    let shown = part.rows.len().min(room.rows);
    SectionView {
        heading: part.heading(),
        head: part.head.to_vec(),
        rows: part.rows[..shown]
            .iter()
            .map(|row| row_view(row, part.head, room))
            .collect(),
        more: part.remainder(shown),
    }
}

fn row_view(row: &Row, head: &[&str], room: Room) -> RowView {
    let cells = row.cells.iter().zip(head).enumerate();
    let cells = cells.map(|(index, (cell, name))| {
        let mut class = vec![match cell.mark {
            Mark::Plain => "plain",
            Mark::Dim => "dim",
            Mark::Good => "good",
            Mark::Warn => "warn",
            Mark::Bad => "bad",
        }];
        class.extend((index == 0).then_some("lead"));
        class.extend(cell.text.is_empty().then_some("empty"));
        let is_short = index > 0 && text::measure(&cell.text) <= SHORT;
        class.extend(is_short.then_some("short"));
        CellView {
            name: name.to_lowercase(),
            text: text::cut(&cell.text, room.cell),
            class: class.join(" "),
        }
    });
    RowView {
        cells: cells.collect(),
        is_new: row.is_new,
        href: row.href.clone(),
    }
}
