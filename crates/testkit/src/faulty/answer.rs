//! Delivering an answer, and what goes wrong with that.

use serde_json::{Value, json};

use super::{
    Fault,
    call::Call,
    life::Order,
    mouth::{Message, Said},
};

/// The id of a request that no client makes.
const STRANGE_ID: &str = "no such request";

/// Says the answer to a call, in the way that its fault has it. The faults that
/// are about the head of an HTTP response are not seen to here.
pub(super) async fn deliver(call: &Call, answer: Value) {
    match &call.fault {
        Fault::HangAfterHeaders => std::future::pending().await,
        Fault::Crash => call.shared.die(Order::Crash).await,
        Fault::Restart(memory) => call.shared.die(Order::Revive(*memory)).await,
        Fault::Late(wait) => tokio::time::sleep(*wait).await,
        Fault::Held(gate) => gate.pass().await,
        Fault::Overtaken(by) => overtaken(call, *by).await,
        _ => {}
    }
    match &call.fault {
        Fault::ResetAfterHeaders => drop(call.mouth.put(Said::Reset)),
        Fault::ResetMidEvent | Fault::ResetMidJson => {
            call.mouth.put(Said::Half(answer.to_string()));
        }
        Fault::EndWithoutAnswer => drop(call.mouth.put(Said::End)),
        Fault::Malformed => {
            let mut text = answer.to_string();
            text.truncate(text.len() - 1);
            say(call, text);
        }
        Fault::HugeEvent(bytes) => say(call, padded(answer, *bytes).to_string()),
        Fault::StrangeIdFirst => {
            call.mouth.say(&strange(answer.clone()));
            say(call, answer.to_string());
        }
        Fault::StrangeIdInstead => say(call, strange(answer).to_string()),
        Fault::Twice => {
            say(call, answer.to_string());
            say(call, answer.to_string());
        }
        Fault::Drip(between) => {
            let (json, drip) = (answer.to_string(), Some(*between));
            call.mouth.put(Said::Message(Message { json, drip, answers: Some(call.number) }));
        }
        _ => say(call, answer.to_string()),
    }
}

fn say(call: &Call, json: String) {
    let answers = Some(call.number);
    call.mouth.put(Said::Message(Message { json, drip: None, answers }));
}

/// Waits until so many calls that came after this one have been answered.
async fn overtaken(call: &Call, by: usize) {
    let later = |seen: &super::Seen| {
        let later = &seen.requests()[call.number + 1..];
        later.iter().filter(|other| other.is_call() && other.answered().is_some()).count()
    };
    call.shared.record.wait_for(|seen| later(seen) >= by).await;
}

fn strange(mut answer: Value) -> Value {
    answer["id"] = json!(STRANGE_ID);
    answer
}

fn padded(mut answer: Value, bytes: usize) -> Value {
    let padding = Value::String("x".repeat(bytes));
    match answer.get_mut("result").and_then(Value::as_object_mut) {
        Some(result) => drop(result.insert("_meta".into(), json!({"padding": padding}))),
        None => answer["error"]["data"] = padding,
    }
    answer
}
