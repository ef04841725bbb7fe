//! What share of its throughput each way keeps when many call instead of few.
//!
//! A machine that others use as well is faster in one minute than in the next by more than the ways differ. So both
//! crowds have their turns one right after the other, on the same processes, and a way is compared with the bare proxy
//! by round: what is said is the median of the rounds, and where it lies with 95 % confidence.

use std::path::Path;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    case::Case,
    chart,
    lane::Lane,
    result::write,
    round::{Track, Turns},
};
use crate::stage::Stage;

/// The two crowds that are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowds {
    few: Case,
    many: Case,
}

/// What a way did, round by round: calls a second.
struct Kept {
    lane: Lane,
    few: Vec<f64>,
    many: Vec<f64>,
}

/// A way in the JSON file. Shares are parts of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    lane: Lane,
    /// Calls a second: the median of the turns.
    few: f64,
    many: f64,
    share: Spread,
    /// This way's share, by that of the bare proxy in the same round.
    against_proxy: Spread,
}

/// Where the middle of some values is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    /// Between these the median of all that could be measured is, with 95 % confidence.
    low: f64,
    high: f64,
}

/// Measures the smallest and the largest crowd on every way.
///
/// # Errors
///
/// Where something does not come up, or a call is not answered as it should be.
pub(super) async fn measure(
    stage: &Stage,
    crowds: Crowds,
    lanes: &[Lane],
    turns: Turns,
    out: &Path,
) -> Result<()> {
    ensure!(lanes.contains(&Lane::BareProxy), "the bare proxy is what the ways are compared with");
    ensure!(turns.rounds > 0, "no round, nothing to compare");
    println!("{} and {}", crowds.few, crowds.many);
    let kept = ride(stage, crowds, lanes, turns).await?;
    let rows = rows(&kept);
    rows.iter().for_each(show);
    let bar =
        |row: &Row| chart::Bar { label: row.lane.label().into(), value: row.share.median * 100.0 };
    let title = format!(
        "Share of its throughput that each way keeps from {} to {} users, percent",
        crowds.few.users, crowds.many.users
    );
    write(&out.join("share.svg"), &chart::bars(&title, &rows.iter().map(bar).collect::<Vec<_>>()))?;
    write(&out.join("share.json"), &serde_json::to_string_pretty(&rows)?)
}

async fn ride(stage: &Stage, crowds: Crowds, lanes: &[Lane], turns: Turns) -> Result<Vec<Kept>> {
    let Crowds { few, many } = crowds;
    let upstream = stage.upstream("fast-test", many.wire.flags()).await?;
    let mut ways = Vec::new();
    for &lane in lanes {
        let paved = lane.pave(stage, upstream.address(), many.wire).await?;
        let mut track = Track::new(paved, many, "echo").await?;
        track.warm_up(many, turns).await?;
        ways.push((track, Kept::nothing(lane)));
    }
    for round in 0..turns.rounds {
        for (track, kept) in &mut ways {
            kept.few.push(calls_per_second(track, few, turns).await?);
            kept.many.push(calls_per_second(track, many, turns).await?);
        }
        // What a way comes after, it does not always come after.
        ways.reverse();
        println!("  round {} of {}", round + 1, turns.rounds);
    }
    // As they were asked for.
    ways.sort_by_key(|(_, kept)| lanes.iter().position(|&lane| lane == kept.lane));
    Ok(ways.into_iter().map(|(_, kept)| kept).collect())
}

/// Counts what is answered in the time of a turn. Every user has one call under way when it is up: in a short turn,
/// how long the last of a thousand takes would tell against them.
async fn calls_per_second(track: &mut Track, case: Case, turns: Turns) -> Result<f64> {
    let calls = track.turn_alone(case, turns.length).await?.calls();
    let in_time = calls.saturating_sub(case.users as u64);
    Ok(in_time as f64 / turns.length.as_secs_f64())
}

