//! What is done to the bytes of every call: messages read and changed, event streams taken apart.
#![allow(missing_docs, reason = "the macros of criterion make functions without docs")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wharf_proto::{Message, RequestId, sse::Decoder};

/// A small result, and a large one.
const SIZES: [usize; 2] = [16, 64 * 1024];

fn request(size: usize) -> Bytes {
    let filling = "x".repeat(size);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"{filling}"}}}}}}"#
    );
    text.into()
}

fn response(size: usize) -> Bytes {
    let filling = "x".repeat(size);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":17,"result":{{"content":[{{"type":"text","text":"{filling}"}}]}}}}"#
    );
    text.into()
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (request, response) = (request(size), response(size));
        group.bench_function(BenchmarkId::new("parse a request", size), |bencher| {
            bencher.iter(|| Message::parse(black_box(request.clone())));
        });
        group.bench_function(BenchmarkId::new("parse a response", size), |bencher| {
            bencher.iter(|| Message::parse(black_box(response.clone())));
        });
        let parsed = Message::parse(request.clone()).expect("it is a message");
        let Message::Request(parsed) = parsed else { unreachable!("it has a method and an id") };
        group.bench_function(BenchmarkId::new("give a request another id", size), |bencher| {
            bencher.iter(|| black_box(&parsed).rewrite().id(RequestId::from(4711)).finish());
        });
        let parsed = Message::parse(response.clone()).expect("it is a message");
        let Message::Response(parsed) = parsed else { unreachable!("it has a result") };
        group.bench_function(BenchmarkId::new("give a response another id", size), |bencher| {
            bencher.iter(|| black_box(&parsed).clone().with_id(&RequestId::from(4711)));
        });
    }
    group.finish();
}

fn event_streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event stream");
    for size in SIZES {
        let event = [b"event: message\ndata: ", &response(size)[..], b"\n\n"].concat();
        let event = Bytes::from(event);
        group.throughput(Throughput::Bytes(event.len() as u64));
        group.bench_function(BenchmarkId::new("decode an event", size), |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::new(1 << 20);
                decoder.feed(black_box(event.clone()));
                decoder.next_event()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, messages, event_streams);
criterion_main!(benches);
