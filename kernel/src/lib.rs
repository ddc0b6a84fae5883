//! System calls that musterd needs and that no well-kept library makes safe to call: by now
//! adjtimex(2). Each is one function with its own `unsafe` block, so that the daemon itself can
//! forbid unsafe code.
//!
//! Must not know what the numbers are shown as.

use std::io;

/// What the kernel says of its clock (adjtimex(2), "The timex structure"). Numbers are in the
/// units of that structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the structure
pub struct Clock {
    /// Whether the clock is synchronised: the call's answer is not `TIME_ERROR`.
    pub is_synchronised: bool,
    /// Whether `offset` and `jitter` are in nanoseconds: `STA_NANO`. Microseconds otherwise.
    pub is_nano: bool,
    pub offset: i64,
    pub freq: i64,
    pub maxerror: i64,
    pub esterror: i64,
    pub status: i64,
    pub constant: i64,
    pub tick: i64,
    pub ppsfreq: i64,
    pub jitter: i64,
    pub shift: i64,
    pub stabil: i64,
    pub jitcnt: i64,
    pub calcnt: i64,
    pub errcnt: i64,
    pub stbcnt: i64,
    pub tai: i64,
}

/// Reads the state of the clock; changes nothing.
///
/// # Errors
/// What adjtimex(2) said.
pub fn clock() -> io::Result<Clock> {
    // SAFETY: the structure is plain numbers, for which zero is a value. With `modes` zero the
    // call only writes to the structure, which outlives it.
    #[allow(unsafe_code)]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // Their sizes differ from machine to machine.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    Ok(Clock {
        is_synchronised: state != libc::TIME_ERROR,
        is_nano: timex.status & libc::STA_NANO != 0,
        offset: timex.offset as i64,
        freq: timex.freq as i64,
        maxerror: timex.maxerror as i64,
        esterror: timex.esterror as i64,
        status: timex.status as i64,
        constant: timex.constant as i64,
        tick: timex.tick as i64,
        ppsfreq: timex.ppsfreq as i64,
        jitter: timex.jitter as i64,
        shift: timex.shift as i64,
        stabil: timex.stabil as i64,
        jitcnt: timex.jitcnt as i64,
        calcnt: timex.calcnt as i64,
        errcnt: timex.errcnt as i64,
        stbcnt: timex.stbcnt as i64,
        tai: timex.tai as i64,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_ticks() {
        let clock = super::clock().unwrap();
        assert!((9_000..=11_000).contains(&clock.tick), "{clock:?}");
    }
}
