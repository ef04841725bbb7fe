//! The plot of a bench: CPU per call of each way, a group of bars for each case.

use std::fmt::Write as _;

use super::{case::Case, lane::Lane, result::LaneRow};

const BAR: f64 = 14.0;
const GAP: f64 = 18.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 40.0;
const FOOT: f64 = 150.0;

/// Draws it as a file of SVG.
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
