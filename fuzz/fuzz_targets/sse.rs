#![no_main]
//! See `wharf_fuzz::sse`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wharf_fuzz::sse(bytes));
