#![no_main]
//! See `wharf_fuzz::http`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wharf_fuzz::http(bytes));
