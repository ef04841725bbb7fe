#![no_main]
//! See `wharf_fuzz::message`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wharf_fuzz::message(bytes));
