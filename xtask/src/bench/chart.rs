//! The plots of a bench: bars, on their side or in groups.

use std::fmt::Write as _;

use super::{case::Case, lane::Lane, result::LaneRow};

const BAR: f64 = 14.0;
const GAP: f64 = 18.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const FOOT: f64 = 150.0;

/// One bar of a simple plot.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
}

/// Draws bars on their side, as a file of SVG.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 24.0;
    const LABEL: f64 = 180.0;
    const LONGEST: f64 = 360.0;
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + ROW * bars.len() as f64;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 610 {height:.0}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
<text x="16" y="20" font-size="13">{title}</text>
"#
    );
    for (at, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let wide = LONGEST * bar.value / most;
        let _ = writeln!(
            svg,
            r##"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{LABEL}" y="{y:.0}" width="{wide:.1}" height="16" fill="#1f6f8b"/><text x="{:.1}" y="{:.0}">{:.1}</text>"##,
            LABEL - 8.0,
            y + 12.0,
            bar.label,
            LABEL + wide + 6.0,
            y + 12.0,
            bar.value
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Draws CPU per call of each way, a group of bars for each case, as a file of
/// SVG.
pub(super) fn draw(cases: &[(Case, Vec<LaneRow>)]) -> String {
    let most = cases.iter().flat_map(|(_, rows)| rows).map(|row| row.cpu_per_call);
    let most = most.fold(1.0, f64::max);
    let bars: usize = cases.iter().map(|(_, rows)| rows.len()).sum();
    let width = LEFT + bars as f64 * BAR + cases.len() as f64 * GAP + 20.0;
    let width = width.max(560.0);
    let height = TOP + HEIGHT + FOOT;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
<text x="{LEFT}" y="16" font-size="13">CPU of the process in the way, microseconds per call</text>
"#
    );
    legend(&mut svg);
    for step in 0..=4 {
        let value = most * f64::from(step) / 4.0;
        let y = TOP + HEIGHT - HEIGHT * f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {y:.1}H{width:.0}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{value:.0}</text>"##,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let mut x = LEFT + GAP / 2.0;
    for (case, rows) in cases {
        group(&mut svg, x, case, rows, most);
        x += rows.len() as f64 * BAR + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn group(svg: &mut String, x: f64, case: &Case, rows: &[LaneRow], most: f64) {
    for (at, row) in rows.iter().enumerate() {
        let tall = HEIGHT * row.cpu_per_call / most;
        let (left, top) = (x + at as f64 * BAR, TOP + HEIGHT - tall);
        let _ = writeln!(
            svg,
            r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{tall:.1}" fill="{}"><title>{}: {:.1} µs, {:.0} calls/s</title></rect>"#,
            BAR - 2.0,
            colour(row.lane),
            row.lane.label(),
            row.cpu_per_call,
            row.per_second,
        );
    }
    let (x, y) = (x + rows.len() as f64 * BAR / 2.0, TOP + HEIGHT + 12.0);
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="end" transform="rotate(-45 {x:.1} {y:.1})">{case}</text>"#
    );
}

fn legend(svg: &mut String) {
    for (at, lane) in Lane::ALL.into_iter().skip(1).enumerate() {
        let x = LEFT + at as f64 * 170.0;
        let _ = writeln!(
            svg,
            r#"<rect x="{x:.0}" y="22" width="10" height="10" fill="{}"/><text x="{:.0}" y="31">{}</text>"#,
            colour(lane),
            x + 14.0,
            lane.label()
        );
    }
}

const fn colour(lane: Lane) -> &'static str {
    match lane {
        Lane::Straight => "#bbbbbb",
        Lane::BareProxy => "#8c8c8c",
        Lane::WharfClient => "#1f6f8b",
        Lane::WharfShared => "#e07a3f",
        Lane::WharfCall => "#7a9e3f",
    }
}