fn rows(kept: &[Kept]) -> Vec<Row> {
    let proxy = kept.iter().find(|kept| kept.lane == Lane::BareProxy);
    let proxy = proxy.map(Kept::shares).unwrap_or_default();
    let row = |kept: &Kept| {
        let shares = kept.shares();
        let against = shares.iter().zip(&proxy).map(|(share, proxy)| share / proxy).collect();
        Row {
            lane: kept.lane,
            few: Spread::of(kept.few.clone()).median,
            many: Spread::of(kept.many.clone()).median,
            share: Spread::of(shares),
            against_proxy: Spread::of(against),
        }
    };
    kept.iter().map(row).collect()
}

fn show(row: &Row) {
    println!(
        "  {:<28} {:>7.0} and {:>7.0} calls/s, keeps {:.1} % ({:.1} to {:.1}), {:.3} of the bare proxy's share ({:.3} to {:.3})",
        row.lane.label(),
        row.few,
        row.many,
        row.share.median * 100.0,
        row.share.low * 100.0,
        row.share.high * 100.0,
        row.against_proxy.median,
        row.against_proxy.low,
        row.against_proxy.high,
    );
}

// === impl Crowds ===

impl Crowds {
    /// The smallest and the largest of them.
    ///
    /// # Errors
    ///
    /// Where they are one.
    pub(super) fn of(cases: &[Case]) -> Result<Self> {
        let few = cases.iter().min_by_key(|case| case.users);
        let many = cases.iter().max_by_key(|case| case.users);
        match (few, many) {
            (Some(&few), Some(&many)) if few.users < many.users => Ok(Self { few, many }),
            _ => anyhow::bail!("two crowds are compared: give `--users` twice, as 50 and 1000"),
        }
    }
}

// === impl Kept ===

impl Kept {
    const fn nothing(lane: Lane) -> Self {
        Self { lane, few: Vec::new(), many: Vec::new() }
    }

    /// By round.
    fn shares(&self) -> Vec<f64> {
        self.few.iter().zip(&self.many).map(|(few, many)| many / few).collect()
    }
}

// === impl Spread ===

impl Spread {
    /// The values need not be of any distribution: what bounds the median are values by their rank.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        // So many of `count` throws of a coin are heads, or more, in 97.5 of 100 cases.
        let rank = (count as f64 / 2.0 - 0.98 * (count as f64).sqrt()).max(0.0) as usize;
        let median = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        Self { median, low: values[rank], high: values[count - 1 - rank] }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::case::Wire, *};

    #[test]
    fn a_share_is_compared_with_that_of_the_proxy_in_the_same_round() {
        // The machine is half as fast in the second round, for all of them.
        let proxy = Kept { lane: Lane::BareProxy, few: vec![100.0, 50.0], many: vec![80.0, 40.0] };
        let wharf = Kept { lane: Lane::WharfShared, few: vec![90.0, 45.0], many: vec![54.0, 27.0] };
        let rows = rows(&[proxy, wharf]);
        assert!((rows[1].share.median - 0.6).abs() < 1e-9, "{rows:?}");
        assert!((rows[1].against_proxy.median - 0.75).abs() < 1e-9, "{rows:?}");
        assert!((rows[0].against_proxy.high - 1.0).abs() < 1e-9, "{rows:?}");
    }

    #[test]
    fn the_median_is_the_middle_and_lies_between_values_of_known_ranks() {
        let values: Vec<_> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(values), Spread { median: 50.5, low: 41.0, high: 60.0 });
        let three = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!(three, Spread { median: 2.0, low: 1.0, high: 3.0 });
    }

    #[test]
    fn two_crowds_are_compared_and_not_one() {
        let case = |users| Case { wire: Wire::Json, bytes: 16, users };
        let crowds = Crowds::of(&[case(1000), case(1), case(50)]).expect("three crowds");
        assert_eq!((crowds.few.users, crowds.many.users), (1, 1000));
        assert!(Crowds::of(&[case(50)]).is_err());
    }
}
