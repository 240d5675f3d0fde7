#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holds::image_pattern::holds(input));
