//! Plots over time, as SVG.

use std::fmt::Write as _;

/// One plot.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line<'a>>,
    /// Where something was injected, in seconds.
    pub(super) marks: &'a [f64],
}

/// One line of a plot: points of seconds and values.
pub(super) struct Line<'a> {
    pub(super) label: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// The size of a plot with all that is around it.
pub(super) const SIZE: (f64, f64) = (LEFT + WIDTH + 16.0, TOP + HEIGHT + 24.0);

/// How the parts of a plot look, for the page or the picture that it is in.
pub(super) const STYLE: &str = "svg{font:11px system-ui,sans-serif}.title{font-size:13px;font-weight:600}.grid{stroke:#e5e5e5}\
.mark{stroke:#c33;stroke-width:1;opacity:.35}";

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 44.0;
const COLOURS: [&str; 5] = ["#1f6f8b", "#e07a3f", "#7a9e3f", "#8b5fa8", "#555555"];

// === impl Plot ===

impl Plot<'_> {
    /// As an element of its own, or with its corner at a place in another.
    pub(super) fn draw(&self, place: Option<(f64, f64)>) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let end = points().map(|point| point.0).fold(1.0, f64::max);
        let most = points().map(|point| point.1).fold(1.0, f64::max);
        let x = |at: f64| LEFT + WIDTH * at / end;
        let y = |value: f64| TOP + HEIGHT - HEIGHT * value / most;
        let (width, height) = SIZE;
        let place =
            place.map(|(x, y)| format!(r#" x="{x}" y="{y}" width="{width}" height="{height}""#));
        let place = place.unwrap_or_default();
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{place} role="img" aria-label="{title}"><text class="title" x="{LEFT}" y="14">{title}</text>"#,
            title = self.title
        );
        self.draw_marks(&mut svg, end);
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            let _ = write!(
                svg,
                r#"<path class="grid" d="M{LEFT} {line:.1}h{WIDTH}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text><text x="{:.1}" y="{:.1}" text-anchor="middle">{:.0} s</text>"#,
                LEFT - 6.0,
                y(most * share) + 4.0,
                short(most * share),
                x(end * share),
                TOP + HEIGHT + 16.0,
                end * share,
                line = y(most * share),
            );
        }
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let points: Vec<_> = line
                .points
                .iter()
                .map(|&(at, value)| format!("{:.1},{:.1}", x(at), y(value)))
                .collect();
            let legend = LEFT + number as f64 * 110.0;
            let _ = write!(
                svg,
                r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{}"/><path d="M{legend} 28h12" stroke="{colour}" stroke-width="3"/><text x="{}" y="32">{}</text>"#,
                points.join(" "),
                legend + 16.0,
                line.label
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// All marks are one path, and those that would lie on one another are one mark: a run has thousands.
    fn draw_marks(&self, svg: &mut String, end: f64) {
        let shown = self.marks.iter().filter(|mark| **mark <= end);
        let mut columns: Vec<_> = shown.map(|mark| (LEFT + WIDTH * mark / end).round()).collect();
        columns.dedup();
        let path: String =
            columns.iter().map(|column| format!("M{column} {TOP}v{HEIGHT}")).collect();
        if !path.is_empty() {
            let _ = write!(svg, r#"<path class="mark" d="{path}"/>"#);
        }
    }
}

/// A value in few characters.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}
