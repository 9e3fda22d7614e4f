//! The fonts that pictures are drawn and measured with: DejaVu Sans, regular and bold, embedded.
//!
//! Widths are those of the embedded fonts, the widest of [`STACK`], so that what fits here fits in a browser that
//! has another of them. Kerning is left out: it only makes texts narrower. The fonts of the machine are never
//! looked at: the same chart is the same picture everywhere.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use resvg::usvg::fontdb::{Database, Source};

static REGULAR: &[u8] = include_bytes!("fonts/DejaVuSans.ttf");
static BOLD: &[u8] = include_bytes!("fonts/DejaVuSans-Bold.ttf");

/// The family that is embedded.
pub(super) const FAMILY: &str = "DejaVu Sans";

/// What a browser is asked for: none of these is wider than the first.
pub(super) const STACK: &str =
    "'DejaVu Sans', 'Segoe UI', 'Helvetica Neue', Helvetica, Roboto, Arial, sans-serif";

/// Width of a character that the fonts do not have, in ems: another font will draw it, and an emoji is wide.
const FOREIGN: f64 = 1.4;

/// How heavy a text is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// The embedded fonts, for drawing. Read once.
pub(super) fn database() -> Arc<Database> {
    static DATABASE: OnceLock<Arc<Database>> = OnceLock::new();
    let database = DATABASE.get_or_init(|| {
        let mut database = Database::new();
        for font in [REGULAR, BOLD] {
            database.load_font_source(Source::Binary(Arc::new(font)));
        }
        database.set_sans_serif_family(FAMILY);
        Arc::new(database)
    });
    Arc::clone(database)
}

/// How wide a text is, in the unit of `size`.
pub(super) fn width(text: &str, weight: Weight, size: f64) -> f64 {
    let advances = advances(weight);
    let ems = text.chars().map(|c| advances.of(c));
    ems.sum::<f64>() * size
}

