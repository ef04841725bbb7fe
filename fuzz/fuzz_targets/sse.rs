//! See `wharf_fuzz::sse`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wharf_fuzz::sse(bytes));
