//! The page and the picture: everything in one file, which needs nothing from outside.

use std::fmt::Write as _;

use super::{
    lines,
    plot::{self, Line, Plot},
};
use crate::load::{Run, Sample};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1240px;margin:2rem auto;padding:0 1rem;color:#222}\
h2{margin-top:2.5rem}table{border-collapse:collapse}td{padding:.15rem .8rem .15rem 0;vertical-align:top}\
td:first-child{color:#666;white-space:nowrap}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:1rem}\
svg{width:100%}";

/// How many plots a load has.
const PLOTS: usize = 5;

/// Draws it.
pub(super) fn draw(runs: &[Run]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Wharf under load</title><style>{STYLE}{}</style><h1>Wharf under load</h1>",
        plot::STYLE
    );
    html.push_str("<p>Red lines mark where a fault was injected. Times are in microseconds.</p>");
    for run in runs {
        section(&mut html, run);
    }
    html.push_str("</html>\n");
    html
}

/// Draws the plots alone: a row for each load.
pub(super) fn picture(runs: &[Run]) -> String {
    const HEAD: f64 = 30.0;
    let (wide, high) = plot::SIZE;
    let row = HEAD + high;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}"><style>{}</style><rect width="100%" height="100%" fill="white"/>"#,
        PLOTS as f64 * wide,
        row * runs.len() as f64,
        plot::STYLE
    );
    for (number, run) in runs.iter().enumerate() {
        let top = row * number as f64;
        let headline = escaped(&run.load.headline());
        let _ = write!(svg, r#"<text x="16" y="{}" font-size="17">{headline}</text>"#, top + 21.0);
        for (column, plot) in plots(run).iter().enumerate() {
            svg.push_str(&plot.draw(Some((wide * column as f64, top + HEAD))));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn section(html: &mut String, run: &Run) {
    let _ = write!(html, "<section><h2>{}</h2><table>", escaped(&run.load.headline()));
    for (name, value) in lines(run) {
        let _ = write!(html, "<tr><td>{}<td>{}", escaped(name.trim()), escaped(&value));
    }
    html.push_str("</table><div class=\"plots\">");
    for plot in plots(run) {
        html.push_str(&plot.draw(None));
    }
    html.push_str("</div></section>");
}

fn plots(run: &Run) -> [Plot<'_>; PLOTS] {
    let line = |label, of: &dyn Fn(&Sample) -> f64| Line {
        label,
        points: run.samples.iter().map(|sample| (sample.at, of(sample))).collect(),
    };
    let plot = |title, lines| Plot { title, lines, marks: &run.injected_at };
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    [
        plot("Calls per second", vec![line("answered", &|sample| sample.calls_per_second)]),
        plot(
            "Latency",
            vec![
                line("p50", &|sample| sample.latency.p50 as f64),
                line("p95", &|sample| sample.latency.p95 as f64),
                line("p99", &|sample| sample.latency.p99 as f64),
            ],
        ),
        plot(
            "Sessions by state",
            vec![
                line("idle", &|sample| sample.held.idle as f64),
                line("busy", &|sample| sample.held.busy as f64),
                line("opening", &|sample| sample.held.opening as f64),
                line("probing", &|sample| sample.held.probing as f64),
                line("closing", &|sample| sample.held.closing as f64),
            ],
        ),
        plot(
            "Clients and their leases",
            vec![
                line("leases", &|sample| sample.held.leases as f64),
                line("waiters", &|sample| sample.held.waiters as f64),
                line("clients", &|sample| sample.held.clients as f64),
            ],
        ),
        plot(
            "Resident memory of the gateway, MiB",
            vec![line("resident", &|sample| sample.resident as f64 / MEBIBYTE)],
        ),
    ]
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
