//! Text from outside, made fit to show.
//!
//! Role: whatever a source, a rule file or a receiver's answer says is data. These functions take out
//! what no message may carry (control characters, terminal escapes, marks that reorder or hide text) and
//! hold every text to a bound. Guarantees: the result has no control character except the line feed (and
//! not even that in a line), and is never longer than asked. They do not escape: each platform has its own
//! escapes, in the file of its receiver.

use std::borrow::Cow;

/// Stands where text was cut.
const CUT: char = '…';

/// Bytes of a long text that are looked at at all; what is shown is far shorter. The rest is dropped before
/// any work is done on it, so that an error text of a megabyte costs as little as a short one.
const WINDOW_BYTES: usize = 32 * 1024;

/// Length as the strictest platform counts it: UTF-16 units, which are never fewer than characters.
pub(crate) fn measure(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// One line: cleaned, white space folded, at most `limit` units, cut at the end.
pub(crate) fn line(text: &str, limit: usize) -> String {
    let cleaned = clean(head_window(text, limit));
    let folded = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&folded, limit)
}

/// Lines: cleaned, at most `limit` units, cut at the end.
pub(crate) fn block(text: &str, limit: usize) -> String {
    cut(clean(head_window(text, limit)).trim(), limit)
}

/// The end of a text, where errors say what went wrong: cleaned by `also` too, at most `limit` units.
pub(crate) fn tail(text: &str, limit: usize, also: impl Fn(&str) -> String) -> String {
    let cleaned = also(&clean(tail_window(text)));
    let trimmed = cleaned.trim();
    if text.len() <= WINDOW_BYTES && measure(trimmed) <= limit {
        return trimmed.to_owned();
    }
    let mut units = 1;
    let kept = trimmed
        .char_indices()
        .rev()
        .take_while(|(_, c)| {
            units += c.len_utf16();
            units <= limit
        })
        .last();
    let end = kept.map_or("", |(index, _)| &trimmed[index..]);
    format!("{CUT}{}", end.trim_start_matches(is_joining))
}

/// Shortened to `limit` units, with a mark where it was cut.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    // Bytes are never fewer than units, and a unit is at most three bytes.
    let is_short = text.len() <= limit || (text.len() <= 3 * limit && measure(text) <= limit);
    if is_short {
        return text.to_owned();
    }
    let mut units = CUT.len_utf16();
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units <= limit
    });
    let mut short: String = kept.collect();
    while short.ends_with(|c: char| c.is_whitespace() || is_joining(c)) {
        short.pop();
    }
    if limit > 0 {
        short.push(CUT);
    }
    short
}

fn head_window(text: &str, limit: usize) -> &str {
    let bytes = (8 * limit + 1024).min(WINDOW_BYTES);
    &text[..text.floor_char_boundary(bytes)]
}

fn tail_window(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(WINDOW_BYTES))..]
}

/// Without terminal escapes, control characters, and marks that reorder or hide text. Line ends become
/// line feeds, tabs become spaces.
pub(crate) fn clean(text: &str) -> String {
    let text = without_escapes(text);
    let mut cleaned = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let shown = match c {
            '\r' if next == '\n' => continue,
            '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            '\t' => ' ',
            // Joiners belong to scripts and emoji; next to ASCII they only hide something.
            '\u{200c}' | '\u{200d}' if previous.is_ascii() || next.is_ascii() => continue,
            c if c.is_control() || is_hidden(c) => continue,
            c => c,
        };
        cleaned.push(shown);
        previous = shown;
    }
    cleaned
}