/// `text`, cut to `room` with an ellipsis where it is longer. Empty when not even that fits.
pub(super) fn fit(text: &str, weight: Weight, size: f64, room: f64) -> String {
    if width(text, weight, size) <= room {
        return text.to_owned();
    }
    let mut left = room - width("…", weight, size);
    if left < 0.0 {
        return String::new();
    }
    let mut kept = String::new();
    for c in text.chars() {
        left -= advances(weight).of(c) * size;
        if left < 0.0 {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}

/// `text` in at most `lines` lines of `room`, broken between words; the last one is cut.
pub(super) fn wrap(text: &str, weight: Weight, size: f64, room: f64, lines: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    let mut words = text.split(' ').peekable();
    while rows.len() + 1 < lines && words.peek().is_some() {
        let mut row = String::new();
        while let Some(word) = words.peek() {
            let longer = if row.is_empty() {
                (*word).to_owned()
            } else {
                format!("{row} {word}")
            };
            if width(&longer, weight, size) > room {
                break;
            }
            row = longer;
            words.next();
        }
        if row.is_empty() {
            break;
        }
        rows.push(row);
    }
    let rest: Vec<&str> = words.collect();
    if !rest.is_empty() {
        rows.push(fit(&rest.join(" "), weight, size, room));
    }
    rows
}

/// Widths of characters, in ems.
struct Advances {
    by_char: HashMap<u32, f64>,
}

impl Advances {
    fn of(&self, c: char) -> f64 {
        self.by_char.get(&u32::from(c)).copied().unwrap_or(FOREIGN)
    }
}

fn advances(weight: Weight) -> &'static Advances {
    static ADVANCES: OnceLock<[Advances; 2]> = OnceLock::new();
    let both = ADVANCES.get_or_init(|| {
        [REGULAR, BOLD].map(|font| Advances {
            by_char: read_advances(font).unwrap_or_default(),
        })
    });
    match weight {
        Weight::Regular => &both[0],
        Weight::Bold => &both[1],
    }
}

/// Reads the tables `cmap` (format 4), `head`, `hhea` and `hmtx` of a TrueType font; `None` if it is not one.
fn read_advances(font: &[u8]) -> Option<HashMap<u32, f64>> {
    let table = |tag: &[u8; 4]| {
        let count = usize::from(u16_at(font, 4)?);
        let mut records = (0..count).map(|index| 12 + 16 * index);
        let record = records.find(|at| font.get(*at..at + 4) == Some(tag))?;
        font.get(u32_at(font, record + 8)?..)
    };
    let (cmap, head, hhea, hmtx) = (
        table(b"cmap")?,
        table(b"head")?,
        table(b"hhea")?,
        table(b"hmtx")?,
    );
    let em = f64::from(u16_at(head, 18)?);
    let metrics = usize::from(u16_at(hhea, 34)?);
    let advance = |glyph: usize| Some(f64::from(u16_at(hmtx, 4 * glyph.min(metrics - 1))?) / em);
    let count = usize::from(u16_at(cmap, 2)?);
    let mut subtables = (0..count).filter_map(|index| cmap.get(u32_at(cmap, 8 + 8 * index)?..));
    let map = subtables.find(|table| u16_at(table, 0) == Some(4))?;
    let glyphs = glyphs(map)?;
    glyphs
        .into_iter()
        .map(|(c, glyph)| Some((c, advance(glyph)?)))
        .collect()
}

/// Characters and their glyphs, of a subtable of format 4.
fn glyphs(map: &[u8]) -> Option<Vec<(u32, usize)>> {
    let doubled = usize::from(u16_at(map, 6)?);
    let mut glyphs = Vec::new();
    for at in (0..doubled).step_by(2) {
        let (end, start) = (u16_at(map, 14 + at)?, u16_at(map, 16 + doubled + at)?);
        let delta = u16_at(map, 16 + 2 * doubled + at)?;
        let offset_at = 16 + 3 * doubled + at;
        let offset = usize::from(u16_at(map, offset_at)?);
        for c in start..=end {
            let glyph = if offset == 0 {
                c.wrapping_add(delta)
            } else {
                u16_at(map, offset_at + offset + 2 * usize::from(c - start))?.wrapping_add(delta)
            };
            if glyph != 0 && c != u16::MAX {
                glyphs.push((u32::from(c), usize::from(glyph)));
            }
        }
    }
    Some(glyphs)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_be_bytes([four[0], four[1], four[2], four[3]])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // fonttools: hmtx of DejaVuSans.ttf and DejaVuSans-Bold.ttf, 2048 units to the em.
        for (text, weight, units) in [
            ("A", Weight::Regular, 1401.0),
            ("m", Weight::Regular, 1995.0),
            ("→", Weight::Regular, 1716.0),
            ("A", Weight::Bold, 1585.0),
            ("ж", Weight::Bold, 2038.0),
        ] {
            assert!((width(text, weight, 2048.0) - units).abs() < 1e-6, "{text}");
        }
        assert!((width("漢", Weight::Regular, 10.0) - 14.0).abs() < 1e-9);
    }

    #[test]
    fn long_texts_are_cut_and_broken_between_words() {
        let room = width("orders and", Weight::Regular, 11.0);
        assert_eq!(fit("orders and", Weight::Regular, 11.0, room), "orders and");
        assert_eq!(
            fit("orders and i", Weight::Regular, 11.0, room),
            "orders a…"
        );
        assert_eq!(fit("orders", Weight::Regular, 11.0, 3.0), "");
        let rows = wrap(
            "orders and invoices and more",
            Weight::Regular,
            11.0,
            room,
            2,
        );
        assert_eq!(rows, ["orders and", "invoices…"]);
        let rows = wrap(&"x".repeat(50), Weight::Regular, 11.0, room, 2);
        assert_eq!(rows.len(), 1);
    }
}
