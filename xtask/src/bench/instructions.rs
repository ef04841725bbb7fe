//! Instructions that a call takes, as callgrind counts them: a figure that another load on the machine hardly moves.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::{case::Wire, lane::Lane, result::write, round::connect};
use crate::stage::Stage;

/// What one way takes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    lane: Lane,
    wire: Wire,
    instructions_per_call: f64,
    /// By those of the proxy that does nothing.
    ratio: f64,
}

/// The ways in which something stands, the one that the others are compared with first.
const LANES: [Lane; 3] = [Lane::BareProxy, Lane::WharfClient, Lane::WharfShared];

const WIRES: [Wire; 3] = [Wire::Json, Wire::EventStream, Wire::Sse];

/// A run of few calls and one of many: what they differ by is that of the calls alone.
const FEW: u32 = 200;
const MANY: u32 = 1200;

/// Counts on every way, for one user, who calls again and again.
///
/// # Errors
///
/// Where something does not come up, which valgrind is needed for.
pub(super) async fn measure(stage: &Stage, out: &Path) -> Result<()> {
    let mut all = Vec::new();
    for wire in WIRES {
        println!("{wire}, 1 user");
        let mut bare = None;
        for lane in LANES {
            let few = count(stage, lane, wire, FEW).await?;
            let many = count(stage, lane, wire, MANY).await?;
            let more = many.checked_sub(few).filter(|more| *more > 0);
            let more = more.context("more calls have not taken more instructions")?;
            let per_call = more as f64 / f64::from(MANY - FEW);
            let ratio = per_call / *bare.get_or_insert(per_call);
            println!("  {:<28} {per_call:>9.0} instructions a call {ratio:>6.2}", lane.label());
            all.push(Counted { lane, wire, instructions_per_call: per_call, ratio });
        }
    }
    write(&out.join("instructions.json"), &serde_json::to_string_pretty(&all)?)
}

/// The instructions of what stands in a way, from its start to its end, with so many calls between.
async fn count(stage: &Stage, lane: Lane, wire: Wire, calls: u32) -> Result<u64> {
    let counts = stage.file(&format!("{} {wire} {calls}.callgrind", lane.label()));
    let upstream = stage.upstream("fast-test", wire.flags()).await?;
    let stage = stage.clone().counting_into(counts.clone());
    let paved = lane.pave(&stage, upstream.address(), wire).await?;
    let user = connect(wire, &paved.url).await?;
    for number in 0..calls {
        let message = format!("{number} xxxxxxxxxxxxxxxx");
        let answer = user.call_tool("echo", &serde_json::json!({ "message": message })).await?;
        if answer.text() != message {
            bail!("call {number} got the answer to another");
        }
    }
    drop(user);
    paved.end().await?;
    let text = std::fs::read_to_string(&counts)
        .with_context(|| format!("callgrind has written nothing to {}", counts.display()))?;
    total(&text).with_context(|| format!("there is no total in {}", counts.display()))
}

/// The total of what callgrind has written.
fn total(text: &str) -> Option<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_what_callgrind_writes() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n1 5\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(total("version: 1\nevents: Ir\n"), None);
    }
}