/// Marks that reorder text (bidirectional controls) or show nothing at all.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Belongs to the character before it.
fn is_joining(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{300}'..='\u{36f}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// Without ANSI escape sequences: CSI, the string kinds (OSC, DCS …) and two-character ones.
fn without_escapes(text: &str) -> Cow<'_, str> {
    if !text.contains(['\u{1b}', '\u{90}', '\u{9b}', '\u{9d}']) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['\u{1b}', '\u{90}', '\u{9b}', '\u{9d}']) {
        kept.push_str(&rest[..start]);
        rest = after_escape(&rest[start..]);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// What follows the escape sequence that `text` begins with.
fn after_escape(text: &str) -> &str {
    let mut chars = text.chars();
    let introducer = match chars.next() {
        Some('\u{1b}') => chars.next(),
        Some('\u{9b}') => Some('['),
        _ => Some(']'),
    };
    let body = chars.as_str();
    match introducer {
        Some('[') => {
            let end = body.find(|c: char| !matches!(c, ' '..='?'));
            end.map_or("", |end| body[end..].after_first())
        }
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(body),
        _ => body,
    }
}

/// After a string kind's terminator; an unterminated one hides nothing but its introducer.
fn after_string(body: &str) -> &str {
    let end = body.find(['\u{7}', '\u{9c}', '\u{1b}', '\n']);
    match end.map(|end| &body[end..]) {
        Some(rest) if rest.starts_with("\u{1b}\\") => &rest[2..],
        Some(rest) if rest.starts_with(['\u{7}', '\u{9c}']) => rest.after_first(),
        _ => body,
    }
}

trait FirstOff {
    fn after_first(&self) -> &str;
}

impl FirstOff for str {
    /// Without the first character.
    fn after_first(&self) -> &str {
        let mut chars = self.chars();
        chars.next();
        chars.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_control_characters_go() {
        for (dirty, shown) in [
            ("plain", "plain"),
            ("a\0b\u{7}c\u{7f}d", "abcd"),
            ("To: x\r\nBcc: y", "To: x Bcc: y"),
            ("a\rb\u{85}c\u{2028}d", "a b c d"),
            (
                "\u{202e}evil\u{202c} \u{2066}x\u{2069} \u{200f}y",
                "evil x y",
            ),
            ("ze\u{200b}ro\u{2060}wi\u{feff}dth", "zerowidth"),
            ("pass\u{200d}word", "password"),
            ("👩\u{200d}💻 ok", "👩\u{200d}💻 ok"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{9b}1;31mred", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]unterminated", "unterminated"),
            ("\u{1b}(Bx\u{1b}", "Bx"),
            ("  many   \t spaces ", "many spaces"),
            ("tag\u{e0041}s", "tags"),
        ] {
            assert_eq!(line(dirty, 200), shown, "{dirty:?}");
        }
    }

    #[test]
    fn cuts_keep_characters_whole_and_the_bound() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("🚀🚀🚀", 5), "🚀🚀…");
        assert_eq!(cut("🚀🚀🚀", 4), "🚀…");
        assert_eq!(cut("x", 0), "");
        assert_eq!(tail("abcdef", 4, str::to_owned), "…def");
        assert_eq!(tail("🚀🚀🚀", 4, str::to_owned), "…🚀");
        assert_eq!(tail("abc", 4, str::to_owned), "abc");
    }

    #[test]
    fn a_megabyte_is_cut_before_work() {
        let long = "x".repeat(1 << 20) + " the end";
        let short = tail(&long, 600, str::to_owned);
        assert!(measure(&short) <= 600);
        assert!(short.starts_with('…') && short.ends_with("the end"));
        assert_eq!(measure(&line(&long, 240)), 240);
    }

    proptest::proptest! {
        #[test]
        fn results_are_clean_and_bounded(text: String, limit in 0_usize..80) {
            for short in [line(&text, limit), block(&text, limit), tail(&text, limit.max(1), str::to_owned)] {
                proptest::prop_assert!(measure(&short) <= limit.max(1));
                proptest::prop_assert!(!short.chars().any(|c| (c.is_control() && c != '\n') || is_hidden(c)));
            }
            proptest::prop_assert!(!line(&text, limit).contains('\n'));
            proptest::prop_assert_eq!(clean(&clean(&text)), clean(&text));
        }
    }
}
