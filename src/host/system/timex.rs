//! `timex`: how the kernel keeps the clock, of adjtimex(2).
//!
//! Must not know who sets it.

use crate::host::root::Root;
use crate::host::{Builder, Collector, Entry, Error, NoOptions, Pass};
use crate::metric::Family;
use musterd_kernel::{Clock, clock};
use std::sync::Arc;

/// Microseconds in a second.
const MICRO: f64 = 1e6;
/// The kernel says frequencies in parts per million, with 16 bits behind the point.
const PPM: f64 = 1e6 * 65536.0;

const COUNT: usize = 17;
/// A family, and what the clock has of it.
type Shown = (Family, fn(&Clock) -> f64);

#[rustfmt::skip] // a table
static NUMBERS: [Shown; COUNT] = [
    (Family::gauge("node_timex_offset_seconds", &[], "Offset of the clock from its reference."), |clock| clock.offset as f64 / fine(clock)),
    (Family::gauge("node_timex_frequency_adjustment_ratio", &[], "How much faster the clock is made to run."), |clock| 1.0 + clock.freq as f64 / PPM),
    (Family::gauge("node_timex_maxerror_seconds", &[], "The largest error that the clock may have."), |clock| clock.maxerror as f64 / MICRO),
    (Family::gauge("node_timex_estimated_error_seconds", &[], "The error that the clock is thought to have."), |clock| clock.esterror as f64 / MICRO),
    (Family::gauge("node_timex_status", &[], "The bits of the clock's status (STA_*)."), |clock| clock.status as f64),
    (Family::gauge("node_timex_loop_time_constant", &[], "Time constant of the phase-locked loop."), |clock| clock.constant as f64),
    (Family::gauge("node_timex_tick_seconds", &[], "Time between ticks of the clock."), |clock| clock.tick as f64 / MICRO),
    (Family::gauge("node_timex_pps_frequency_hertz", &[], "Frequency of the pulses that come each second."), |clock| clock.ppsfreq as f64 / PPM),
    (Family::gauge("node_timex_pps_jitter_seconds", &[], "Jitter of the pulses."), |clock| clock.jitter as f64 / fine(clock)),
    (Family::gauge("node_timex_pps_shift_seconds", &[], "Time over which pulses are counted."), |clock| clock.shift as f64),
    (Family::gauge("node_timex_pps_stability_hertz", &[], "How steady the pulses' frequency is."), |clock| clock.stabil as f64 / PPM),
    (Family::counter("node_timex_pps_jitter_total", &[], "Pulses with too much jitter."), |clock| clock.jitcnt as f64),
    (Family::counter("node_timex_pps_calibration_total", &[], "Times over which pulses have been counted."), |clock| clock.calcnt as f64),
    (Family::counter("node_timex_pps_error_total", &[], "Times over which pulses could not be counted."), |clock| clock.errcnt as f64),
    (Family::counter("node_timex_pps_stability_exceeded_total", &[], "Times the pulses' frequency was not steady."), |clock| clock.stbcnt as f64),
    (Family::gauge("node_timex_tai_offset_seconds", &[], "International Atomic Time less the clock."), |clock| clock.tai as f64),
    (Family::gauge("node_timex_sync_status", &[], "Whether the clock is synchronised with a reference."), |clock| f64::from(u8::from(clock.is_synchronised))),
];
static FAMILIES: [Family; COUNT] = {
    let [(first, _), ..] = NUMBERS;
    let mut families = [first; COUNT];
    let (mut rest, mut numbers): (&mut [Family], &[_]) = (&mut families, &NUMBERS);
    while let ([family, families @ ..], [(own, _), more @ ..]) = (rest, numbers) {
        *family = *own;
        (rest, numbers) = (families, more);
    }
    families
};

/// The collector's line in the list.
pub(super) const ENTRY: Entry = Entry { name: "timex", families: &FAMILIES, parse: configure };

fn configure(options: toml::Deserializer<'_>) -> Result<Builder, toml::de::Error> {
    let _: NoOptions = serde::Deserialize::deserialize(options)?;
    Ok(Arc::new(|_: &Arc<Root>| Box::new(Timex)))
}

struct Timex;

impl Collector for Timex {
    fn collect(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let clock = clock().map_err(|source| Error::Read { path: "adjtimex(2)".into(), source })?;
        for (family, number) in &NUMBERS {
            pass.batch.value(family, number(&clock));
        }
        Ok(())
    }
}

/// In what part of a second the clock's offset is counted.
fn fine(clock: &Clock) -> f64 {
    if clock.is_nano { 1e9 } else { MICRO }
}
