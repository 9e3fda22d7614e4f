//! The SVG itself: elements with their attributes, numbers and texts written so that they are well-formed.

use std::fmt::{self, Write as _};

use super::font::{self, Weight};

/// A number of an attribute: a tenth of a pixel is enough, and nothing is written that need not be.
pub(super) struct N(pub f64);

impl fmt::Display for N {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round();
        if (tenths / 10.0).fract() == 0.0 {
            // Zero has no sign here.
            write!(f, "{:.0}", tenths / 10.0 + 0.0)
        } else {
            write!(f, "{:.1}", tenths / 10.0)
        }
    }
}

/// A text of an element or attribute.
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub x: f64,
    pub baseline: f64,
    pub size: f64,
    pub weight: Weight,
    pub anchor: Anchor,
    pub color: &'static str,
    /// The ground shows around the letters: for texts among lines.
    pub halo: Option<&'static str>,
    pub content: String,
}

impl Text {
    /// Left and right end.
    pub(super) fn extent(&self) -> (f64, f64) {
        let width = font::width(&self.content, self.weight, self.size);
        match self.anchor {
            Anchor::Start => (self.x, self.x + width),
            Anchor::Middle => (self.x - width / 2.0, self.x + width / 2.0),
            Anchor::End => (self.x - width, self.x),
        }
    }
}

/// An SVG under way.
pub(super) struct Canvas {
    svg: String,
}

impl Canvas {
    /// A picture of `width` times `height` with a name and a description.
    pub(super) fn begin(
        (width, height): (f64, f64),
        ground: &str,
        name: &str,
        description: &str,
    ) -> Self {
        let mut svg = String::with_capacity(16 * 1024);
        let (w, h) = (N(width), N(height));
        let (name, description) = (Escaped(name), Escaped(description));
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             role=\"img\" aria-label=\"{name}. {description}\" font-family=\"{}\">\n\
             <title>{name}</title>\n<desc>{description}</desc>\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"{ground}\"/>\n",
            font::STACK
        );
        Self { svg }
    }

    /// One element without content.
    pub(super) fn element(&mut self, element: fmt::Arguments<'_>) {
        let _ = writeln!(self.svg, "<{element}/>");
    }

    /// One element; a browser shows `tooltip` to those who point at it.
    pub(super) fn pointed(&mut self, name: &str, attributes: fmt::Arguments<'_>, tooltip: &str) {
        let tooltip = Escaped(tooltip);
        let _ = writeln!(
            self.svg,
            "<{name} {attributes}><title>{tooltip}</title></{name}>"
        );
    }

    /// Elements that follow share attributes, until [`Canvas::close`].
    pub(super) fn open(&mut self, attributes: fmt::Arguments<'_>) {
        let _ = writeln!(self.svg, "<g {attributes}>");
    }

    /// Ends the group.
    pub(super) fn close(&mut self) {
        self.svg.push_str("</g>\n");
    }

    pub(super) fn text(&mut self, text: &Text) {
        if text.content.is_empty() {
            return;
        }
        let _ = write!(
            self.svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"{}\"",
            N(text.x),
            N(text.baseline),
            N(text.size),
            text.color
        );
        if text.weight == Weight::Bold {
            self.svg.push_str(" font-weight=\"700\"");
        }
        match text.anchor {
            Anchor::Start => {}
            Anchor::Middle => self.svg.push_str(" text-anchor=\"middle\""),
            Anchor::End => self.svg.push_str(" text-anchor=\"end\""),
        }
        if let Some(ground) = text.halo {
            let _ = write!(
                self.svg,
                " stroke=\"{ground}\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\""
            );
        }
        let _ = writeln!(self.svg, ">{}</text>", Escaped(&text.content));
    }

    pub(super) fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (3.0, "3"),
            (3.04, "3"),
            (-0.01, "0"),
            (12.345, "12.3"),
            (-1.5, "-1.5"),
        ] {
            assert_eq!(N(number).to_string(), text);
        }
    }
}
