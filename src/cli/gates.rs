//! Gates on the terminal: a line each, with a sign and a word for what it says.

use super::output::{Output, Tone, plain};
use super::rows::wrapped;
use crate::engine::query::{Gate, GateState};

/// Columns of the names of gates.
const LEFT: usize = 10;

/// Columns of the signs.
const SIGN: usize = 2;

/// Prints gates in order. The first that does not let through is marked as the one where it stops.
pub(super) fn show(gates: &[Gate], out: &Output) {
    let mut route: Option<&str> = None;
    let mut is_stopped = false;
    for gate in gates {
        if gate.route.as_deref() != route {
            route = gate.route.as_deref();
            if let Some(route) = route {
                out.line(&out.paint(Tone::Dim, &format!("  at {}", plain(route))));
            }
        }
        let is_first = gate.is_stop() && !is_stopped;
        is_stopped |= gate.is_stop();
        line(gate, is_first, out);
    }
}

fn line(gate: &Gate, is_first_stop: bool, out: &Output) {
    let (sign, word, tone) = signs(gate.state, out.is_unicode);
    let receiver = gate.receiver.as_deref();
    let receiver = receiver.map_or(String::new(), |name| format!("{name}: "));
    let text = plain(&format!("{word}{receiver}{}", gate.says));
    let indent = 2 + SIGN + LEFT + 2;
    let room = out.width.saturating_sub(indent).max(20);
    let tone = if is_first_stop { tone } else { softer(tone) };
    for (index, part) in wrapped(&text, room).iter().enumerate() {
        let head = if index == 0 {
            format!(
                "  {} {}",
                out.paint(signs(gate.state, out.is_unicode).2, sign),
                out.paint(Tone::Dim, &format!("{:<LEFT$}  ", gate.gate.as_str()))
            )
        } else {
            " ".repeat(indent)
        };
        out.line(format!("{head}{}", out.paint(tone, part)).trim_end());
    }
}

/// Only where it stops the text is coloured; elsewhere the sign says enough.
fn softer(tone: Tone) -> Tone {
    if tone == Tone::Dim {
        Tone::Dim
    } else {
        Tone::Plain
    }
}

/// A sign, the word for it where it stops, and its colour.
fn signs(state: GateState, is_unicode: bool) -> (&'static str, &'static str, Tone) {
    let (fancy, ascii, word, tone) = match state {
        GateState::Passed => ("✓", "+", "", Tone::Good),
        GateState::Stopped => ("✗", "x", "no: ", Tone::Bad),
        GateState::Waiting => ("…", ".", "not yet: ", Tone::Warn),
        GateState::Unknown => ("?", "?", "", Tone::Warn),
        GateState::Noted => ("·", "-", "", Tone::Dim),
    };
    (if is_unicode { fancy } else { ascii }, word, tone)
}
